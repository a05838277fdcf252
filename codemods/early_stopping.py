"""Training stops early when evaluations no longer improve, if the user asks for it.

class DataTrainingArguments:  →  class DataTrainingArguments(EarlyStoppingArguments):
Trainer(…)                    →  Trainer(…, callbacks=make_callbacks(data_args, training_args))
Trainer(…, callbacks=[own])   →  Trainer(…, callbacks=[own, *make_callbacks(…)])
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script
from .engine.syntax import add_element, expression

BASE = "EarlyStoppingArguments"


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.first_argument_class)
    patch.add_base(script.data_class, BASE, "the data arguments get one more base class")
    call = script.trainer_call
    scope = script.scope(call)
    made = (
        f"make_callbacks({script.name('data_args', scope)}, {script.name('training_args', scope)})"
    )
    own = script.given(call, "callbacks")
    for _, value in own:
        what = "the Trainer may stop early, too"
        patch.change(value, lambda value: _joined(value, made), what, f"*{made}")
    if not own:
        patch.add_argument(call, f"callbacks={made}", "the Trainer may stop early")


def _joined(own: cst.BaseExpression, made: str) -> cst.BaseExpression:
    """``[*own, *made]``; what is a list written out stays one."""
    if isinstance(own, cst.List):
        return add_element(f"*{made}")(own) if own.elements else expression(f"[*{made}]")
    code = cst.Module([]).code_for_node(own)
    plain = isinstance(own, (cst.Name, cst.Attribute, cst.Call))
    return expression(f"[*({code if plain else f'({code})'} or ()), *{made}]")


def verify(script: Script) -> None:
    name = script.data_class.name
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    call, promise = one_call(script, "make_callbacks"), "the Trainer gets the callbacks asked for"
    values = [value for _, value in script.given(script.trainer_call, "callbacks")]
    script.require(len(values) == 1, promise, script.trainer_call)
    last = values[0]
    if isinstance(last, ast.List) and last.elts:
        last = getattr(last.elts[-1], "value", None)  # what is unpacked into it
    script.require(last is call, promise, call)
    takes(script, call, promise, "data_args", "training_args")

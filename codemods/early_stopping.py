"""Training stops early when evaluations no longer improve, if the user asks for it.

class DataTrainingArguments:  →  class DataTrainingArguments(EarlyStoppingArguments):
Trainer(…)                    →  Trainer(…, callbacks=make_callbacks(data_args, training_args))
Trainer(…, callbacks=[own])   →  Trainer(…, callbacks=[own, *make_callbacks(…)])
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_argument, add_base, add_element, expression

BASE = "EarlyStoppingArguments"


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.first_argument_class)
    patch.change(
        a.data_class.name, lambda n: n, "the data arguments get one more base class", f"({BASE})"
    )
    patch.edits.update(a.data_class, add_base(BASE))
    made = f"make_callbacks({a.data_args}, {a.training_args})"
    own = a.keyword(a.trainer_call, "callbacks")
    if own is None:
        more = f"callbacks={made}"
        patch.change(a.trainer_call, add_argument(more), "the Trainer may stop early", more)
    else:
        what, more = "the Trainer may stop early, too", f"*{made}"
        patch.change(own.value, lambda value: _joined(value, made), what, more)


def _joined(own: cst.BaseExpression, made: str) -> cst.BaseExpression:
    """``[*own, *made]``; what is a list written out stays one."""
    if isinstance(own, cst.List):
        return add_element(f"*{made}")(own) if own.elements else expression(f"[*{made}]")
    code = cst.Module([]).code_for_node(own)
    plain = isinstance(own, (cst.Name, cst.Attribute, cst.Call))
    return expression(f"[*({code if plain else f'({code})'} or ()), *{made}]")


def verify(script: Script) -> None:
    name = script.argument_class("train_file")
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    trainer = script.one_call("AdapterTrainer")
    promise = "the Trainer gets the callbacks asked for"
    value = script.keywords(trainer).get("callbacks")
    if isinstance(value, ast.List) and value.elts and isinstance(value.elts[-1], ast.Starred):
        value = value.elts[-1].value
    script.require([value] == script.calls("make_callbacks", script.main), promise, trainer)
    script.given(value, promise, script.groups()["data"], script.groups()["training"])

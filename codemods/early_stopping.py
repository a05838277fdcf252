"""Training stops early when evaluations no longer improve, if the user asks for it.

class DataTrainingArguments:  →  class DataTrainingArguments(EarlyStoppingArguments):
Trainer(…)                    →  Trainer(…, callbacks=make_callbacks(data_args, training_args))
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_argument, add_base

BASE = "EarlyStoppingArguments"


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.first_argument_class)
    patch.change(
        a.data_class.name, lambda n: n, "the data arguments get one more base class", f"({BASE})"
    )
    patch.edits.update(a.data_class, add_base(BASE))
    if a.keyword(a.trainer_call, "callbacks") is not None:
        hint = "Upstream now has callbacks of its own: ours must join them"
        raise patch.refuse("a Trainer made without callbacks", [a.trainer_call], hint)
    more = f"callbacks=make_callbacks({a.data_args}, {a.training_args})"
    patch.change(a.trainer_call, add_argument(more), "the Trainer may stop early", more)


def verify(script: Script) -> None:
    name = script.argument_class("train_file")
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    trainer = script.one_call("AdapterTrainer")
    promise = "the Trainer gets the callbacks asked for"
    made = script.keywords(trainer).get("callbacks")
    script.require(made in script.calls("make_callbacks", script.main), promise, trainer)
    script.given(made, promise, script.groups()["data"], script.groups()["training"])

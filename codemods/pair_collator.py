"""Batches are padded by the pair collator.

Trainer(…, data_collator=default_data_collator, …)
    →  Trainer(…, data_collator=PairCollator(tokenizer, data_args), …)
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_argument, expression


def apply(patch: Patch) -> None:
    a = patch.anchors
    made = f"PairCollator({a.tokenizer}, {a.data_args})"
    if len(a.trainer_call.args) > 2 and a.trainer_call.args[2].keyword is None:
        hint = "Only the model and its arguments are expected by position"
        raise patch.refuse(
            "the Trainer's data_collator to be given by name", [a.trainer_call], hint
        )
    given = a.keyword(a.trainer_call, "data_collator")
    what = "batches are padded by the pair collator"
    if given is not None:
        patch.replace(given.value, expression(made), what)
    else:
        patch.change(a.trainer_call, add_argument(f"data_collator={made}"), what, made)


def verify(script: Script) -> None:
    trainer = script.one_call("AdapterTrainer")
    made = script.keywords(trainer).get("data_collator")
    promise = "the Trainer pads with PairCollator"
    script.require(made in script.calls("PairCollator", script.main), promise, trainer)
    script.given(made, promise, script.loaded("AutoTokenizer"), script.groups()["data"])

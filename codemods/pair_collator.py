"""Batches are padded by the pair collator.

Trainer(…, data_collator=default_data_collator, …)
    →  Trainer(…, data_collator=PairCollator(tokenizer, data_args), …)
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script


def apply(patch: Patch) -> None:
    script, call = patch.script, patch.script.trainer_call
    if len(call.args) > 2:
        hint = "Only the model and its arguments are expected by position"
        raise patch.refuse("the Trainer's data_collator to be given by name", [call], hint)
    scope = script.scope(call)
    made = f"PairCollator({script.name('tokenizer', scope)}, {script.name('data_args', scope)})"
    patch.set_keyword(call, "data_collator", made, "batches are padded by the pair collator")


def verify(script: Script) -> None:
    call, promise = one_call(script, "PairCollator"), "the Trainer pads with PairCollator"
    given = [value for _, value in script.given(script.trainer_call, "data_collator")]
    script.require(given == [call], promise, script.trainer_call)
    takes(script, call, promise, "tokenizer", "data_args")

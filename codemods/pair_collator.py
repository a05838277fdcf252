"""Batches are padded by the pair collator.

Trainer(…, data_collator=default_data_collator, …)
    →  Trainer(…, data_collator=PairCollator(tokenizer, data_args), …)
"""

from __future__ import annotations

import ast

from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script


def apply(patch: Patch) -> None:
    script, call = patch.script, patch.script.trainer_call
    if len(call.args) > 2:
        hint = "Only the model and its arguments are expected by position"
        raise patch.refuse("the Trainer's data_collator to be given by name", [call], hint)
    own = [v for _, v in script.keyword(call, "data_collator") if not _only_pads(script, v)]
    if own:
        hint = "What it does besides padding would be lost"
        raise patch.refuse("a data_collator of transformers' own", own, hint)
    scope = script.scope(call)
    made = f"PairCollator({script.name('tokenizer', scope)}, {script.name('data_args', scope)})"
    patch.set_keyword(call, "data_collator", made, "batches are padded by the pair collator")


def _only_pads(script: Script, collator: ast.expr) -> bool:
    """Is it one of transformers' collators, made here or where its name is bound, or none?"""
    if isinstance(collator, ast.IfExp):
        return all(_only_pads(script, part) for part in (collator.body, collator.orelse))
    if isinstance(collator, ast.Constant):
        return collator.value is None
    named = script.qualified(collator.func if isinstance(collator, ast.Call) else collator)
    if named or not isinstance(collator, ast.Name):
        return named.startswith("transformers.")
    bound = script.bindings(collator.id, script.scope(collator))
    made = [getattr(b, "value", None) for b in bound]
    return bool(made) and all(m is not None and _only_pads(script, m) for m in made)


def verify(script: Script) -> None:
    call, promise = one_call(script, "PairCollator"), "the Trainer pads with PairCollator"
    given = [value for _, value in script.given(script.trainer_call, "data_collator")]
    script.require(given == [call], promise, script.trainer_call)
    takes(script, call, promise, "tokenizer", "data_args")

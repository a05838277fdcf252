"""Checkpoints hold the adapter, not the base model.

trainer = Trainer(…)  →  trainer = AdapterTrainer(…)
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.patch import Patch
from .engine.script import Script, dotted

# What the Trainer is given once, and the other patches vouch for.
GIVEN = (
    "model",
    "train_dataset",
    "eval_dataset",
    "data_collator",
    "compute_metrics",
    "preprocess_logits_for_metrics",
    "callback_handler",
)


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    patch.replace(
        a.trainer_call.func, cst.Name("AdapterTrainer"), "the Trainer saves the adapter only"
    )


def verify(script: Script) -> None:
    trainer = script.aliases(script.assigned(script.one_call("AdapterTrainer")))
    later = [
        n
        for n in script.main_nodes
        if isinstance(n, ast.Attribute)
        and isinstance(n.ctx, ast.Store)
        and n.attr in GIVEN
        and dotted(n.value) in trainer
    ]
    script.require(not later, "nothing replaces what the Trainer was given", *later)
    plain = script.calls("Trainer", script.main)
    script.require(not plain, "no other Trainer is made", *plain)
    known = "AdapterTrainer" in script.classes
    script.require(
        known and "Trainer" in script.bases("AdapterTrainer"), "AdapterTrainer is a Trainer"
    )

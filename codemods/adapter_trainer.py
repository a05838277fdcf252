"""Checkpoints hold the adapter, not the base model.

trainer = Trainer(…)  →  trainer = AdapterTrainer(…)
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.promises import one_call
from .engine.script import Script

TRAINER = "AdapterTrainer"
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
    script = patch.script
    patch.graft(before=script.main)
    patch.replace(script.trainer_call.func, TRAINER, "the Trainer saves the adapter only")


def verify(script: Script) -> None:
    one_call(script, TRAINER)
    later = [n for n, of in script.sets(*GIVEN) if script.names.is_a("trainer", of)]
    script.require(not later, "nothing replaces what the Trainer was given", *later)
    plain = [c for c in script.calls if script.called(c).split(".")[-1] == "Trainer"]
    script.require(not plain, "no other Trainer is made", *plain)
    known = TRAINER in script.classes
    script.require(known and "Trainer" in script.bases(TRAINER), f"{TRAINER} is a Trainer")

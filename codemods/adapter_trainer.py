"""Checkpoints hold the adapter, not the base model.

trainer = Trainer(…)  →  trainer = AdapterTrainer(…)
"""

from __future__ import annotations

import libcst as cst

from .patch import Patch
from .script import Script


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    patch.replace(
        a.trainer_call.func, cst.Name("AdapterTrainer"), "the Trainer saves the adapter only"
    )


def verify(script: Script) -> None:
    script.one_call("AdapterTrainer")
    plain = script.calls("Trainer", script.main)
    script.require(not plain, "no other Trainer is made", *plain)
    known = "AdapterTrainer" in script.classes
    script.require(
        known and "Trainer" in script.bases("AdapterTrainer"), "AdapterTrainer is a Trainer"
    )

"""DeepSpeed knows the ranks there are before the model is loaded.

                                        →  join_process_group(training_args)
model = AutoModelForCausalLM.…             model = AutoModelForCausalLM.…
"""

from __future__ import annotations

from .engine import loading
from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script

WHY = "DeepSpeed knows the ranks before the model is loaded"


def apply(patch: Patch) -> None:
    patch.graft(before=patch.script.main)
    place = loading.place(patch.script, "training_args")
    training_args = patch.script.name("training_args", patch.script.scope(place))
    patch.insert_before(place, f"join_process_group({training_args})", WHY)


def verify(script: Script) -> None:
    call = one_call(script, "join_process_group")
    takes(script, call, WHY, "training_args")
    loading.verify_before(script, call, WHY, "training_args")

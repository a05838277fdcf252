"""DeepSpeed knows the ranks there are before the model is loaded.

                                        →  join_process_group(training_args)
model = AutoModelForCausalLM.…             model = AutoModelForCausalLM.…
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.script import Script


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    patch.insert_before(
        min(map(a.place, a.model_loads), key=a.body.index),
        f"join_process_group({a.training_args})",
        "DeepSpeed knows the ranks before the model is loaded",
    )


def verify(script: Script) -> None:
    call = script.one_call("join_process_group")
    promise = "DeepSpeed knows the ranks before the model is loaded"
    script.require(script.unconditional(call), promise, call)
    script.given(call, promise, script.groups()["training"])
    loads = script.model_loads()
    early = [load for load in loads if load.lineno < call.lineno]
    script.require(loads and not early, promise, *early)

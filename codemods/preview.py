"""``--preview`` shows the data as the model will see it, and ends the run before it is loaded.

                                        →  show_preview(raw_datasets, encode_pair, tokenizer, …)
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
        f"show_preview({a.raw_datasets}, encode_pair, {a.tokenizer}, {a.data_args}, {a.training_args})",
        "the data may be looked at before any weight is loaded",
    )


def verify(script: Script) -> None:
    call, groups = script.one_call("show_preview"), script.groups()
    promise = "the data may be looked at before any weight is loaded"
    script.require(script.unconditional(call), promise, call)
    script.given(
        call,
        promise,
        script.loaded_data(),
        "encode_pair",
        script.loaded("AutoTokenizer"),
        groups["data"],
        groups["training"],
    )
    loads = script.model_loads()
    early = [load for load in loads if load.lineno < call.lineno]
    script.require(loads and not early, promise, *early)

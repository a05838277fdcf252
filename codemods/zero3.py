"""ZeRO-3 builds ChatGLM without its own skip_init.

AutoModel.from_pretrained(name, …)  →  AutoModel.from_pretrained(name, …, **zero3_model_kwargs(config, model_args))
"""

from __future__ import annotations

import ast

from .engine.patch import Patch
from .engine.script import Script, dotted
from .engine.syntax import add_argument


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    more = f"**zero3_model_kwargs({a.config}, {a.model_args})"
    for call in a.model_loads:
        if call.func.attr.value == "from_pretrained":
            if a.keyword(call, "empty_init") is not None:
                raise patch.refuse("a model loaded without empty_init of upstream's own", [call])
            patch.change(
                call, add_argument(more), "empty_init=False under ZeRO-3 where it's known", more
            )


def verify(script: Script) -> None:
    loads = script.calls("AutoModel.from_pretrained", script.main)
    promise = "the model's loading knows ZeRO-3"
    script.require(loads, promise)
    for call in loads:
        script.require("empty_init" not in script.keywords(call), promise, call)
        calls = [k.value for k in call.keywords if k.arg is None and isinstance(k.value, ast.Call)]
        made = [c for c in calls if dotted(c.func) == "zero3_model_kwargs"]
        script.require(len(made) == 1, promise, call)
        script.given(made[0], promise, script.loaded("AutoConfig"), script.groups()["model"])

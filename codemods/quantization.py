"""The model's linear weights are held in four or eight bits, if that is asked for.

AutoModel.from_pretrained(name, …)  →  AutoModel.from_pretrained(name, …, **quantized(model_args))
"""

from __future__ import annotations

import ast

from .engine.patch import Patch
from .engine.promises import takes
from .engine.script import Script

OWN = ("quantization_config", "device_map")


def apply(patch: Patch) -> None:
    script = patch.script
    for call in _loads(script):
        if near := _said(script, call):
            raise patch.refuse("a model loaded without quantisation of upstream's own", near)
        more = f"**quantized({script.name('model_args', script.scope(call))})"
        patch.add_argument(call, more, "four or eight bits where asked for")


def _loads(script: Script) -> list[ast.Call]:
    return [c for c in script.model_loads if c.func.attr == "from_pretrained"]


def _said(script: Script, call: ast.Call) -> list[ast.AST]:
    return [value for name in OWN for _, value in script.keyword(call, name)]


def verify(script: Script) -> None:
    promise = "the model's loading knows --quantization"
    for call in _loads(script):
        script.require(not _said(script, call), promise, call)
        calls = [k.value for k in call.keywords if k.arg is None and isinstance(k.value, ast.Call)]
        made = [c for c in calls if script.called(c) == "quantized"]
        script.require(len(made) == 1, promise, call)
        takes(script, made[0], promise, "model_args")
    replaced = [n for n, _ in script.sets("quantization")]
    script.require(not replaced, "the user's quantization is not replaced", *replaced)

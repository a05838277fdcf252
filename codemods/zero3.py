"""ZeRO-3 builds ChatGLM without its own skip_init.

AutoModel.from_pretrained(name, …)  →  AutoModel.from_pretrained(name, …, **zero3_model_kwargs(config, model_args))
"""

from __future__ import annotations

import ast

from .engine.patch import Patch
from .engine.promises import takes
from .engine.script import Script


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.main)
    for call in _loads(script):
        if script.keyword(call, "empty_init"):
            raise patch.refuse("a model loaded without empty_init of upstream's own", [call])
        scope = script.scope(call)
        config, model_args = script.name("config", scope), script.name("model_args", scope)
        more = f"**zero3_model_kwargs({config}, {model_args})"
        patch.add_argument(call, more, "empty_init=False under ZeRO-3 where it's known")


def _loads(script: Script) -> list[ast.Call]:
    return [c for c in script.model_loads if c.func.attr == "from_pretrained"]


def verify(script: Script) -> None:
    promise = "the model's loading knows ZeRO-3"
    for call in _loads(script):
        script.require(not script.keyword(call, "empty_init"), promise, call)
        calls = [k.value for k in call.keywords if k.arg is None and isinstance(k.value, ast.Call)]
        made = [c for c in calls if script.called(c) == "zero3_model_kwargs"]
        script.require(len(made) == 1, promise, call)
        takes(script, made[0], promise, "config", "model_args")

"""ChatGLM's config maps AutoModel and not AutoModelForCausalLM.

AutoModelForCausalLM.from_pretrained(…)  →  AutoModel.from_pretrained(…)
AutoModelForCausalLM.from_config(…)      →  AutoModel.from_config(…)
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.patch import Patch
from .engine.script import LOADS, Script

OLD, NEW = "AutoModelForCausalLM", "AutoModel"
USES = (*LOADS, "register")  # a class of upstream's own is registered where it is looked for


def apply(patch: Patch) -> None:
    script = patch.script
    calls = script.only_called(f"transformers.{OLD}", *USES)
    others = [c for c in script.model_loads if c not in calls and _cls(script, c) != NEW]
    if others:
        raise patch.refuse(f"the model to be loaded through {OLD}", others)
    what = "the class that ChatGLM's config maps"
    for call in calls:
        cls = call.func.value
        if isinstance(cls, ast.Name):
            patch.replace(cls, NEW, what)
            patch.needs("transformers", NEW)
        else:
            patch.change(cls, lambda node: node.with_changes(attr=cst.Name(NEW)), what, NEW)


def _cls(script: Script, call: ast.Call) -> str:
    return script.called(call).split(".")[-2]


def verify(script: Script) -> None:
    left = script.uses(f"transformers.{OLD}")
    script.require(not left, f"{OLD} is not used", *left)
    for call in script.model_loads:
        script.require(_cls(script, call) == NEW, f"{NEW} loads the model", call)

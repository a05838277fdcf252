"""ChatGLM's config maps AutoModel and not AutoModelForCausalLM.

AutoModelForCausalLM.from_pretrained(…)  →  AutoModel.from_pretrained(…)
AutoModelForCausalLM.from_config(…)      →  AutoModel.from_config(…)
"""

from __future__ import annotations

import ast

import libcst as cst

from .patch import Patch
from .script import Script, dotted

OLD, NEW = "AutoModelForCausalLM", "AutoModel"


def apply(patch: Patch) -> None:
    a = patch.anchors
    for call in a.model_loads:
        cls = call.func.value
        if isinstance(cls, cst.Attribute):
            patch.replace(cls.attr, cst.Name(NEW), "the class that ChatGLM's config maps")
        else:
            patch.replace(cls, cst.Name(NEW), "the class that ChatGLM's config maps")
    if NEW in a.imports:
        return
    for node in patch.source.nodes:
        if isinstance(node, cst.ImportAlias) and node.name.value == OLD:
            patch.change(
                node, lambda n: n.with_changes(name=cst.Name(NEW), asname=None), "its import", NEW
            )


def verify(script: Script) -> None:
    script.require(script.calls(f"{NEW}.from_pretrained", script.main), f"{NEW} loads the model")
    left = [n for n in script.all if isinstance(n, (ast.Name, ast.Attribute)) and OLD in dotted(n)]
    script.require(not left, f"{OLD} is not used", *left)
    script.require(
        OLD not in {a.name for n in script.all if isinstance(n, ast.ImportFrom) for a in n.names},
        f"{OLD} is not imported",
    )

"""ChatGLM's config maps AutoModel and not AutoModelForCausalLM.

AutoModelForCausalLM.from_pretrained(…)  →  AutoModel.from_pretrained(…)
AutoModelForCausalLM.from_config(…)      →  AutoModel.from_config(…)
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.anchors import dotted as dotted_node
from .engine.patch import Patch
from .engine.script import Script, dotted

OLD, NEW = "AutoModelForCausalLM", "AutoModel"
LOADS = ("from_pretrained", "from_config")


def apply(patch: Patch) -> None:
    a = patch.anchors
    mine = f"transformers.{NEW}"
    if a.imports.get(NEW, mine) != mine:
        raise patch.refuse(f"{NEW} to be transformers' own, not {a.imports[NEW]}", a.model_loads)
    for call in a.model_loads:
        cls = call.func.value
        if isinstance(cls, cst.Attribute):
            patch.replace(cls.attr, cst.Name(NEW), "the class that ChatGLM's config maps")
        else:
            patch.replace(cls, cst.Name(NEW), "the class that ChatGLM's config maps")
    if NEW in a.imports:
        return
    for node in patch.source.nodes:
        if isinstance(node, cst.ImportAlias) and node.name.value == OLD and _is_ours(patch, node):
            patch.change(
                node, lambda n: n.with_changes(name=cst.Name(NEW), asname=None), "its import", NEW
            )


def _is_ours(patch: Patch, alias: cst.ImportAlias) -> bool:
    above = patch.source.parent(alias)
    return isinstance(above, cst.ImportFrom) and dotted_node(above.module) == "transformers"


def _is_known(script: Script) -> None:
    """Is the class imported where the model is loaded, and what it is there?"""
    inside = [n for n in script.main_own if _imports(n)]
    loads = [c for m in LOADS for c in script.calls(f"{NEW}.{m}", script.main)]
    plain = [c for c in loads if dotted(c.func).partition(".")[0] == NEW]
    known = inside or [n for n in script.top_own if _imports(n)]
    script.require(known or not plain, f"{NEW} is imported where it loads the model", *plain)
    late = [n for n in inside for c in plain if n.lineno > c.lineno or n not in script.main.body]
    promise = f"{NEW} is transformers' own where it loads the model"
    script.require(not late and not script.bindings(NEW), promise, *late, *script.bindings(NEW))


def _imports(node: ast.AST) -> bool:
    names = [a.asname or a.name for a in getattr(node, "names", ()) if isinstance(a, ast.alias)]
    return isinstance(node, ast.ImportFrom) and NEW in names


def verify(script: Script) -> None:
    script.require(script.calls(f"{NEW}.from_pretrained", script.main), f"{NEW} loads the model")
    left = [n for n in script.all if isinstance(n, (ast.Name, ast.Attribute)) and OLD in dotted(n)]
    script.require(not left, f"{OLD} is not used", *left)
    _is_known(script)
    imported = [
        n
        for n in script.all
        if isinstance(n, ast.ImportFrom)
        and n.module == "transformers"
        and OLD in {a.name for a in n.names}
    ]
    script.require(not imported, f"{OLD} is not imported", *imported)

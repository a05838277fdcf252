"""Embeddings only grow, whatever the script believes to be their size.

model.resize_token_embeddings(len(tokenizer))  →  grow_embeddings(model, len(tokenizer))

A script that resizes nothing stays as it is.
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.patch import Patch
from .engine.script import Script

METHOD, GROW = "resize_token_embeddings", "grow_embeddings"


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.first_argument_class)
    for method in _methods(script):
        call = script.parent(method)
        if not (isinstance(call, ast.Call) and call.func is method):
            raise patch.refuse(f"every use of {METHOD} to be a call of it", [method])
        given = ", ".join(map(script.code, (method.value, *call.args, *call.keywords)))
        patch.change(call, _grown, "rows that ZeRO-3 hides are not cut away", f"{GROW}({given})")


def _methods(script: Script) -> list[ast.Attribute]:
    return [n for n in script.nodes if isinstance(n, ast.Attribute) and n.attr == METHOD]


def _grown(call: cst.Call) -> cst.Call:
    """The method's call as one of our function."""
    model = cst.Arg(call.func.value)
    return call.with_changes(func=cst.Name(GROW), args=[model, *call.args])


def verify(script: Script) -> None:
    left = _methods(script)
    script.require(not left, "embeddings only grow", *left)
    for call in script.calls_to(GROW):
        first = call.args[0] if call.args else None
        given = first is not None and not isinstance(first, ast.Starred)
        script.require(given, f"{GROW} is given a model", call)

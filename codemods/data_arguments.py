"""The prompt/response arguments join upstream's data arguments.

    class DataTrainingArguments:            →  class DataTrainingArguments(PromptResponseArguments):
        def __post_init__(self):            →      def __post_init__(self):
            …                                          super().__post_init__()

A base class keeps upstream's class as it is; ``super()`` runs first, since it may fill in what
upstream's own checks look at.
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_base

BASE = "PromptResponseArguments"


def apply(patch: Patch) -> None:
    cls = patch.anchors.data_class
    patch.graft(before=patch.anchors.first_argument_class)
    patch.change(cls.name, lambda n: n, "the data arguments get a base class", f"({BASE})")
    patch.edits.update(cls, add_base(BASE))
    plain = [n for n in cls.body.body if isinstance(n, cst.FunctionDef)]
    bound = set().union(*(patch.anchors.bound(n) for n in cls.body.body if n not in plain))
    if "__post_init__" in bound:
        raise patch.refuse("__post_init__ to be a method of the data arguments", [cls])
    for node in plain:
        if node.name.value == "__post_init__":
            steps = node.body.body
            if not isinstance(node.body, cst.IndentedBlock):
                raise patch.refuse("a __post_init__ with a block of statements", [node])
            call = "super().__post_init__()"
            patch.insert_before(steps[0], call, "the base class checks its arguments first")


def verify(script: Script) -> None:
    name = script.argument_class("train_file")
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    body = script.classes[name].body
    own = [n for n in body if getattr(n, "name", "") == "__post_init__"]
    named = [
        n
        for n in body
        if not isinstance(n, ast.FunctionDef)
        for m in ast.walk(n)
        if isinstance(m, ast.Name) and m.id == "__post_init__"
    ]
    script.require(not named, "the base class's checks run before upstream's", *named)
    for method in own:
        script.require(
            script.text.splitlines()[method.body[0].lineno - 1].strip()
            == "super().__post_init__()",
            "the base class's checks run before upstream's",
            method,
        )

"""The prompt/response arguments join upstream's data arguments.

    class DataTrainingArguments:            →  class DataTrainingArguments(PromptResponseArguments):
        def __post_init__(self):            →      def __post_init__(self):
            …                                          super().__post_init__()

A base class keeps upstream's class as it is; ``super()`` runs first, since it may fill in what
upstream's own checks look at.
"""

from __future__ import annotations

import ast

from .engine.nodes import binds
from .engine.patch import Patch
from .engine.script import Script

BASE = "PromptResponseArguments"
CHECKS = "__post_init__"
CALL = f"super().{CHECKS}()"


def apply(patch: Patch) -> None:
    cls = patch.script.data_class
    patch.graft(before=patch.script.first_argument_class)
    patch.add_base(cls, BASE, "the data arguments get a base class")
    for node in _checks(patch.script, cls):
        if not isinstance(node, ast.FunctionDef) or node not in cls.body:
            raise patch.refuse(f"{CHECKS} to be a method of the data arguments", [node])
        patch.insert_before(node.body[0], CALL, "the base class checks its arguments first")


def _checks(script: Script, cls: ast.ClassDef) -> list[ast.AST]:
    """What binds ``__post_init__`` in the class."""
    return [n for n in script.own(*cls.body) if CHECKS in binds(n)]


def verify(script: Script) -> None:
    cls = script.data_class
    script.require(BASE in script.bases(cls.name), f"{cls.name} has the base class {BASE}")
    for method in _checks(script, cls):
        first = ast.unparse(getattr(method, "body", [method])[0])
        script.require(first == CALL, "the base class's checks run before upstream's", method)

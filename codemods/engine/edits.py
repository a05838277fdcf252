"""Collect the edits of a whole series on upstream's tree, then rebuild it once.

A codemod names a node of the reading and says what becomes of it. Edits on the same node are
composed in series order; edits on nodes inside one another do not get in each other's way, because
each is written against the updated node it is handed. Nodes that nobody named are not touched, so
their text stays byte for byte.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

import libcst as cst

from .concrete import Concrete, fields
from .script import Script

Edit = Callable[[cst.CSTNode], cst.CSTNode]
BLOCKS = (cst.Module, cst.IndentedBlock)


class Edits:
    """Raises ``Refusal`` where an edit cannot be placed as its text stands."""

    def __init__(self, script: Script):
        self.script = script
        self.concrete = Concrete(script)
        self._edits: dict[int, list[Edit]] = {}
        self._removed: set[int] = set()
        self._before: dict[int, list[cst.BaseStatement]] = {}
        self._after: dict[int, list[cst.BaseStatement]] = {}
        self._dirty: set[int] = set()

    def _touch(self, node: cst.CSTNode) -> None:
        self._dirty.update(id(a) for a in self.concrete.ancestors(node))

    def update(self, node: ast.AST, edit: Edit) -> None:
        """``edit`` gets the node with all edits below it done, and returns its successor."""
        found = self.concrete.of(node)
        self._edits.setdefault(id(found), []).append(edit)
        self._touch(found)

    def remove(self, statement: ast.stmt) -> None:
        """Take a statement out of the block it stands in, and its line where it is alone on it."""
        line, small = self.concrete.line(statement), self.concrete.of(statement)
        gone = line if line is small or len(line.body) == 1 else small
        self._removed.add(id(gone))
        self._touch(gone)

    def insert_before(self, statement: ast.stmt, new: Sequence[cst.BaseStatement]) -> None:
        line = self._in_block(statement, first=True)
        self._before.setdefault(id(line), []).extend(new)
        self._touch(line)

    def insert_after(self, statement: ast.stmt, new: Sequence[cst.BaseStatement]) -> None:
        line = self._in_block(statement, first=False)
        self._after.setdefault(id(line), []).extend(new)
        self._touch(line)

    def _in_block(self, statement: ast.stmt, first: bool) -> cst.BaseStatement:
        """The line of a statement, beside which another can stand, and nothing between the two."""
        line, small = self.concrete.line(statement), self.concrete.of(statement)
        at_edge = line is small or line.body[0 if first else -1] is small
        if not at_edge or not isinstance(self.concrete.parent(line), BLOCKS):
            raise self.script.refuse("this to stand on a line of its own", [statement])
        return line

    def rebuild(self) -> cst.Module:
        return self._rebuild(self.concrete.module)

    def _rebuild(self, node: cst.CSTNode) -> cst.CSTNode:
        updated = node
        if id(node) in self._dirty:
            changes = {}
            for name in fields(node):
                value = getattr(node, name)
                if isinstance(value, cst.CSTNode):
                    new = self._rebuild(value)
                    if new is not value:
                        changes[name] = new
                elif isinstance(value, (list, tuple)):
                    changes[name] = self._rebuild_list(value)
            updated = node.with_changes(**changes)
        for edit in self._edits.get(id(node), ()):
            updated = edit(updated)
        return updated

    def _rebuild_list(self, items: Sequence[cst.CSTNode]) -> list[cst.CSTNode]:
        out: list[cst.CSTNode] = []
        for item in items:
            if not isinstance(item, cst.CSTNode):
                out.append(item)
                continue
            out.extend(self._before.get(id(item), ()))
            if id(item) not in self._removed:
                out.append(self._rebuild(item))
            out.extend(self._after.get(id(item), ()))
        if out and isinstance(out[-1], cst.BaseSmallStatement) and id(items[-1]) in self._removed:
            out[-1] = out[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return out

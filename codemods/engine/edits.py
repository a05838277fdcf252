"""Collect the edits of a whole series on upstream's tree, then rebuild it once.

A codemod names a node of the tree as upstream wrote it and says what becomes of it. Edits on the
same node are composed in series order; edits on nodes inside one another do not get in each
other's way, because each is written against the updated node it is handed. Nodes that nobody
named are not touched, so their text stays byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst

from .source import Source, fields

Edit = Callable[[cst.CSTNode], cst.CSTNode]


class Edits:
    def __init__(self, source: Source):
        self.source = source
        self._edits: dict[int, list[Edit]] = {}
        self._removed: set[int] = set()
        self._before: dict[int, list[cst.BaseStatement]] = {}
        self._after: dict[int, list[cst.BaseStatement]] = {}
        self._dirty: set[int] = set()

    def _touch(self, node: cst.CSTNode) -> None:
        self._dirty.update(id(a) for a in self.source.ancestors(node))

    def update(self, node: cst.CSTNode, edit: Edit) -> None:
        """``edit`` gets the node with all edits below it done, and returns its successor."""
        self._edits.setdefault(id(node), []).append(edit)
        self._touch(node)

    def replace(self, node: cst.CSTNode, new: cst.CSTNode) -> None:
        self.update(node, lambda _: new)

    def remove(self, statement: cst.CSTNode) -> None:
        """Take a whole statement out of the block it stands in."""
        self._removed.add(id(statement))
        self._touch(statement)

    def insert_before(self, statement: cst.CSTNode, new: Sequence[cst.BaseStatement]) -> None:
        self._before.setdefault(id(statement), []).extend(new)
        self._touch(statement)

    def insert_after(self, statement: cst.CSTNode, new: Sequence[cst.BaseStatement]) -> None:
        self._after.setdefault(id(statement), []).extend(new)
        self._touch(statement)

    def is_removed(self, node: cst.CSTNode) -> bool:
        chain = (node, *self.source.ancestors(node))
        return any(id(n) in self._removed for n in chain)

    def rebuild(self) -> cst.Module:
        return self._rebuild(self.source.module)

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
        return out

"""What a codemod gets to work with, and the record it leaves for the review sheet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import libcst as cst

from .anchors import Anchors
from .edits import Edits
from .payload import Payload
from .refusal import Refusal
from .syntax import statements


@dataclass(frozen=True)
class Change:
    """One edit: ``kind`` is changed, added before, added after or removed; lines are upstream's."""

    kind: str
    where: str
    lines: tuple[int, int]
    what: str
    code: str = ""
    digest: str = ""


@dataclass
class Patch:
    name: str
    edits: Edits
    anchors: Anchors
    payload: list[Payload]
    changes: list[Change] = field(default_factory=list)
    graft_before: cst.BaseStatement | None = None

    @property
    def source(self):
        return self.edits.source

    def _record(
        self, kind: str, node: cst.CSTNode, what: str, code: str = "", old: str = ""
    ) -> None:
        digest = hashlib.sha256(old.encode()).hexdigest()[:12] if old else ""
        where, lines = self.source.where(node), self.source.lines(node)
        self.changes.append(Change(kind, where, lines, what, code, digest))

    def change(self, node: cst.CSTNode, edit: Callable, what: str, code: str = "") -> None:
        self._record("changed", node, what, code, self.source.code(node))
        self.edits.update(node, edit)

    def replace(self, node: cst.CSTNode, new: cst.CSTNode, what: str) -> None:
        code = cst.Module([]).code_for_node(new)
        self._record("changed", node, what, code, self.source.code(node))
        self.edits.replace(node, new)

    def insert_after(self, statement: cst.BaseStatement, code: str, what: str) -> None:
        self._record("added after", statement, what, code)
        self.edits.insert_after(statement, statements(code, blank_line=True))

    def insert_before(
        self, statement: cst.BaseStatement, code: str, what: str, blank_line: bool = False
    ) -> None:
        self._record("added before", statement, what, code)
        self.edits.insert_before(statement, statements(code, blank_line))

    def remove(self, statement: cst.BaseStatement, what: str) -> None:
        self._record("removed", statement, what, old=self.source.code(statement))
        self.edits.remove(statement)

    def graft(self, before: cst.BaseStatement) -> None:
        """Put this patch's payload at module level, in one marked block before ``before``."""
        self.graft_before = before

    def refuse(self, looked_for: str, near: list[cst.CSTNode], hint: str = "") -> Refusal:
        return Refusal(looked_for, self.source.candidates(near), hint)

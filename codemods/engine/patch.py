"""What a codemod gets to work with, and the record it leaves for the review sheet."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .edits import Edits
from .payload import Payload
from .refusal import Refusal
from .script import Script
from .syntax import (
    add_argument,
    add_base,
    expression,
    remove_argument,
    remove_entry,
    statements,
)


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
    script: Script
    payload: list[Payload]
    changes: list[Change] = field(default_factory=list)
    graft_before: ast.stmt | None = None
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)

    def _record(self, kind: str, node: ast.AST, what: str, code: str = "") -> None:
        old = "" if kind.startswith("added") else self.script.code(node)
        digest = hashlib.sha256(old.encode()).hexdigest()[:12] if old else ""
        place = self.script.where(node), self.script.lines(node)
        self.changes.append(Change(kind, *place, what, code, digest))

    def change(self, node: ast.AST, edit: Callable, what: str, code: str = "") -> None:
        """``edit`` gets the concrete node, other edits below it done, and returns its successor."""
        self._record("changed", node, what, code)
        self.edits.update(node, edit)

    def replace(self, node: ast.expr, code: str, what: str) -> None:
        self.change(node, lambda _: expression(code), what, code)

    def add_argument(self, call: ast.Call, code: str, what: str) -> None:
        self.change(call, add_argument(code), what, code)

    def add_base(self, cls: ast.ClassDef, base: str, what: str) -> None:
        # Of the class only the name is changed, as far as a reviewer is concerned.
        place = self.script.where(cls), (self.script.lines(cls)[0], cls.lineno)
        digest = hashlib.sha256(cls.name.encode()).hexdigest()[:12]
        self.changes.append(Change("changed", *place, what, f"({base})", digest))
        self.edits.update(cls, add_base(base))

    def set_keyword(self, call: ast.Call, name: str, code: str, what: str) -> None:
        """The call gets ``name=code``, wherever it has got its ``name`` from."""
        given = self.script.given(call, name)
        for _, value in given:
            self.replace(value, code, what)
        if not given:
            self.add_argument(call, f"{name}={code}", what)

    def drop_keyword(self, call: ast.Call, name: str, what: str) -> list[ast.AST]:
        """The call gets no ``name`` any more; returns what held it."""
        holders = [holder for holder, _ in self.script.keyword(call, name)]
        for holder in holders:
            if isinstance(holder, ast.keyword):
                self.change(self.script.parent(holder), remove_argument(name), what)
            elif isinstance(holder, ast.Dict):
                self.change(holder, remove_entry(name), what)
            else:
                self.remove(holder, what)
        return holders

    def insert_after(self, statement: ast.stmt, code: str, what: str) -> None:
        self._record("added after", statement, what, code)
        self.edits.insert_after(statement, statements(code, blank_line=True))

    def insert_before(
        self, statement: ast.stmt, code: str, what: str, blank_line: bool = False
    ) -> None:
        self._record("added before", statement, what, code)
        self.edits.insert_before(statement, statements(code, blank_line))

    def remove(self, statement: ast.stmt, what: str) -> None:
        self._record("removed", statement, what)
        self.edits.remove(statement)

    def replace_step(self, statement: ast.stmt, code: str, what: str) -> None:
        self._record("changed", statement, what, code)
        self.edits.insert_before(statement, statements(code, blank_line=True))
        self.edits.remove(statement)

    def graft(self, before: ast.stmt) -> None:
        """Put this patch's payload at module level, in one marked block before ``before``."""
        self.graft_before = before

    def needs(self, module: str, name: str) -> None:
        """The code that the patch writes uses ``name``, to be imported from ``module``."""
        self.imports[name] = (module, name)

    def refuse(self, looked_for: str, near: Iterable[ast.AST], hint: str = "") -> Refusal:
        return self.script.refuse(looked_for, near, hint)

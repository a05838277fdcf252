"""Upstream's script, parsed once: the tree, who is whose parent, and line numbers.

Every codemod of a series looks at this one tree, as upstream wrote it. libcst's metadata
providers and matchers would give the same answers, but importing and resolving them costs more
than parsing the script does; one plain walk over the fields is all that is needed here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import libcst as cst

from .refusal import Candidate, Refusal

_LAYOUT = (
    "whitespace",
    "lpar",
    "rpar",
    "leading_lines",
    "lines_after",
    "header",
    "footer",
    "trailing",
    "lbrace",
    "rbrace",
    "lbracket",
    "rbracket",
    "comma",
    "semicolon",
    "equal",
    "colon",
    "indent",
)
_FIELDS: dict[type, tuple[str, ...]] = {}


def fields(node: cst.CSTNode) -> tuple[str, ...]:
    """Names of the fields that carry meaning (not spaces, commas or brackets)."""
    kind = type(node)
    if kind not in _FIELDS:
        names = kind.__dataclass_fields__
        _FIELDS[kind] = tuple(f for f in names if not f.startswith((*_LAYOUT, "__")))
    return _FIELDS[kind]


def children(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The meaningful child nodes, in source order."""
    for name in fields(node):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (item for item in value if isinstance(item, cst.CSTNode))


_STATEMENT = (cst.BaseSmallStatement, cst.BaseCompoundStatement)


class Source:
    """One parsed script.

    Raises ``Refusal`` if the text is not Python.
    """

    def __init__(self, text: str):
        self.text = text
        try:
            self.ast = ast.parse(text)  # first: its line numbers are the better ones
            self.module = cst.parse_module(text)
        except (cst.ParserSyntaxError, SyntaxError, ValueError) as error:
            line = getattr(error, "raw_line", None) or getattr(error, "lineno", None)
            where = f" (line {line})" if line else ""
            raise Refusal(f"upstream's file is not Python{where}") from None
        self.nodes: list[cst.CSTNode] = []
        self._parent: dict[int, cst.CSTNode] = {}
        self._position: dict[int, int] = {}
        self._index()
        self._lines = self._statement_lines()

    def _index(self) -> None:
        stack: list[cst.CSTNode] = [self.module]
        while stack:
            node = stack.pop()
            self._position[id(node)] = len(self.nodes)
            self.nodes.append(node)
            below = list(children(node))
            for child in below:
                self._parent[id(child)] = node
            stack.extend(reversed(below))
        self._end = {id(n): self._position[id(n)] + 1 for n in self.nodes}
        for node in reversed(self.nodes[1:]):
            above = id(self._parent[id(node)])
            self._end[above] = max(self._end[above], self._end[id(node)])

    def below(self, node: cst.CSTNode) -> list[cst.CSTNode]:
        """``node`` and everything below it, in source order, out of the index."""
        return self.nodes[self._position[id(node)] : self._end[id(node)]]

    def _statement_lines(self) -> dict[int, tuple[int, int]]:
        """First and last line of each statement, from the standard library's own parse."""
        ours = [n for n in self.nodes if isinstance(n, _STATEMENT)]
        theirs = list(_ast_statements(self.ast))
        if len(ours) != len(theirs):  # would be a bug here, and must not give wrong lines
            raise Refusal("the two parsers disagree on the statements of upstream's file")
        return {
            id(a): (
                min([b.lineno, *(d.lineno for d in getattr(b, "decorator_list", ()))]),
                b.end_lineno,
            )
            for a, b in zip(ours, theirs, strict=True)
        }

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parent.get(id(node))

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        while (node := self._parent.get(id(node))) is not None:
            yield node

    def before(self, a: cst.CSTNode, b: cst.CSTNode) -> bool:
        return self._position[id(a)] < self._position[id(b)]

    def inside(self, node: cst.CSTNode, outer: cst.CSTNode) -> bool:
        first = self._position[id(outer)]
        return first <= self._position[id(node)] < self._end[id(outer)]

    def lines(self, node: cst.CSTNode) -> tuple[int, int]:
        """First and last upstream line of the statement that ``node`` is or stands in."""
        if isinstance(node, cst.SimpleStatementLine):
            first, last = self._lines[id(node.body[0])], self._lines[id(node.body[-1])]
            return first[0], last[1]
        while id(node) not in self._lines:
            node = self._parent[id(node)]
            if isinstance(node, cst.SimpleStatementLine):
                return self.lines(node)
        return self._lines[id(node)]

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)

    def where(self, node: cst.CSTNode) -> str:
        """Dotted name of the class or function around ``node``; ``module`` at top level."""
        names = [
            a.name.value
            for a in (node, *self.ancestors(node))
            if isinstance(a, (cst.ClassDef, cst.FunctionDef))
        ]
        return ".".join(reversed(names)) or "module"

    def candidate(self, node: cst.CSTNode) -> Candidate:
        text = " ".join(self.code(node).split())
        return Candidate(self.lines(node)[0], text[:77] + "…" if len(text) > 78 else text)

    def candidates(self, nodes: list[cst.CSTNode], most: int = 4) -> list[Candidate]:
        return [self.candidate(n) for n in nodes[:most]]


def _ast_statements(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield from _ast_statements(child)

"""The concrete tree of a script, which keeps every byte, and what in it is a node of the reading.

Both parsers see the same statements, calls and displays in the same order, so the n-th of the one
tree is the n-th of the other; what else an edit names is a part of one of these. libcst's own
positions would do, but cost as much as parsing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import libcst as cst

from . import bounds
from .refusal import Refusal
from .script import Script

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
# Fields in the order of the source, where libcst has them otherwise.
_ORDER = {
    cst.FunctionDef: ("decorators", "name", "type_parameters", "params", "returns", "body"),
    cst.ClassDef: ("decorators", "name", "type_parameters", "bases", "keywords", "body"),
    cst.Parameters: ("posonly_params", "params", "star_arg", "kwonly_params", "star_kwarg"),
    cst.IfExp: ("body", "test", "orelse"),
}
_FIELDS: dict[type, tuple[str, ...]] = {}
_STATEMENT = (cst.BaseSmallStatement, cst.BaseCompoundStatement)
_DISPLAYS = {
    ast.Call: cst.Call,
    ast.Dict: cst.Dict,
    ast.List: cst.List,
    ast.Set: cst.Set,
    ast.Compare: cst.Comparison,
}


def fields(node: cst.CSTNode) -> tuple[str, ...]:
    """Names of the fields that carry meaning (not spaces, commas or brackets)."""
    kind = type(node)
    if kind not in _FIELDS:
        names = kind.__dataclass_fields__
        first = [f for f in _ORDER.get(kind, ()) if f in names]
        rest = (f for f in names if f not in first and not f.startswith((*_LAYOUT, "__")))
        _FIELDS[kind] = (*first, *rest)
    return _FIELDS[kind]


def children(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The meaningful child nodes, in source order."""
    for name in fields(node):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (item for item in value if isinstance(item, cst.CSTNode))


class Concrete:
    """Raises ``Refusal`` if libcst cannot parse what Python can."""

    def __init__(self, script: Script):
        self.script = script
        bounds.of_tree(script)
        try:
            self.module = cst.parse_module(script.text)
        except cst.ParserSyntaxError as error:
            raise Refusal(
                f"upstream's file is not Python that libcst parses (line {error.raw_line})",
                hint="Either it is nested too deep, or a newer libcst knows it",
            ) from None
        if script.text.endswith("\r"):  # the one line end that libcst does not see at the end
            self.module = self.module.with_changes(has_trailing_newline=True)
        self._parents: dict[int, cst.CSTNode] = {}
        self._nodes = self._index()
        self._of = self._match()

    def _index(self) -> list[cst.CSTNode]:
        stack, out = [self.module], []
        while stack:
            out.append(node := stack.pop())
            below = list(children(node))
            self._parents.update((id(child), node) for child in below)
            stack.extend(reversed(below))
        return out

    def _match(self) -> dict[int, cst.CSTNode]:
        """Identity of a statement, call or display of the reading → its concrete node."""
        theirs = list(_in_order(self.script.tree))
        pairs = [([n for n in theirs if isinstance(n, ast.stmt)], _STATEMENT)]
        pairs += [
            ([n for n in theirs if type(n) is kind], ours) for kind, ours in _DISPLAYS.items()
        ]
        out = {}
        for nodes, kind in pairs:
            ours = [n for n in self._nodes if isinstance(n, kind)]
            if [*map(_size, ours)] != [*map(_size, nodes)]:  # must not edit the wrong place
                raise Refusal("the two parsers disagree on upstream's file")
            out.update((id(a), c) for a, c in zip(nodes, ours, strict=True))
        return out

    def of(self, node: ast.AST) -> cst.CSTNode:
        """The concrete node of a statement or an expression that an edit may name."""
        if id(node) in self._of:
            return self._of[id(node)]
        above = self.script.parent(node)
        if isinstance(above, ast.keyword):
            return self.argument(above).value
        whole = self.of(above)
        if isinstance(above, ast.Call):
            return whole.func if node is above.func else whole.args[above.args.index(node)].value
        if isinstance(above, ast.Dict):
            return whole.elements[above.values.index(node)].value
        if isinstance(above, ast.Compare):
            return whole.comparisons[above.comparators.index(node)].comparator
        return whole.value  # of an assignment, an attribute, a starred argument

    def argument(self, node: ast.keyword) -> cst.Arg:
        call = self.script.parent(node)
        order = sorted([*call.args, *call.keywords], key=lambda n: (n.lineno, n.col_offset))
        return self.of(call).args[order.index(node)]

    def line(self, statement: ast.stmt) -> cst.BaseStatement:
        """What can stand in a block: the statement, or the line of small ones that it is on."""
        node = self.of(statement)
        above = self._parents[id(node)]
        return above if isinstance(above, cst.SimpleStatementLine) else node

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parents.get(id(node))

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        while (node := self._parents.get(id(node))) is not None:
            yield node

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)


def _size(node: ast.AST | cst.CSTNode) -> int:
    """How many arguments, elements or comparisons the node has."""
    parts = ("args", "keywords", "elts", "keys", "ops", "elements", "comparisons")
    is_one = isinstance(node, (ast.stmt, *_STATEMENT))
    return 0 if is_one else sum(len(getattr(node, part, ())) for part in parts)


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below in the order of the source, what is around others first."""
    yield node
    for child in _children(node):
        yield from _in_order(child)


def _children(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [n for pair in pairs for n in pair if n is not None]
    if isinstance(node, ast.IfExp):
        return [node.body, node.test, node.orelse]
    found = list(ast.iter_child_nodes(node))
    if isinstance(
        node, (ast.Call, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.arguments)
    ):
        found.sort(key=_place)
    return found


def _place(node: ast.AST) -> tuple[int, int]:
    """Where a node begins; of what has no place itself (``arguments``), where its first part does."""
    if hasattr(node, "lineno"):
        return node.lineno, node.col_offset
    return min((_place(n) for n in ast.iter_child_nodes(node)), default=(0, 0))

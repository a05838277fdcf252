"""The finished script, seen afresh: what every ``verify`` looks at.

Built from the text alone with the standard library's parser; shares nothing with the tree,
the anchors or the edits that made it.
"""

from __future__ import annotations

import ast

from .refusal import Candidate, Refusal


class Script:
    def __init__(self, text: str):
        self.text = text
        self.tree = ast.parse(text)
        self.all = list(ast.walk(self.tree))
        found = [(f".{_called(n.func)}", n) for n in self.all if isinstance(n, ast.Call)]
        self._calls = sorted(found, key=lambda c: (c[1].lineno, c[1].col_offset))
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.functions = {n.name: n for n in self.tree.body if isinstance(n, ast.FunctionDef)}
        trains = [f for f in self.functions.values() if self.calls("HfArgumentParser", f)]
        if len(trains) != 1:
            raise Refusal("verify: one function that parses the arguments")
        self.main = trains[0]
        self.main_nodes = list(ast.walk(self.main))

    def require(self, holds: object, promise: str, *near: ast.AST) -> None:
        if not holds:
            places = [Candidate(n.lineno, ast.unparse(n).split("\n")[0][:78]) for n in near]
            raise Refusal(f"verify: the finished script breaks the promise that {promise}", places or None)

    def calls(self, name: str, within: ast.AST | None = None) -> list[ast.Call]:
        """Calls whose dotted name is ``name`` or ends in ``.name``, in source order."""
        found = [call for full, call in self._calls if full.endswith(f".{name}")]
        return found if within is None else [call for call in found if _is_in(call, within)]

    def one_call(self, name: str) -> ast.Call:
        found = self.calls(name, self.main)
        self.require(len(found) == 1, f"{name} is called once in {self.main.name}()", *found)
        return found[0]

    def step(self, node: ast.AST) -> ast.stmt:
        return next(s for s in self.main.body if s.lineno <= node.lineno <= s.end_lineno)

    def unconditional(self, call: ast.Call) -> bool:
        """Is the call a statement of main()'s own block, or the value of one?"""
        step = self.step(call)
        return isinstance(step, (ast.Assign, ast.Expr)) and step.value is call

    def assigned(self, call: ast.Call) -> list[str]:
        for n in self.main_nodes:
            if isinstance(n, ast.Assign) and n.value is call:
                return [t.id for t in n.targets if isinstance(t, ast.Name)]
            if isinstance(n, ast.AnnAssign) and n.value is call:
                return [n.target.id]
        return []

    def bindings(self, name: str) -> list[ast.Name]:
        return [
            n
            for n in self.main_nodes
            if isinstance(n, ast.Name) and n.id == name and not isinstance(n.ctx, ast.Load)
        ]

    def keywords(self, call: ast.Call) -> dict[str, ast.expr]:
        """A call's keywords, those out of ``**dict`` displays included."""
        out: dict[str, ast.expr] = {}
        for k in call.keywords:
            if k.arg is not None:
                out[k.arg] = k.value
                continue
            display = k.value
            if isinstance(display, ast.Name):
                values = [
                    n.value
                    for n in self.main_nodes
                    if isinstance(n, ast.Assign)
                    and any(isinstance(t, ast.Name) and t.id == display.id for t in n.targets)
                ]
                display = values[0] if len(values) == 1 else None
            if isinstance(display, ast.Dict):
                for key, value in zip(display.keys, display.values, strict=True):
                    if isinstance(key, ast.Constant):
                        out[key.value] = value
        return out

    def field(self, cls: str, name: str) -> ast.AnnAssign | None:
        for n in self.classes[cls].body:
            if isinstance(n, ast.AnnAssign) and dotted(n.target) == name:
                return n
        return None

    def bases(self, cls: str) -> list[str]:
        return [dotted(b) for b in self.classes[cls].bases]

    def parsed(self) -> list[str]:
        """Names of the classes given to HfArgumentParser."""
        return [dotted(e) for e in self.one_call("HfArgumentParser").args[0].elts]

    def argument_class(self, field: str) -> str:
        found = [c for c in self.parsed() if c in self.classes and self.field(c, field)]
        self.require(len(found) == 1, f"one argument class defines {field}")
        return found[0]

    def arguments(self) -> dict[str, str]:
        """Every command-line argument the script itself defines → its definition (ast.dump)."""
        out: dict[str, str] = {}

        def collect(cls: str) -> None:
            if cls not in self.classes:
                return
            for base in self.bases(cls):
                collect(base)
            for n in self.classes[cls].body:
                if isinstance(n, ast.AnnAssign):
                    out[n.target.id] = ast.dump(n)

        for cls in self.parsed():
            collect(cls)
        return out


def _is_in(node: ast.AST, outer: ast.AST) -> bool:
    start, end = (outer.lineno, outer.col_offset), (outer.end_lineno, outer.end_col_offset)
    return start <= (node.lineno, node.col_offset) and (node.end_lineno, node.end_col_offset) <= end


def _called(func: ast.AST) -> str:
    """``dotted``; of ``f().g`` and the like at least ``.g``, so that no method call hides."""
    if isinstance(func, ast.Attribute):
        return f"{_called(func.value)}.{func.attr}"
    return dotted(func)


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""

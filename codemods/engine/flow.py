"""Is a name bound wherever a node runs? Loops are taken to run, and what ends the run to bind."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from .nodes import binds, blocks
from .script import Script

ENDS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
HEADS = (ast.For, ast.With)


def is_bound(script: Script, name: str, node: ast.AST) -> bool:
    """Has the function of ``node`` bound its ``name`` on every way to it?"""
    scope = script.scope(node)
    if scope is None or name in (a.arg for a in ast.walk(scope.args) if isinstance(a, ast.arg)):
        return True
    stores = script.bindings(name, scope)
    way = _Way(script, [*stores, *script.deletions(name, scope)])
    bound, block = False, scope.body
    while block:
        steps, block = block, None
        for step in steps:
            if script.inside(node, step):
                bound = bound or way.head(step)
                inner = (b for b in blocks(step) if any(script.inside(node, s) for s in b))
                block = next(inner, None)
                break
            bound = way.after(step, bound)
    return bound


class _Way:
    """What the statements on the way do to one name."""

    def __init__(self, script: Script, stores: list[ast.AST]):
        self.script, self.stores = script, stores

    def head(self, step: ast.stmt) -> bool:
        """Does the first line of a loop or a ``with`` bind the name?"""
        inside = [s for b in blocks(step) for s in b]
        return isinstance(step, HEADS) and any(
            self.script.inside(n, step) and not self.script.inside(n, *inside) for n in self.stores
        )

    def after(self, step: ast.stmt, bound: bool) -> bool:
        """Is the name bound after ``step``, if it was ``bound`` before?"""
        if isinstance(step, ENDS):
            return True
        inside = [n for n in self.stores if self.script.inside(n, step)]
        if isinstance(step, ast.If):
            return all(self.through(b, bound) for b in (step.body, step.orelse))
        if not inside:
            return bound
        if isinstance(step, (*HEADS, ast.While, ast.Try)):
            bound = bound or self.head(step)
            return self.through([*step.body, *getattr(step, "orelse", ())], bound)
        return bool(not isinstance(inside[-1], ast.Name) and binds(inside[-1]))

    def through(self, block: Iterable[ast.stmt], bound: bool) -> bool:
        for step in block:
            bound = self.after(step, bound)
        return bound

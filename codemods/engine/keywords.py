"""What a call is given, as keywords or out of dicts that are written out and handed to it."""

from __future__ import annotations

import ast

from .nodes import dotted, string
from .reading import Reading

# Functions of the payload that return keywords.
OURS = ("zero3_model_kwargs", "quantized")


class Keywords(Reading):
    def keyword(self, call: ast.Call, name: str) -> list[tuple[ast.AST, ast.expr]]:
        """Where a call is given ``name``: (what holds the value, the value).

        The holder is the keyword, the dict display that has the entry, or the assignment to
        ``kwargs["name"]``. Refusal when the call unpacks a dict that is not written out here.
        """
        found = [(k, k.value) for k in call.keywords if k.arg == name]
        for k in call.keywords:
            if k.arg is None:
                found += [(h, v) for h, key, v in self._entries(k.value, call) if key == name]
        return found

    def given(self, call: ast.Call, name: str) -> list[tuple[ast.AST, ast.expr]]:
        """As ``keyword``, for what decides: Refusal when only some runs give the call its ``name``."""
        found, around = self.keyword(call, name), [None, *self.around(call)]
        dicts = [dotted(k.value) for k in call.keywords if k.arg is None]
        bound = [b for d in dicts if (b := self.bindings(d, self.scope(call)))]
        fills = [h for h, _ in found if not self.inside(h, *(n for b in bound for n in b))]
        always = any(self.parent(self.statement(h)) in around for h in fills) or any(
            all(any(self.inside(h, n) for h, _ in found) for n in b) for b in bound
        )
        if found and not always:
            raise self.refuse(f"{name} to be given to this call always or never", [call, *fills])
        return found

    def _entries(self, node: ast.expr, call: ast.Call) -> list[tuple[ast.AST, str, ast.expr]]:
        """Every (holder, key, value) of a dict that is written out, and filled, in this function."""
        if isinstance(node, ast.Dict):
            known = [(node, string(k), v) for k, v in zip(node.keys, node.values, strict=True) if k]
            more = [v for k, v in zip(node.keys, node.values, strict=True) if k is None]
            return known + [e for m in more for e in self._entries(m, call)]
        if isinstance(node, ast.Call) and self.called(node) == "dict":
            return self._written(node, call)
        if isinstance(node, ast.Name) and (made := self._filled(node.id, call)) is not None:
            return made
        if isinstance(node, ast.Call) and dotted(node.func) in OURS:
            return []  # and nobody else's keyword is among them
        raise self.refuse(
            "every ** of this call to be one dict written out in its function",
            [call],
            "Its keywords can't be known otherwise",
        )

    def _written(self, node: ast.Call, call: ast.Call) -> list[tuple[ast.AST, str, ast.expr]]:
        """The entries that ``dict(…)`` makes, or ``kwargs.update(…)`` adds."""
        known = [(k, k.arg, k.value) for k in node.keywords if k.arg]
        more = [*node.args, *(k.value for k in node.keywords if k.arg is None)]
        return known + [e for m in more for e in self._entries(m, call)]

    def _filled(self, name: str, call: ast.Call) -> list[tuple[ast.AST, str, ast.expr]] | None:
        """The entries of the dict ``name``; None when it may hold others than are seen here."""
        scope, out = self.scope(call), []
        bound = self.bindings(name, scope)
        if not bound or not all(isinstance(n, (ast.Assign, ast.AnnAssign)) for n in bound):
            return None
        for node in bound:
            out += self._entries(node.value, call)
        for read in (r for r in self.reads.get(name, ()) if self.scope(r) is scope):
            above = self.parent(read)
            if isinstance(above, ast.keyword) and above.arg is None:
                continue
            if isinstance(above, ast.Dict) and above.keys[above.values.index(read)] is None:
                continue
            if isinstance(above, ast.Subscript) and isinstance(
                set_ := self.parent(above), ast.Assign
            ):
                out.append((set_, string(above.slice), set_.value))
            elif getattr(above, "attr", "") == "update" and isinstance(
                self.parent(above), ast.Call
            ):
                out += self._written(self.parent(above), call)
            elif not self._only_asks(above):
                looked_for = f"{name!r} to be written, filled and unpacked, and nothing else"
                raise self.refuse(looked_for, [self.statement(read), call])
        return out

    def _only_asks(self, above: ast.AST | None) -> bool:
        """``kwargs["a"]``, ``kwargs.get("a")``, ``"a" in kwargs``?"""
        if isinstance(above, ast.Subscript):
            return isinstance(above.ctx, ast.Load)
        return isinstance(above, ast.Compare) or getattr(above, "attr", "") in (
            "get",
            "items",
            "keys",
        )

"""A text, read once: what stands where, what is imported, called, bound and read."""

from __future__ import annotations

import ast
import platform
from collections.abc import Container, Iterable, Iterator
from functools import cached_property

from . import bounds
from .nodes import (
    DEFINITIONS,
    SCOPES,
    Scope,
    binds,
    dotted,
    imported,
    position,
    string,
    walk,
    whole_name,
)
from .refusal import Candidate, Refusal, plain


class Reading:
    """The reading of one text.

    ``grafted`` names definitions at module level that are not upstream's, and not read.
    Raises ``Refusal`` if the text is not Python.
    """

    def __init__(self, text: str, grafted: Container[str] = ()):
        self.text = text = text.removeprefix("\ufeff")  # says that it is UTF-8, and no more
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            raise _not_python(text, error) from None
        except (RecursionError, MemoryError):
            raise bounds.too_deep() from None
        self.body = [s for s in self.tree.body if getattr(s, "name", None) not in grafted]
        below = [walk(s) for s in self.body]
        self.nodes = [n for found in below for n in found]
        self._parents = {id(c): n for n in self.nodes for c in ast.iter_child_nodes(n)}
        for found in below:  # the last found is the deepest; contexts and operators are shared
            last = next(n for n in reversed(found) if hasattr(n, "lineno"))
            if sum(1 for _ in self.around(last)) > bounds.DEPTH:
                raise bounds.too_deep(found[0].lineno)
        self.calls = sorted((n for n in self.nodes if isinstance(n, ast.Call)), key=position)
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.functions = {n.name: n for n in self.body if isinstance(n, ast.FunctionDef)}
        self.defined = {s.name for s in self.tree.body if isinstance(s, DEFINITIONS)}
        self._called = {id(c): self.qualified(c.func) or dotted(c.func) for c in self.calls}

    # -- refusing ------------------------------------------------------------------------------

    def candidate(self, node: ast.AST, why: str = "") -> Candidate:
        node = node if hasattr(node, "lineno") else self.statement(node)
        return Candidate(node.lineno, plain(self.code(node)), plain(why))

    def refuse(self, looked_for: str, near: Iterable[ast.AST] = (), hint: str = "") -> Refusal:
        return Refusal(looked_for, [self.candidate(n) for n in [*near][:4]], hint)

    def one(self, found: list, looked_for: str, near: Iterable[Candidate], hint: str = ""):
        if len(found) == 1:
            return found[0]
        if not found:
            raise Refusal(f"found no {looked_for}", [*near][:4], hint)
        raise self.refuse(f"found {len(found)} places, expected one: {looked_for}", found, hint)

    def require(self, holds: object, promise: str, *near: ast.AST) -> None:
        if not holds:
            looked_for = f"verify: the finished script breaks the promise that {promise}"
            raise Refusal(looked_for, [self.candidate(n) for n in near] or None)

    @cached_property
    def _text_lines(self) -> list[bytes]:
        return self.text.encode().splitlines(keepends=True)

    def code(self, node: ast.AST) -> str:
        """The text of a node, as it stands there."""
        lines = self._text_lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"".join(lines).decode()

    # -- the tree ------------------------------------------------------------------------------

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(id(node))

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """``node`` and what it stands in, inner first."""
        while node is not None:
            yield node
            node = self._parents.get(id(node))

    def inside(self, node: ast.AST, *outer: ast.AST) -> bool:
        known = {id(n) for n in outer}
        return any(id(n) in known for n in self.around(node))

    def own(self, *roots: ast.AST) -> Iterator[ast.AST]:
        """What is below the nodes, but not what is inside definitions and the like."""
        stack = list(roots)
        while stack:
            yield (node := stack.pop())
            if not isinstance(node, SCOPES):
                stack += ast.iter_child_nodes(node)

    def statement(self, node: ast.AST) -> ast.stmt:
        return next(n for n in self.around(node) if isinstance(n, ast.stmt))

    def scope(self, node: ast.AST) -> Scope:
        """The function or class of the module that ``node`` stands in; None at module level."""
        outer = [*self.around(node)][-1]
        return outer if isinstance(outer, DEFINITIONS) and outer is not node else None

    def lines(self, node: ast.AST) -> tuple[int, int]:
        """First and last line of the statement that ``node`` is or stands in; its head alone for a part."""
        step = self.statement(node)
        first = min([step.lineno, *(d.lineno for d in getattr(step, "decorator_list", ()))])
        return first, step.end_lineno

    def where(self, node: ast.AST) -> str:
        """Dotted name of the class or function around ``node``; ``module`` at top level."""
        found = [n.name for n in self.around(node) if isinstance(n, DEFINITIONS)]
        return ".".join(reversed(found)) or "module"

    # -- names ---------------------------------------------------------------------------------

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name of everything imported, wherever, to its full dotted name."""
        return imported(self.nodes)

    @cached_property
    def module_imports(self) -> dict[str, str]:
        """``imports`` at module level alone."""
        return imported(self.own(*self.body))

    def qualified(self, node: ast.AST) -> str:
        """Full dotted name of an imported thing; '' for anything else."""
        head, _, rest = dotted(node).partition(".")
        full = self.imports.get(head, "")
        return whole_name(f"{full}.{rest}") if full and rest else full

    def called(self, call: ast.Call) -> str:
        """Full name of what is called; of what is not imported, as it is written."""
        return self._called[id(call)]

    def calls_to(self, *names: str) -> list[ast.Call]:
        return [c for c in self.calls if self._called[id(c)] in names]

    def method_calls(self, *methods: str) -> list[ast.Call]:
        return [c for c in self.calls if getattr(c.func, "attr", None) in methods]

    def sets(self, *names: str) -> list[tuple[ast.AST, ast.expr]]:
        """Where an attribute of one of the names is set, and of what."""
        out = [
            (n, n.value)
            for n in self.nodes
            if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and n.attr in names
        ]
        calls = (c for c in self.calls if self.called(c) == "setattr" and len(c.args) > 1)
        return out + [(c, c.args[0]) for c in calls if string(c.args[1]) in names]

    def uses(self, name: str) -> list[ast.expr]:
        """Where an imported thing is used, by whatever name."""
        return [
            n
            for n in self.nodes
            if isinstance(n, (ast.Name, ast.Attribute)) and self.qualified(n) == name
        ]

    def only_called(self, name: str, *methods: str) -> list[ast.Call]:
        """Calls of an imported function, or of the methods of a class.

        Refusal when it is used otherwise, so that nothing goes by another name.
        """
        for node in self.uses(name):
            above = self.parent(node)
            if isinstance(above, ast.Attribute) and above.attr in methods:
                node, above = above, self.parent(above)
            if not (isinstance(above, ast.Call) and above.func is node):
                raise self.refuse(f"every use of {name} to be a call of it", [node])
        return self.calls_to(*(f"{name}.{m}" for m in methods), *(() if methods else (name,)))

    @cached_property
    def reads(self) -> dict[str, list[ast.Name]]:
        """Name → where it is read."""
        out: dict[str, list[ast.Name]] = {}
        for n in self.nodes:
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                out.setdefault(n.id, []).append(n)
        return out

    @cached_property
    def _bindings(self) -> dict[tuple[int, str], list[ast.AST]]:
        out: dict[tuple[int, str], list[ast.AST]] = {}
        for scope in self.functions.values():
            for node in sorted(
                (n for n in self.own(*scope.body) if binds(n)),
                key=lambda n: position(self.statement(n)),
            ):
                for name in binds(node):
                    out.setdefault((id(scope), name), []).append(node)
            for node in (n for n in walk(scope) if isinstance(n, ast.Nonlocal)):
                inner = next(n for n in self.around(node) if isinstance(n, DEFINITIONS))
                for n in self.own(*inner.body):
                    for name in set(binds(n)) & set(node.names):
                        out.setdefault((id(scope), name), []).append(n)
        return out

    @cached_property
    def _deletions(self) -> dict[tuple[int, str], list[ast.AST]]:
        out: dict[tuple[int, str], list[ast.AST]] = {}
        for n in self.nodes:
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Del):
                out.setdefault((id(self.scope(n)), n.id), []).append(n)
        return out

    def deletions(self, name: str, scope: Scope) -> list[ast.AST]:
        return self._deletions.get((id(scope), name), [])

    def bindings(self, name: str, scope: Scope) -> list[ast.AST]:
        """What binds ``name`` in a function itself, in source order."""
        return self._bindings.get((id(scope), name), [])

    def calls_of(self, function: ast.FunctionDef) -> list[ast.Call]:
        return [c for c in self.calls if self.called(c) == function.name]

    # -- where things run ------------------------------------------------------------------------

    def steps(self, node: ast.AST) -> list[ast.stmt]:
        """The statements around ``node``, outer first, each of which runs when the one around does.

        The first stands in its function's own block, a further one in a ``with`` or a ``try``.
        """
        scope = self.scope(node)
        block, out = (scope or self.tree).body, []
        while block:
            out.append(next(s for s in block if self.inside(node, s)))
            block = out[-1].body if isinstance(out[-1], (ast.With, ast.Try)) else []
            block = block if any(self.inside(node, s) for s in block) else []
        return out

    def not_nested(self, node: ast.AST) -> ast.AST:
        """``node``; Refusal when it stands in a definition inside its function."""
        scope = self.scope(node)
        for outer in self.around(node):
            if outer is scope:
                break
            if isinstance(outer, (*DEFINITIONS, ast.Lambda)):
                where = f"{scope.name}()" if scope else "the module"
                raise self.refuse(f"this to stand in {where} itself, not in a definition", [node])
        return node


def _not_python(text: str, error: SyntaxError | ValueError) -> Refusal:
    line = getattr(error, "lineno", None)
    if "too many" in str(error) or "nested too" in str(error):  # parentheses, indents, f-strings
        return bounds.too_deep(line)
    python = ".".join(platform.python_version_tuple()[:2])
    where = f" (line {line})" if line else ""
    if "\0" not in text and bounds.is_newer_python(text):
        newer = f"upstream's file is of a newer Python than this one, {python}{where}"
        return Refusal(newer, hint="Run the tool with that, or give another ref")
    hint = f"This is Python {python}: if it is newer Python, run the tool with that"
    return Refusal(f"upstream's file is not Python{where}", hint=hint)

"""What served only something that goes, goes with it.

A statement is dead when all it does is bind names, nothing but what goes reads them, and what goes
is what they were for. A message or a check about what goes is dead, too. Whatever does anything
else stays: it may be superfluous then, but nothing is lost.
"""

from __future__ import annotations

import ast
from collections.abc import Container

from .nodes import DEFINITIONS, binds, blocks, dotted, names_in, targets
from .script import Script

LOGS = ("debug", "info", "warning", "warning_once", "warning_rank0", "warn", "error", "print")
MORE_THAN_BINDS = (
    ast.Return,
    ast.Raise,
    ast.Assert,
    ast.Delete,
    ast.Global,
    ast.Nonlocal,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
)
# What only asks the model, the tokenizer or the data, and what maps the data.
ASKS = (
    "map",
    "keys",
    "get",
    "len",
    "list",
    "set",
    "hasattr",
    "getattr",
    "isinstance",
    "type",
    "next",
)
ASKS += ("iter", "print", "str", "min", "max", "sorted", "encode_datasets")
KEPT = (
    "config",
    "tokenizer",
    "model",
    "data",
    "trainer",
    "model_args",
    "data_args",
    "training_args",
)


class DeadCode:
    """Grows from the nodes ``gone``; names of ``stays`` are bound by something else in their place."""

    def __init__(self, script: Script, gone: list[ast.AST], stays: Container[str] = ()):
        self.script = script
        self.gone = list(gone)
        self.stays = stays
        self._ids = {id(n) for n in gone}
        scopes = {id(s): s for n in gone if (s := script.scope(n))}.values()
        self._scopes = list(scopes)
        self._candidates = [s for f in self._scopes for s in _statements(f.body)]
        kept = (*self._scopes, script.main)
        top = (f for f in script.functions.values() if f not in kept and not f.decorator_list)
        self._candidates += top
        self._tells = [s for s in self._candidates if only_tells(s)]
        self._bound = {
            id(s): {n for m in script.own(s) for n in binds(m)} for s in self._candidates
        }
        while self._grow():
            pass

    @property
    def statements(self) -> list[ast.stmt]:
        """The statements that go, in source order."""
        found = [n for n in self.gone if isinstance(n, ast.stmt)]
        whole = (n for n in found if not self._is_gone(self.script.parent(n)))
        return sorted(whole, key=lambda n: n.lineno)

    def _grow(self) -> bool:
        before = len(self.gone)
        for step in reversed(self._candidates):
            if not self._is_gone(step) and self._is_dead(step):
                self.gone.append(step)
                self._ids.add(id(step))
        return len(self.gone) > before

    def _is_gone(self, node: ast.AST) -> bool:
        return any(id(n) in self._ids for n in self.script.around(node))

    def _is_dead(self, step: ast.stmt) -> bool:
        bound = self.bound(step)
        if not bound:
            return only_tells(step) and self._reads_what_goes(step)
        reads = [r for name in bound for r in self.script.reads.get(name, ())]
        others = [r for r in reads if self._is_same(r, step) and not self.script.inside(r, step)]
        others = [r for r in others if self._is_gone(r) or not self.script.inside(r, *self._tells)]
        served = [r for r in others if self._is_gone(r)]
        if len(served) < len(others) or not (served or self._reads_what_goes(step)):
            return False
        kept = [self.script.names.all_of(KEPT, f) for f in self._scopes]
        return not bound & set().union(*kept) and only_binds(self.script, step)

    def bound(self, step: ast.stmt) -> set[str]:
        """Names that running the statement binds where it stands."""
        return self._bound[id(step)]

    def _is_same(self, read: ast.Name, step: ast.stmt) -> bool:
        """Can the name that is read be the one that the statement binds?"""
        scope = self.script.scope(step)
        return scope is None or self.script.scope(read) is scope

    def _reads_what_goes(self, step: ast.stmt) -> bool:
        """Does it read a name that only what goes binds?"""
        scope = self.script.scope(step) or self._scopes[0]
        for n in ast.walk(step):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id not in self.stays:
                bindings = self.script.bindings(n.id, scope)
                if bindings and all(self._is_gone(b) for b in bindings):
                    return True
        return False


def only_binds(script: Script, step: ast.stmt) -> bool:
    """Does running the statement do nothing but bind names (and tell of it)?"""
    if isinstance(step, DEFINITIONS):
        return not step.decorator_list
    for node in script.own(step):
        if isinstance(node, MORE_THAN_BINDS):
            return False
        if isinstance(node, ast.Expr) and not _is_message(node.value):
            return False
        if isinstance(node, ast.Call) and (_may_change(script, node) or _loads(script, node)):
            return False
        if any(not names_in(target) for target in targets(node)):
            return False
    return True


def only_tells(step: ast.stmt) -> bool:
    """A message, or a check that tells or raises?"""
    if isinstance(step, ast.If):
        return all(map(only_tells, (*step.body, *step.orelse)))
    if isinstance(step, ast.Expr):
        return _is_message(step.value) and not isinstance(step.value, ast.Constant)
    return isinstance(step, (ast.Raise, ast.Assert))


def _may_change(script: Script, call: ast.Call) -> bool:
    """Might it change the model, the tokenizer or the data, rather than only ask them?"""
    known = script.names.all_of(("config", "tokenizer", "model", "data"), script.scope(call))
    if not isinstance(call.func, ast.Attribute):
        return any(dotted(a) in known for a in call.args) and dotted(call.func) not in ASKS
    node = call.func.value
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return dotted(node) in known and call.func.attr not in ASKS


def _loads(script: Script, call: ast.Call) -> bool:
    """Does it load something that others may use?"""
    return script.names.made_by(call) is not None


def _statements(block: list[ast.stmt]) -> list[ast.stmt]:
    """All statements of a block, outer first, but not those of definitions."""
    return [s for step in block for s in (step, *_statements([i for b in blocks(step) for i in b]))]


def _is_message(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return True
    return isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in LOGS

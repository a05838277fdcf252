"""What several ``verify`` hold the finished script to."""

from __future__ import annotations

import ast

from .flow import is_bound
from .names import ROLES
from .script import Script


def one_call(script: Script, name: str) -> ast.Call:
    found = [c for c in script.calls if script.called(c).split(".")[-1] == name]
    script.require(len(found) == 1, f"{name} is called once", *found)
    return found[0]


def unconditional(script: Script, call: ast.Call, promise: str) -> None:
    """The call is a statement, or the value of one, that runs whenever its function does."""
    step = script.statement(call)
    plain = isinstance(step, (ast.Assign, ast.Expr)) and step.value is call
    script.require(plain and step in script.steps(call), promise, call)


def takes(script: Script, call: ast.Call, promise: str, *expected: str) -> None:
    """The arguments are just these, in this order: what has a role, or a name as it is."""
    right = len(call.args) == len(expected) and not call.keywords
    right = right and all(
        isinstance(a, ast.Name) and a.id in _names(script, call, want)
        for a, want in zip(call.args, expected, strict=True)
    )
    script.require(right, promise, call)
    known = [a.id for a, want in zip(call.args, expected, strict=True) if want in ROLES]
    unbound = [name for name in known if not is_bound(script, name, call)]
    bound = f"{', '.join(unbound)} is bound wherever {script.called(call)} is given it"
    script.require(not unbound, bound, call)


def _names(script: Script, call: ast.Call, want: str) -> list[str]:
    return script.names.all(want, script.scope(call)) if want in ROLES else [want]

"""What is to be done before any weight is loaded: where that is, and whether it came out so."""

from __future__ import annotations

import ast

from .flow import is_bound
from .nodes import binds, position
from .promises import unconditional
from .script import Script


def _loads(script: Script, *roles: str) -> list[ast.AST]:
    """Where models are loaded, or functions called that do, in one function that knows the roles."""
    found = [script.not_nested(script.lifted(c, *roles)) for c in script.model_loads]
    if len({id(script.scope(n)) for n in found}) > 1:
        raise script.refuse("the model to be loaded in one function", found)
    return sorted(found, key=position)


def place(script: Script, *roles: str) -> ast.stmt:
    """The statement before which things of the ``roles`` are there and no model is."""
    first = _loads(script, *roles)[0]
    names = [script.name(role, script.scope(first)) for role in roles]
    steps = script.steps(first)
    known = (s for s in steps if all(is_bound(script, name, s) for name in names))
    return next(known, steps[-1])


def verify_before(script: Script, call: ast.Call, promise: str, *roles: str) -> None:
    """The call runs whatever the arguments, and before any model is loaded.

    A load that gives it one of its own arguments, too, may well come before.
    """
    unconditional(script, call, promise)
    early = [n for n in _loads(script, *roles) if n.lineno < call.lineno]
    given = {a.id for a in call.args if isinstance(a, ast.Name)}
    early = [n for n in early if not given & {*binds(script.statement(n))}]
    script.require(not early, promise, *early)

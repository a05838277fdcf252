"""What a user did wrong ends the run with one line, not with a traceback.

if __name__ == "__main__":              if __name__ == "__main__":
    main()                          →       run_main(main)

Other entry points, such as the one that xla_spawn calls, stay as they are.
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.anchors import dotted
from .engine.patch import Patch
from .engine.script import Script
from .engine.script import dotted as dotted_name
from .engine.syntax import expression, string


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    name = a.main.name.value
    top = patch.source.module.body
    guards = [n for n in top if isinstance(n, cst.If) and _is_guard(n.test)]
    runs = [c for c in a.calls if dotted(c.func) == name]
    found = [c for c in runs if any(_runs_in(patch, c, g) for g in guards)]
    call = a.one(
        found,
        f'call of {name}() under the module\'s if __name__ == "__main__"',
        [*guards, *runs],
        "A user's mistake is told where the script starts",
    )
    if call.args:
        raise patch.refuse(f"{name}() to be started without arguments", [call])
    patch.change(
        call,
        lambda c: expression(f"run_main({name})"),
        "a user's mistake is told in one line",
        f"run_main({name})",
    )


def _is_guard(test: cst.BaseExpression) -> bool:
    """``__name__ == "__main__"``, or the other way round?"""
    if not isinstance(test, cst.Comparison) or len(test.comparisons) != 1:
        return False
    right = test.comparisons[0]
    sides = (test.left, right.comparator)
    return (
        isinstance(right.operator, cst.Equal)
        and "__name__" in map(dotted, sides)
        and "__main__" in map(string, sides)
    )


def _runs_in(patch: Patch, call: cst.Call, guard: cst.If) -> bool:
    """Does the call stand in the guard's block, outside of definitions?"""
    above = list(patch.source.ancestors(call))
    return guard.body in above and not any(
        isinstance(n, (cst.FunctionDef, cst.ClassDef, cst.Lambda))
        for n in above[: above.index(guard.body)]
    )


def verify(script: Script) -> None:
    name = script.main.name
    promise = f"{name}() is started through run_main, and only so under __main__"
    guards = [n for n in script.tree.body if isinstance(n, ast.If) and _is_main_test(n.test)]
    inside = [n for g in guards for s in g.body for n in ast.walk(s) if isinstance(n, ast.Call)]
    runs = [c for c in inside if dotted_name(c.func) == "run_main"]
    script.require(len(runs) == 1, promise, *(runs or guards))
    given = [dotted_name(a) for a in runs[0].args]
    script.require(given == [name] and not runs[0].keywords, promise, runs[0])
    script.require(len(script.calls("run_main")) == 1, promise, *script.calls("run_main"))
    direct = [c for c in inside if dotted_name(c.func) == name]
    script.require(not direct, promise, *direct)


def _is_main_test(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")

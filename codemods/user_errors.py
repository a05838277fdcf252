"""What a user did wrong ends the run with one line, not with a traceback.

if __name__ == "__main__":              if __name__ == "__main__":
    main()                          →       run_main(main)

Other entry points, such as the one that xla_spawn calls, stay as they are.
"""

from __future__ import annotations

import ast

from .engine.nodes import DEFINITIONS, position
from .engine.patch import Patch
from .engine.script import Script

TESTS = ("__name__ == '__main__'", "'__main__' == __name__")


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.main)
    name = script.main.name
    runs = [c for c in script.calls if script.called(c) == name]
    call = script.one(
        [c for c in _started(script) if c in runs],
        f'call of {name}() under the module\'s if __name__ == "__main__"',
        [script.candidate(n) for n in [*_guards(script), *runs]],
        "A user's mistake is told where the script starts",
    )
    if call.args or call.keywords:
        raise patch.refuse(f"{name}() to be started without arguments", [call])
    patch.replace(call, f"run_main({name})", "a user's mistake is told in one line")


def _guards(script: Script) -> list[ast.If]:
    return [n for n in script.body if isinstance(n, ast.If) and ast.unparse(n.test) in TESTS]


def _started(script: Script) -> list[ast.Call]:
    """The calls in the guard's block, outside of definitions."""
    inside = [n for g in _guards(script) for n in script.own(*g.body)]
    calls = sorted((n for n in inside if isinstance(n, ast.Call)), key=position)
    nested = (*DEFINITIONS, ast.Lambda)
    return [c for c in calls if not any(isinstance(n, nested) for n in script.around(c))]


def verify(script: Script) -> None:
    name = script.main.name
    promise = f"{name}() is started through run_main, and only so under __main__"
    started = _started(script)
    runs = [c for c in script.calls if script.called(c) == "run_main"]
    script.require(len(runs) == 1 and runs[0] in started, promise, *runs)
    script.require([ast.unparse(a) for a in runs[0].args] == [name], promise, runs[0])
    script.require(not runs[0].keywords, promise, runs[0])
    direct = [c for c in started if script.called(c) == name]
    script.require(not direct, promise, *direct)

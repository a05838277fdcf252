"""A training script, imported among stand-ins and run in the scenarios.

``Script(text).run(scenario)`` gives the trace of one run, which takes about a millisecond: models,
data and trainers are names, not things.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import re
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from tools.follow.behaviour.events import Trace
from tools.follow.behaviour.recorder import Recorder, TooLong
from tools.follow.behaviour.scenarios import Scenario
from tools.follow.behaviour.world import World

SECONDS = 2.0  # a run may take
NAME = "a_script"
ERRORS = (Exception, SystemExit, TooLong)


class Script:
    """A script, imported among stand-ins. ``replace`` puts others in the place of its functions.

    Raises whatever importing it raises, SyntaxError included; TooLong if it comes to no end.
    """

    def __init__(self, text: str, replace: Callable[[Recorder, World, dict], None] | None = None):
        self.rec = Recorder()
        self.world = World(self.rec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(text)
            guards = [n for n in self.tree.body if _is_guard(n)]
            rest = ast.Module([n for n in self.tree.body if n not in guards], [])
            code = compile(rest, "<script>", "exec", dont_inherit=True)
            body = [s for g in guards for s in g.body] or ast.parse("main()").body
            self.entry = compile(ast.Module(body, []), "<entry>", "exec", dont_inherit=True)
        self.world.unbound = _unbound(self.tree)
        self.world.start()
        self.names: dict[str, Any] = {
            "__builtins__": self.world.builtins(),
            "__name__": NAME,
            "__file__": "/nowhere/script.py",
        }
        # dataclass() looks annotations that are strings up in the class's module.
        sys.modules[NAME] = types.ModuleType(NAME)
        try:
            with limited():
                exec(code, self.names)
        finally:
            del sys.modules[NAME]
        self.preamble = list(self.rec.trace.events)
        self.served = set(self.rec.trace.served)
        if replace:
            replace(self.rec, self.world, self.names)

    def run(self, scenario: Scenario) -> Trace:
        """What the script does in a scenario; an error that ends it is part of that."""
        self.rec.start(scenario)
        self.world.start()
        trace = self.rec.trace
        try:
            with limited():
                exec(self.entry, self.names)
        except ERRORS as error:
            trace.raised = (type(error).__name__, str(error))
        trace.arguments = {role: dict(fields) for role, fields in trace.arguments.items()}
        return trace


@contextlib.contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """TooLong is raised in what takes longer, again and again until it gives way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TooLong(f"more than {seconds:g} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and bool(
        re.search(r"__name__ == '__main__'|'__main__' == __name__", ast.unparse(node.test))
    )


def _unbound(tree: ast.Module) -> list[str]:
    """Names that are read and that nothing in the script binds: only a star import can."""
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    bound = {n.id for n in names if not isinstance(n.ctx, ast.Load)}
    bound |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    aliases = [a for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names]  # fmt: skip
    bound |= {(a.asname or a.name).partition(".")[0] for a in aliases} | set(vars(builtins))
    return sorted({n.id for n in names} - bound - {"__name__", "__file__"})

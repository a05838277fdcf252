"""Watch a fetched script in a process of its own: nobody has read it yet, and it may not end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tools.follow.behaviour.arguments import arguments
from tools.follow.behaviour.events import Event, Trace, printable
from tools.follow.behaviour.scenarios import SCENARIOS
from tools.follow.behaviour.script import ERRORS, Script

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60  # for all scenarios; a script takes a fraction of one
MEMORY = 2 << 30  # bytes


@dataclass(frozen=True)
class Watched:
    """What a script does: a trace a scenario, that of importing it first.

    ``broken`` is why it cannot be run, on one line of printable characters; "" if it can.
    """

    broken: str = ""
    traces: dict[str, Trace] = field(default_factory=dict)
    arguments: dict[str, tuple[str, str, str]] = field(default_factory=dict)


def watch(text: str, seconds: float = SECONDS) -> Watched:
    """Run a script in every scenario, in another process. Never raises for what the script does."""
    command = [sys.executable, "-m", __name__]
    try:
        ran = subprocess.run(
            command,
            input=text.encode("utf-8", "surrogatepass"),
            capture_output=True,
            cwd=ROOT,
            timeout=seconds,
            env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        return Watched(f"it came to no end in {seconds:g} s")
    if ran.returncode:
        return Watched(f"the process that ran it ended with status {ran.returncode}")
    told = json.loads(ran.stdout)
    traces = {name: _trace(*parts) for name, parts in told["traces"].items()}
    return Watched(told["broken"], traces, {n: tuple(a) for n, a in told["arguments"].items()})


def _trace(events: list, raised: list | None) -> Trace:
    made = [Event(what, tuple(args), tuple(map(tuple, kwargs))) for what, args, kwargs in events]
    return Trace(made, tuple(raised) if raised else None)


def here(text: str) -> dict:
    """The same in this process, as JSON has it."""
    try:
        script = Script(text)
        traces = {"import": Trace(script.preamble)} | {s.name: script.run(s) for s in SCENARIOS}
        told = arguments(script)
    except (*ERRORS, RecursionError) as error:
        why = printable(f"{type(error).__name__}: {error}")
        return {"broken": why, "traces": {}, "arguments": {}}
    parts = {n: ([dataclasses.astuple(e) for e in t.events], t.raised) for n, t in traces.items()}
    return {"broken": "", "traces": parts, "arguments": told}


def _shut_in() -> None:
    """No memory without end, and no file that is not empty; where the system has such limits."""
    with contextlib.suppress(ImportError):
        import resource

        for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(limit, (most, most))


def main() -> None:
    text = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as scratch, os.fdopen(os.dup(1), "w") as out:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the script prints is not for us
        os.chdir(scratch)
        _shut_in()
        json.dump(here(text), out)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()

"""Keeps the record of the run that is going on, and tells any value as a label."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

from tools.follow.behaviour.events import Event, Trace
from tools.follow.behaviour.scenarios import Scenario

MOST_EVENTS = 20_000  # of a run; a script that does more runs in a circle
LONGEST = 2_000  # characters of a label
OWNERS = ("<model#", "LORA:")  # of what a function is said to be
PLAIN = (str, int, float, complex, bool, bytes, type(None), type(...), range)


class TooLong(BaseException):
    """A run that comes to no end. No Exception, so that a script does not catch it."""


class Named:
    """A stand-in: all that is known of it is its label."""

    _label: str


class Recorder:
    """What happens in the run that is going on."""

    def __init__(self) -> None:
        self.start(Scenario("import", {}, {}))

    def start(self, scenario: Scenario) -> None:
        self.trace, self.scenario = Trace(), scenario
        self.count: dict[str, int] = {}
        self.parsed: list[Any] = []
        self.roles: dict[int, str] = {}

    @property
    def importing(self) -> bool:
        return self.scenario.name == "import"

    def note(self, what: str, args: tuple = (), kwargs: dict | None = None) -> Event:
        if len(self.trace.events) >= MOST_EVENTS:
            raise TooLong(f"more than {MOST_EVENTS} calls")
        shown = tuple(sorted((str(k), self.label(v)) for k, v in (kwargs or {}).items()))
        event = Event(what, tuple(map(self.label, args)), shown)
        self.trace.events.append(event)
        return event

    def name(self, kind: str) -> str:
        """``<kind#1>``, then ``<kind#2>``, …"""
        self.count[kind] = self.count.get(kind, 0) + 1
        return f"<{kind}#{self.count[kind]}>"

    @contextlib.contextmanager
    def aside(self) -> Iterator[list[Event]]:
        """What happens meanwhile is no event of the run; it is in the list that this gives."""
        kept, self.trace.events = self.trace.events, []
        try:
            yield self.trace.events
        finally:
            self.trace.events = kept

    def label(self, value: Any) -> str:
        return shortened(self._label(value))

    def _label(self, value: Any) -> str:
        if isinstance(value, Named):
            return value._label
        if id(value) in self.roles:
            return self.roles[id(value)]
        if isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, slice):
            return f"{self.label(value.start)}:{self.label(value.stop)}"
        if isinstance(value, dict):
            items = sorted((self.label(k), self.label(v)) for k, v in value.items())
            return "{" + ", ".join(f"{k}: {v}" for k, v in items) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(map(self.label, value)) + "]"
        if isinstance(value, (set, frozenset)):
            return "{" + ", ".join(sorted(map(self.label, value))) + "}"
        if isinstance(value, type):
            return f"<class {value.__name__}>"
        if callable(value):
            of = sorted({v._label for v in held(value) if v._label.startswith(OWNERS)})
            return f"<function of {', '.join(of)}>" if of else "<function>"
        return f"<{type(value).__name__}>"

    def serve(self, function: Any) -> None:
        """Note what ``function`` holds: values that may serve nothing else."""
        self.trace.served |= {label for v in held(function) if (label := self.label(v))}


def shortened(label: str) -> str:
    if len(label) <= LONGEST:
        return label
    return f"{label[: LONGEST - 20]}…{zlib.crc32(label.encode('utf-8', 'replace')):08x}"


def held(function: Any) -> list[Named]:
    """The stand-ins that a function's closure, globals, partial arguments or attributes hold."""
    found, seen, todo = [], set(), [function]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Named):
            found.append(value)
        elif isinstance(value, (list, tuple, set)):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif code := getattr(value, "__code__", None):
            todo += [c.cell_contents for c in value.__closure__ or () if _is_filled(c)]
            todo += [value.__globals__[n] for n in code.co_names if n in value.__globals__]
            todo += [value.__defaults__, value.__kwdefaults__, getattr(value, "__self__", None)]
        elif callable(value):  # functools.partial, or an object of a class of the script's own
            todo += [getattr(value, n, None) for n in ("func", "args", "keywords", "__dict__")]
    return found


def _is_filled(cell: Any) -> bool:
    with contextlib.suppress(ValueError):
        return bool(cell.cell_contents) or True
    return False

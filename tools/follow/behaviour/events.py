"""What a run leaves behind: events in order, each told as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that was called, set, entered or left; arguments are labels."""

    what: str
    args: tuple[str, ...] = ()
    kwargs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        return dict(self.kwargs).get(name)

    def without(self, *names: str) -> Event:
        return Event(self.what, self.args, tuple(p for p in self.kwargs if p[0] not in names))

    def edited(self, edit: Callable[[str], str]) -> Event:
        """The event with ``edit`` done to its name and to every label."""
        kwargs = tuple((name, edit(label)) for name, label in self.kwargs)
        return Event(edit(self.what), tuple(map(edit, self.args)), kwargs)

    def __str__(self) -> str:
        parts = [*self.args, *(f"{name}={label}" for name, label in self.kwargs)]
        return f"{self.what}({', '.join(parts)})"


@dataclass
class Trace:
    """One run. ``raised`` is the name and text of the error that ended it, if one did."""

    events: list[Event] = field(default_factory=list)
    raised: tuple[str, str] | None = None
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)  # group → field → at the end
    reads: set[str] = field(default_factory=set)  # ``group.field`` of arguments that were read
    served: set[str] = field(default_factory=set)  # what functions that map or score rows hold


def printable(text: str) -> str:
    """``text`` on one line, with control characters (those of a terminal too) as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )

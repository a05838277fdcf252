"""How a codemod says no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A place in upstream's script that nearly is what a codemod looked for."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class Refusal(Exception):
    """A codemod cannot place or vouch for its edit, so no script may be written.

    ``patch`` is filled in by whoever runs the series; the codemod states what it
    ``looked_for``, what came ``nearest`` (with upstream's line numbers) and a ``hint``. Where
    several patches of a series refuse, the first carries the others in ``also``. ``nearest`` is
    None where looking for candidates makes no sense, and empty where there are none.
    """

    def __init__(self, looked_for: str, nearest: list[Candidate] | None = None, hint: str = ""):
        super().__init__(looked_for)
        self.patch = ""
        self.looked_for = looked_for
        self.nearest = nearest
        self.hint = hint
        self.also: list[Refusal] = []

    def __str__(self) -> str:
        who = f"patch {self.patch!r} does not apply" if self.patch else "the series does not apply"
        parts = [f"{who}: {self.looked_for}"]
        if self.nearest is not None:
            parts.append(f"nearest: {'; '.join(map(str, self.nearest)) or 'nothing like it'}")
        return "; ".join(parts) + (f". {self.hint}" if self.hint else "")

"""How a codemod says no."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 78


def plain(text: str) -> str:
    """One line of text that no terminal takes for a command, and not too long a one."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    return text[: WIDTH - 1] + "…" if len(text) > WIDTH else text


@dataclass(frozen=True)
class Candidate:
    """A place in upstream's script that nearly is what a codemod looked for, and why it isn't."""

    line: int
    text: str
    why: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" + (f" (is {self.why})" if self.why else "")


class Refusal(Exception):
    """A codemod cannot place or vouch for its edit, so no script may be written.

    ``patches`` are filled in by whoever runs the series: all that refuse for this one cause. The
    codemod states what it ``looked_for``, what came ``nearest`` (with upstream's line numbers) and a
    ``hint``. Other causes that stop the series are in ``also``. ``nearest`` is None where looking for
    candidates makes no sense, and empty where there are none.
    """

    def __init__(self, looked_for: str, nearest: list[Candidate] | None = None, hint: str = ""):
        super().__init__(looked_for)
        self.patches: list[str] = []
        self.looked_for = looked_for
        self.nearest = nearest
        self.hint = hint
        self.also: list[Refusal] = []

    @property
    def cause(self) -> tuple:
        return self.looked_for, tuple(self.nearest or ())

    @property
    def who(self) -> str:
        names = ", ".join(map(repr, self.patches))
        if not names:
            return "the series does not apply"
        return (
            f"patch {names} does not apply"
            if len(self.patches) == 1
            else f"patches {names} do not apply"
        )

    def __str__(self) -> str:
        parts = [f"{self.who}: {self.looked_for}"]
        if self.nearest is not None:
            parts.append(f"nearest: {'; '.join(map(str, self.nearest)) or 'nothing like it'}")
        return "; ".join(parts) + (f". {self.hint}" if self.hint else "")

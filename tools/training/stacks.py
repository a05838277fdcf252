"""Which training stack fits a ref: the newest of requirements/vX.Y.Z.txt that is not newer."""

from __future__ import annotations

import re
from pathlib import Path

from tools.errors import UserError
from tools.regenerate.series import ROOT

FOLDER = ROOT / "requirements"
_RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


def version(ref: str) -> tuple[int, ...] | None:
    """(major, minor, patch) of a release tag, None for any other ref."""
    match = _RELEASE.fullmatch(ref)
    return tuple(map(int, match.groups())) if match else None


def stacks() -> list[str]:
    """The refs that stacks begin at, oldest first."""
    return sorted((f.stem for f in FOLDER.glob("v*.txt") if version(f.stem)), key=version)


def stack_for(ref: str) -> str:
    """The stack of a release tag; of a branch or a commit, which are taken for new, the last.

    Raises UserError for a release older than every stack.
    """
    wanted = version(ref)
    fitting = [s for s in stacks() if wanted is None or version(s) <= wanted]
    if not fitting:
        raise UserError(f"no training stack is as old as {ref}: the first is for {stacks()[0]}")
    return fitting[-1]


def python(ref: str | None) -> Path:
    """The python of the environment that the Makefile makes for a ref; no ref: the newest stack."""
    return ROOT / f".venv-{stack_for(ref) if ref else stacks()[-1]}" / "bin" / "python"


def requirement(stack: str, package: str) -> str:
    """The version that a stack pins a package to."""
    text = (FOLDER / f"{stack}.txt").read_text(encoding="utf-8")
    return re.search(rf"^{package}==([\w.]+)", text, re.MULTILINE)[1]

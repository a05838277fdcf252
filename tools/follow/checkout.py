"""This checkout's own git: what is changed, what is tracked, one commit of some files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools.errors import UserError
from tools.regenerate.series import ROOT


def run(*arguments: str, given: str = "") -> bytes:
    """One git command's stdout. UserError, with git's own telling line, where it fails."""
    from tools.upstream.git import telling_line

    try:
        git = subprocess.Popen(
            ["git", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise UserError("git is not installed: install it, or put it on PATH") from None
    try:
        out, err = git.communicate(given.encode())
    except BaseException:  # interrupted: git takes its own locks away
        git.terminate()
        git.wait()
        raise
    if git.returncode:
        said = telling_line((err or out).decode(errors="replace"))
        raise UserError(f"git {arguments[0]} failed in {ROOT}: {said}")
    return out


def lines(*arguments: str) -> list[str]:
    """As run, split at NULs: give the command its -z."""
    return [x for x in run(*arguments).decode().split("\0") if x]


def require() -> None:
    """UserError unless this is the top of a git checkout, and no git is at work in it."""
    top = run("rev-parse", "--show-toplevel").decode().rstrip("\n")
    if Path(top).resolve() != ROOT.resolve():
        raise UserError(f"{ROOT} is not a git checkout of its own: git clone the project")
    lock = ROOT / run("rev-parse", "--git-path", "index.lock").decode().rstrip("\n")
    if lock.exists():
        raise UserError(f"a git command is at work here, or was killed: if none is, remove {lock}")


def commit_of(name: str) -> str:
    """The commit that a revision of this checkout names; UserError for one that names none."""
    try:
        found = run("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except UserError:
        raise UserError(f"{name[:80]!a} is no commit of this checkout: see git log") from None
    return found.decode().split()[-1]


def changed(*paths: str) -> list[str]:
    """What differs from HEAD below ``paths``, files that git does not know included."""
    out = lines("status", "--porcelain", "-z", "--no-renames", "--", *paths)
    return [entry[3:] for entry in out]


def commit(message: str, paths: list[str]) -> str:
    """Commit these files as they are, and nothing else that is staged; the commit's id."""
    run("commit", "--quiet", "--only", "--file=-", "--", *paths, given=message)
    return commit_of("HEAD")

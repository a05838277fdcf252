"""What a regenerate wrote at another commit of this repository: its tools, its patches, its lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.errors import UserError
from tools.regenerate import outputs
from tools.regenerate.series import ROOT


@dataclass(frozen=True)
class Then:
    """Outputs of commit ``commit`` of this repository; ``upstream`` is their lock's."""

    commit: str
    subject: str
    upstream: dict
    script: str
    sheet: str


@dataclass(frozen=True)
class Asked:
    """What today's run was asked for; paths are taken from the current folder."""

    series: str
    script: str
    ref: str  # for a commit whose series has no lock yet
    repo: str | None = None
    upstream_file: str | None = None


def regenerate(base: str, asked: Asked, root: Path = ROOT) -> Then:
    """Regenerate at ``base``, a commit, branch or tag of the repository in ``root``.

    It runs in a process and a folder of its own, with this Python; nothing of ``root`` changes.
    Upstream's ref is that of the lock of then. UserError where there is nothing to run.
    """
    commit = _resolve(base, root)
    short = commit[:12]
    with tempfile.TemporaryDirectory(prefix="run-clm-lora-") as folder:
        tree, out = Path(folder, "tree"), Path(folder, "out")
        _extract(commit, root, tree, Path(folder, "index"))
        if not (tree / "tools" / "__main__.py").is_file():
            raise UserError(
                f"{base} (commit {short}) is older than this tool: give BASE a later one"
            )
        lock = _lock(tree / "generated" / outputs.names(asked.script)[1], f"{base} ({short})")
        for source in _sources(lock, asked):
            _run(tree, out, source, asked.series, f"regenerate at {base} (commit {short}) fails: ")
            script, made, sheet = _outputs(out, asked.script)
            upstream = json.loads(made)["upstream"]
            if lock is None or upstream["commit"] == lock["commit"]:
                break  # else its ref is a branch that went on: once more, at its very commit
        subject = _git(root, "log", "-1", "--format=%s", commit) or ""
        return Then(commit, subject, upstream, script, sheet)


def _resolve(base: str, root: Path) -> str:
    if Path(_git(root, "rev-parse", "--show-toplevel") or "/").resolve() != root.resolve():
        raise UserError(f"BASE needs the git history of this checkout, and {root} has none")
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", base + "^{commit}")
    if not commit:
        raise UserError(
            f"no commit {base!r} in this repository: give BASE a commit, branch or tag of it "
            "(a shallow clone has few: git fetch --unshallow)"
        )
    return commit


def _git(root: Path, *arguments: str, index: Path | None = None) -> str | None:
    """What git says; None if it fails."""
    extra = {"GIT_INDEX_FILE": str(index)} if index else {}
    try:
        ran = subprocess.run(
            ["git", "-c", "core.autocrlf=false", *arguments],
            cwd=root,
            env={**os.environ, **extra},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise UserError("no git here: install it") from None
    return ran.stdout.strip() if ran.returncode == 0 else None


def _extract(commit: str, root: Path, tree: Path, index: Path) -> None:
    """The files of ``commit`` in ``tree``, by way of an index beside it."""
    read = _git(root, "read-tree", commit, index=index)
    done = _git(root, "checkout-index", "--all", f"--prefix={tree}/", index=index)
    if read is None or done is None:
        raise UserError(f"cannot write the files of commit {commit[:12]} to {tree.parent}")


def _lock(file: Path, at: str) -> dict | None:
    """What the lock of then says of upstream; its format may be an older one than today's."""
    try:
        upstream = json.loads(file.read_text(encoding="utf-8"))["upstream"]
        return {key: upstream[key] for key in ("repo", "ref", "commit")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"the lock at {at} cannot be read: give BASE another commit") from None


def _outputs(out: Path, script: str) -> list[str]:
    """Script, lock and review sheet."""
    try:
        return [(out / name).read_bytes().decode() for name in outputs.names(script)]
    except FileNotFoundError as error:
        raise UserError(f"at BASE no {Path(error.filename).name} is written yet") from None


def _sources(lock: dict | None, asked: Asked) -> list[list[str]]:
    """Options that say where upstream's text is, the next one for when the first has moved."""
    if asked.upstream_file:
        return [["--upstream-file", os.path.abspath(asked.upstream_file)]]
    if lock is None:
        return [[*_repo(asked.repo), "--ref", asked.ref]]
    if not lock["commit"]:
        raise UserError("the lock at BASE was made from a file of its own: set UPSTREAM_FILE to it")
    repo = _repo(asked.repo or (lock["repo"] if "://" in lock["repo"] else None))
    return [[*repo, "--ref", lock["ref"]], [*repo, "--ref", lock["commit"]]]


def _repo(repo: str | None) -> list[str]:
    if repo is None:
        return []
    return ["--repo", os.path.abspath(repo) if os.path.isdir(repo) else repo]


def _run(tree: Path, out: Path, source: list[str], series: str, failed: str) -> None:
    command = ["regenerate", "--series", series, "--out", str(out), *source]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    ran = subprocess.run(
        [sys.executable, "-m", "tools", *command],
        cwd=tree,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if ran.returncode:
        told = [line for line in ran.stderr.splitlines() if line.strip()] or ["it says nothing"]
        errors = [line.removeprefix("error: ") for line in told if line.startswith("error: ")]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(failed + (errors or told[-1:])[0] + more)

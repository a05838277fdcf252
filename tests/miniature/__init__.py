"""A miniature upstream: real git, a real trainer, in the shapes that upstream's took over time.

shapes/ holds one file a tag, each written for these tests and each able to train: keyword
arguments in dicts (v4.28.0) and inline (v4.30.0), an argument trust_remote_code of its own
(v4.33.0), a processing class (v4.46.0), streams that are split and limited (v4.54.0), and the
newest annotations (v5.1.0).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PATH = "examples/pytorch/language-modeling/run_clm.py"
SHAPES = Path(__file__).parent / "shapes"
TAGS = ("v4.28.0", "v4.30.0", "v4.33.0", "v4.46.0", "v4.54.0", "v5.1.0")
BEFORE = "v4.0.0"  # a tag at which the file is not there yet


def _git(folder: Path, *arguments: str, day: int = 1) -> None:
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (
            ("NAME", "miniature"),
            ("EMAIL", "miniature@example.org"),
            ("DATE", f"2023-01-{day:02}T00:00:00+00:00"),
        )
    }
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    subprocess.run(
        ["git", "-c", "core.autocrlf=false", "-c", "commit.gpgsign=false", *arguments],
        cwd=folder,
        env={**environment, **quiet, **who},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def add_release(repo: Path, tag: str, text: str, day: int) -> None:
    """Commit ``text`` as the script on main, and tag it."""
    file = repo / PATH
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="")
    _git(repo, "add", "-A")
    _git(repo, "commit", "-qm", f"Release {tag}", day=day)
    _git(repo, "tag", tag)


def build_repo(dest: Path) -> Path:
    """Make the repository in ``dest``, which must not exist; its commits are the same everywhere."""
    dest.mkdir(parents=True)
    _git(dest, "init", "-q", "-b", "main")
    (dest / "README.md").write_text("A miniature of transformers, for tests.\n", encoding="utf-8")
    _git(dest, "add", "-A")
    _git(dest, "commit", "-qm", "Begin")
    _git(dest, "tag", BEFORE)
    for day, tag in enumerate(TAGS, 2):
        add_release(dest, tag, (SHAPES / f"{tag}.py").read_text(encoding="utf-8"), day)
    return dest

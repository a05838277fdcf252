"""A checkout of this project in a folder of its own: its code, real git, an upstream to follow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.miniature import SHAPES, add_release, build_repo

ROOT = Path(__file__).resolve().parents[1]
PERSON = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Person"), ("EMAIL", "person@example.org"))
}
# Beside chatglm, one of other layers; any others are left out.
SERIES = """
[series.chatglm]
layers = {layers}
script = "run_clm_lora.py"

[series.second]
layers = {others}
script = "run_clm_lora_second.py"

"""
LOCKS = {
    "chatglm": "generated/run_clm_lora.lock.json",
    "second": "generated/run_clm_lora_second.lock.json",
}


class Checkout:
    """Runs the tool and git in ``root``, against the miniature upstream in ``upstream``."""

    def __init__(self, folder: Path) -> None:
        self.root, self.upstream = folder / "checkout", folder / "upstream"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "GITHUB_"))}
        self.env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **PERSON}
        self.env |= {"XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "200"}

    def build(self) -> None:
        build_repo(self.upstream)
        self.root.mkdir()
        leave = shutil.ignore_patterns("__pycache__")
        for name in ("tools", "codemods", "patches", "requirements"):
            shutil.copytree(ROOT / name, self.root / name, ignore=leave)
        for name in ("Makefile", ".gitignore"):
            shutil.copy(ROOT / name, self.root)
        file = self.root / "patches" / "series.toml"
        text = file.read_text(encoding="utf-8")
        patches = "".join(text.partition("[[patch]]")[1:])
        known = tomllib.loads(text)["series"]
        layers, others = (json.dumps(known[name]["layers"]) for name in ("chatglm", "causal"))
        file.write_text(SERIES.format(layers=layers, others=others) + patches, encoding="utf-8")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("The code")

    def git(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["git", *arguments], cwd=self.root, env=self.env, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def run(self, *arguments: str, code: int = 0) -> str:
        """``python -m …``; its output, once its exit status is as expected."""
        ran = subprocess.run(
            [sys.executable, "-m", *arguments, "--repo", self.upstream.as_uri()],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout + ran.stderr

    def lock(self, ref: str, *names: str) -> str:
        """Regenerate these series at ``ref``, and commit lock and sheet."""
        for name in names:
            self.run("tools", "regenerate", "--series", name, "--ref", ref)
        return self.commit(f"Locks at {ref}")

    def release(self, tag: str, *changes: tuple[str, str]) -> None:
        """Upstream publishes its newest text with these replacements."""
        text = (SHAPES / "v5.1.0.py").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        add_release(self.upstream, tag, text, day=20 + int(tag.split(".")[1]))

    def state(self) -> tuple[str, str, dict[str, bytes]]:
        """What a refusal must leave alone: HEAD, the status, the files generated."""
        files = (p for p in (self.root / "generated").iterdir() if p.name != ".lock")
        return (
            self.git("rev-parse", "HEAD"),
            self.git("status", "--porcelain"),
            {p.name: p.read_bytes() for p in files},
        )

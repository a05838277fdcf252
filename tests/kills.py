"""Kills the tool at random moments, and looks at what is left.

    python -m tests.kills 200 [SEED]

Each time regenerate, check or bump is started in a checkout of its own and killed (SIGKILL, git and
all) somewhere between its start and its end. What is left is the old state or the new one: files of
one regenerate, and the commit that goes with them. And the next run does what it is asked.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.checkouts import Checkout

REFS = ("v4.46.0", "v4.54.0")  # regenerate goes from one to the other, bump to the newest


class Kills:
    """A checkout whose locks are at REFS[0], and how long each command takes there."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.here = Checkout(folder)
        self.here.build()
        self.here.env["PYTHONDONTWRITEBYTECODE"] = "1"
        self.base = self.here.lock(REFS[0], "second")
        self.commands = {
            "regenerate": ["regenerate", "--series", "second", "--ref", REFS[1]],
            "check": ["check", "--series", "second"],
            "bump": ["bump", "--series", "second"],
        }
        self.old = self.files()
        self.new, self.takes = {}, {}
        for name, arguments in self.commands.items():
            began = time.monotonic()
            self.here.run("tools", *arguments)
            self.takes[name] = time.monotonic() - began
            self.new[name] = self.files()
            self.reset()
        assert self.old == self.new["check"] != self.new["regenerate"] != self.new["bump"]

    def files(self) -> dict[str, bytes]:
        return {
            p.name: p.read_bytes()
            for p in (self.here.root / "generated").iterdir()
            if p.is_file() and p.name != ".lock"
        }

    def reset(self) -> None:
        """The first state, but for the cache, which may be empty or full."""
        self.here.git("reset", "--quiet", "--hard", self.base)
        self.here.run("tools", "regenerate", "--series", "second", "--ref", REFS[0])
        assert self.files() == self.old

    def once(self) -> str:
        """Kill once; what was left, in a word. AssertionError where that is wrong."""
        name = self.random.choice(list(self.commands))
        if self.random.random() < 0.3:  # cold: git fetches
            cache = Path(self.here.env["XDG_CACHE_HOME"], "run-clm-lora")
            for entry in [*cache.glob("files/*"), *cache.glob("refs/*")]:
                entry.unlink()
        self._kill(name)
        left = self._judge(name)
        self.here.run("tools", *self.commands[name])
        assert self.files() == self.new[name]
        assert "up to date" in self.here.run("tools", "check", "--series", "second")
        self.reset()
        return f"{name}: {left}"

    def _kill(self, name: str) -> None:
        command = [sys.executable, "-m", "tools", *self.commands[name]]
        run = subprocess.Popen(
            [*command, "--repo", self.here.upstream.as_uri()],
            cwd=self.here.root,
            env=self.here.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(self.random.uniform(0.1, 1.1) * self.takes[name])
        with contextlib.suppress(ProcessLookupError):  # it was done
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()

    def _judge(self, name: str) -> str:
        """The state after a kill, once the next command has finished what was begun."""
        told = self.here.run("tools", "check", "--series", "second")
        assert "up to date" in told
        files, moved = self.files(), self.here.git("rev-parse", "HEAD") != self.base
        assert files in (self.old, self.new[name]), f"{name} left a mixed set"
        assert not moved or (name == "bump" and files == self.new[name])
        if name == "bump" and files != self.old and not moved:
            self._as_told()
            return "written, not committed"
        return "new" if files != self.old or moved else "old"

    def _as_told(self) -> None:
        """Killed while git committed: the next bump says what to do, and that helps."""
        arguments = [sys.executable, "-m", "tools", *self.commands["bump"]]
        for _ in range(3):
            ran = subprocess.run(
                [*arguments, "--repo", self.here.upstream.as_uri()],
                cwd=self.here.root,
                env=self.here.env,
                capture_output=True,
                text=True,
            )
            if ran.returncode == 0:
                return self.here.git("reset", "--quiet", "--hard", self.base)
            if "remove " in ran.stderr:
                (self.here.root / ".git" / "index.lock").unlink()
            else:
                assert "git restore --staged --worktree generated" in ran.stderr, ran.stderr
                self.here.git("restore", "--staged", "--worktree", "generated")
        raise AssertionError(ran.stderr)


def run(count: int, seed: int, folder: Path) -> dict[str, int]:
    """How often each state was left; AssertionError at the first that is wrong."""
    kills, seen = Kills(folder, seed), {}
    for _ in range(count):
        left = kills.once()
        seen[left] = seen.get(left, 0) + 1
    return dict(sorted(seen.items()))


if __name__ == "__main__":
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as place:
        for left, times in run(count, seed, Path(place)).items():
            print(f"{times:4} {left}")

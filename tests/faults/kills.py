"""Killed at random: what is left is gone on from as if nothing had happened.

A launcher and all ranks die together, as when a machine goes down or a scheduler loses patience;
of two ranks, every other time, only the second one dies, as when memory runs out: the first still
writes what it can until the launcher ends it. Every third try kills the resumed run too, which
replaces what the first kill left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.faults.outcome import Outcome, header, row, shown
from tests.faults.training import HUNG, WHOLE, Training, kill

STEPS = 12
OUT = "killed"
SAVING = b"Saving the adapter to"  # said when the folder is made, before its first file
NAMES = ("run", "killed", "after", "newest left", "outcome", "resumed from", "losses, adapter")


def tries(training: Training, runs: int, seed: int) -> Iterator[tuple[str, Outcome | None]]:
    """A line of the table for each kill, and what became of it."""
    random = Random(seed)
    span = _undisturbed(training)
    yield f"{span:.2f} s from the first checkpoint to the end\n\n{header(*NAMES)}", None
    for number in range(1, runs + 1):
        alone = bool(training.stage) and number % 2 == 0
        shares = [random.random() for _ in range(1 if number % 3 else 2)]
        shutil.rmtree(training.work / OUT, ignore_errors=True)
        _killed(training, shares[0] * span, alone)
        for share in shares[1:]:
            _killed(training, share * span, alone, **training.resuming)
        newest = max(training.checkpoints(OUT))
        kept = training.work / f"{OUT}-{number}"  # to look into, should it go wrong
        shutil.copytree(training.work / OUT, kept)
        outcome = training.resume(OUT)
        who = "rank 1" if alone else "all"
        after = ", ".join(f"{share:.0%}" for share in shares)
        yield row(number, who, after, newest, *shown(outcome)), outcome
        if outcome.wrong:
            shutil.copy(training.log(OUT), kept.with_suffix(".log"))
        else:
            shutil.rmtree(kept)


def _undisturbed(training: Training) -> float:
    """Run to the end; seconds from the first checkpoint's beginning to the last file."""
    running = training.start(WHOLE)
    try:
        _first_save(training, WHOLE, running)
        began = time.time()
        if running.wait(HUNG):
            raise RuntimeError(f"the undisturbed run failed: see {training.log(WHOLE)}")
    finally:
        kill(running)
    return (training.work / WHOLE / "trainer_state.json").stat().st_mtime - began


def _killed(training: Training, after: float, alone: bool, **more: object) -> None:
    """Start or resume it; kill all of it, or the second rank, some seconds after its first save."""
    running = training.start(OUT, **more)
    try:
        _first_save(training, OUT, running)
        time.sleep(after)
        if alone:
            _kill_rank_1(running)
            running.wait(HUNG)
    finally:
        kill(running)


def _first_save(training: Training, out: str, running: subprocess.Popen) -> None:
    while SAVING not in training.log(out).read_bytes():
        if running.poll() is not None:
            raise RuntimeError(f"it ended before it saved: see {training.log(out)}")
        time.sleep(0.002)


def _kill_rank_1(running: subprocess.Popen) -> None:
    """Kill the launcher's second rank, unless it has ended."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = os.getpgid(int(folder.name)) == running.pid
            if ours and b"--local_rank=1" in (folder / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue  # it ended

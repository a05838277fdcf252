"""Killed between the files of the first rank and those of the second.

A kill at random seldom comes just then, so a whole checkpoint loses what the second rank writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.faults.outcome import Outcome, header, row, shown
from tests.faults.training import Training

STEPS = 4
# What is not there yet when the first rank alone has saved; `latest` is written when all have.
MISSING = {
    "all of rank 1, latest": ("rng_state_1.pth", "*/zero_pp_rank_1_*", "latest"),
    "all of rank 1": ("rng_state_1.pth", "*/zero_pp_rank_1_*"),
    "ZeRO's of rank 1": ("*/zero_pp_rank_1_*",),
    "latest": ("latest",),
    "random state of rank 1": ("rng_state_1.pth",),
    "random state of rank 0": ("rng_state_0.pth",),
    "all random states": ("rng_state_*.pth",),
}
# Each rank has its own in ZeRO-3 alone.
OF_ZERO_3 = {
    "model states of rank 1": ("*/zero_pp_rank_1_*model_states.pt",),
    "model states of rank 0": ("*/zero_pp_rank_0_*model_states.pt",),
}


def tries(training: Training) -> Iterator[tuple[str, Outcome | None]]:
    """A line of the table for each state of the newest checkpoint, or of the only one."""
    training.undisturbed()
    yield header("missing", "of the", "outcome", "resumed from", "losses, adapter"), None
    for name, patterns in (MISSING | OF_ZERO_3 if training.stage == 3 else MISSING).items():
        for which, steps in {"newest": (1, 2), "only one": (1, 1)}.items():
            first, last = steps
            out = training.stopped_after(last, first)
            _remove(training.checkpoints(out)[last], patterns)
            outcome = training.resume(out)
            yield row(name, which, *shown(outcome)), outcome


def _remove(folder: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        files = list(folder.glob(pattern))
        assert files, f"no {pattern} in {folder}"
        for file in files:
            file.unlink()

"""Runs that are left alone end with status 0, however the ranks leave one another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from tests.faults.outcome import Outcome, header, row
from tests.faults.training import Training

STEPS = 2
OUT = "left-alone"
LAST_LINES = 15


def tries(training: Training, runs: int) -> Iterator[tuple[str, Outcome | None]]:
    """A line of the table for each run, and the last that it printed where its status is not 0."""
    yield header("run", "status"), None
    for number in range(1, runs + 1):
        shutil.rmtree(training.work / OUT, ignore_errors=True)
        ran = training.run(OUT, do_eval=True)
        end = "\n".join(["", *ran.said.splitlines()[-LAST_LINES:], ""]) if ran.status else ""
        word = f"status {ran.status}" if ran.status else "goes on"
        yield row(number, ran.status) + end, Outcome(word, 0)

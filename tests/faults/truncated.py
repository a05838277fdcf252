"""A file of the newest checkpoint cut short, zeroed, emptied or gone, as after a full disk.

One process tries all of it for real. Launchers take long: there the script's own check is asked
about every fault, and one fault a file, drawn by the seed, is tried for real, as is each that the
check answers otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.faults.outcome import Outcome, header, row, shown
from tests.faults.training import WHOLE, Training

STEPS, NEWEST = 4, 2
FAULTS: dict[str, Callable[[Path], object]] = {
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "emptied": lambda file: file.write_bytes(b""),
    "removed": lambda file: file.unlink(),
}


def tries(training: Training, seed: int) -> Iterator[tuple[str, Outcome | None]]:
    """A line of the table for each fault of each file, and what became of it where it was tried."""
    random = Random(seed)
    training.undisturbed()
    is_whole = _check(training.runner.script)
    yield header("file", "fault", "check says", "outcome", "resumed from", "losses, adapter"), None
    for name in _files(training.work / WHOLE / f"checkpoint-{NEWEST}"):
        answers = {fault: is_whole(_hurt(training, name, fault)) for fault in FAULTS}
        drawn = random.choice(list(FAULTS))
        for fault, whole in answers.items():
            says, outcome = "whole" if whole else "incomplete", None
            if not training.stage or fault == drawn or whole != answers[drawn]:
                outcome = training.resume(_hurt(training, name, fault).parent.name)
            cells = shown(outcome) if outcome else ("", "", "")
            yield row(name, fault, says, *cells), outcome


def _files(folder: Path) -> list[str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def _hurt(training: Training, name: str, fault: str) -> Path:
    """The newest checkpoint of a run that was stopped, with that fault in the file of that name."""
    folder = training.checkpoints(training.stopped_after(NEWEST))[NEWEST]
    FAULTS[fault](folder / name)
    return folder


def _check(script: Path) -> Callable[[Path], bool]:
    """The generated script's own check of a checkpoint."""
    spec = importlib.util.spec_from_file_location("generated_script", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for it
    spec.loader.exec_module(module)
    return lambda folder: module._is_whole_checkpoint(str(folder))

"""What became of a training that was hurt and then resumed."""

from __future__ import annotations

import re
from dataclasses import dataclass

GOES_ON, PASSED_OVER, REFUSED = "goes on", "passed over", "refused"
EQUAL = "equal"
RIGHT = (GOES_ON, PASSED_OVER, REFUSED)
RESUMED = re.compile(r"global step (\d+)$", re.MULTILINE)  # as all releases say it


@dataclass(frozen=True)
class Outcome:
    word: str  # one of RIGHT, or what is wrong
    resumed: int  # the step that it went on from; 0: it started anew
    compared: str = ""  # EQUAL, or what differs from the undisturbed run

    @property
    def wrong(self) -> bool:
        return self.word not in RIGHT


def judge(status: int, said: str, newest: int, compared: str) -> Outcome:
    """The outcome of a resumed run by its status and what it printed.

    ``newest`` is the highest step that there was a checkpoint of, whole or not: to go on from
    another one and not say so is wrong, whatever the losses are.
    """
    found = RESUMED.search(said)
    resumed = int(found[1]) if found else 0
    if status:
        lines = re.findall(r"^error: .+$", said, re.MULTILINE)
        word = REFUSED if lines and "Traceback (most" not in said else f"status {status}"
    elif compared != EQUAL:
        word = "differs"
    elif resumed == newest:
        word = GOES_ON
    else:
        passed = re.search(rf"checkpoint-{newest} is incomplete", said)
        word = PASSED_OVER if passed else "silent"
    return Outcome(word, resumed, compared)


def row(*cells: object) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def header(*names: str) -> str:
    return f"{row(*names)}\n|{'---|' * len(names)}"


def shown(outcome: Outcome) -> tuple[str, str, str]:
    """Cells: what became of it, what it resumed from, how it compares; what is wrong in capitals."""
    word = outcome.word.upper() if outcome.wrong else outcome.word
    return word, str(outcome.resumed or "anew"), outcome.compared

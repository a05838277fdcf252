"""What is wrong is told from what is right; the trainings themselves are ``python -m tests.faults``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outcome import EQUAL, judge
from tests.faults.truncated import FAULTS

FROM_1 = "[INFO|trainer.py:1] >>   Resuming training from checkpoint with epoch 0 and global step 1"
FROM_2 = "[INFO|trainer.py:2] >>   Continuing training from global step 2"
PASSED = "WARNING - __main__ - out/checkpoint-2 is incomplete; resuming from out/checkpoint-1."
ANEW = "WARNING - __main__ - out/checkpoint-2 is incomplete; starting anew."


@pytest.mark.parametrize(
    ("status", "said", "compared", "word", "resumed"),
    [
        (0, [FROM_2], EQUAL, "goes on", 2),
        (0, [PASSED, FROM_1], EQUAL, "passed over", 1),
        (0, [ANEW], EQUAL, "passed over", 0),
        (1, ["error: not whole"], "", "refused", 0),
        (0, [FROM_2], "losses by 1e-07", "DIFFERS", 2),
        (0, [PASSED, FROM_1], "the adapter", "DIFFERS", 1),
        (0, [FROM_1], EQUAL, "SILENT", 1),
        (0, [], EQUAL, "SILENT", 0),
        (1, ["error: not whole", "Traceback (most recent call last):"], "", "STATUS 1", 0),
        (-9, [FROM_2], "", "STATUS -9", 2),
    ],
)
def test_judge(status: int, said: list[str], compared: str, word: str, resumed: int) -> None:
    found = judge(status, "\n".join(said) + "\n", 2, compared)
    assert (found.word, found.resumed, found.wrong) == (word.lower(), resumed, word.isupper())


@pytest.mark.parametrize(
    ("fault", "left"), [("half", b"ab"), ("zeroed", b"\0" * 5), ("emptied", b""), ("removed", None)]
)
def test_faults(fault: str, left: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abcde")
    FAULTS[fault](file)
    assert (file.read_bytes() if file.exists() else None) == left

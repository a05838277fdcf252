"""A few of the random kills of tests/kills.py; python -m tests.kills 200 makes many."""

from __future__ import annotations

from pathlib import Path

from tests import kills


def test_some_random_kills(tmp_path: Path) -> None:
    assert sum(kills.run(2, 1, tmp_path).values()) == 2

"""tools/training/demo.py, but for the training itself, which tests/smoke has."""

from __future__ import annotations

import json

import pytest

from tools.errors import UserError
from tools.training import demo, stacks


def test_sparkline():
    assert demo.sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == "█▇▆▅▄▃▂▁"
    assert demo.sparkline([1, 1, 1]) == "▁▁▁"
    assert demo.sparkline([4, 4, 0, 0, 2, 2], width=3) == "█▁▅"
    assert len(demo.sparkline(list(range(1000)))) <= 60


def test_only_a_demos_own_folder_is_emptied(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty, and no demo wrote it"):
        demo._empty(mine)
    assert (mine / "thesis.txt").exists()
    demo._empty(tmp_path / "new")
    (tmp_path / "new" / "old.txt").write_text("")
    demo._empty(tmp_path / "new")
    assert not (tmp_path / "new" / "old.txt").exists()


def test_the_data_is_what_the_readme_says():
    rows = json.loads(demo.DATA.read_text(encoding="utf-8"))
    assert len(rows) >= 8 * demo.ASKED
    for row in rows:
        assert set(row) == {"prompt", "response", "history"}
        assert row["prompt"] and row["response"]
        assert all(len(pair) == 2 for pair in row["history"])
    assert max(len(row["history"]) for row in rows) >= 2


def test_stacks_have_environments():
    assert stacks.python("v4.28.0").parent.parent.name == ".venv-v4.28.0"
    assert stacks.python(None) == stacks.python("v9.0.0")

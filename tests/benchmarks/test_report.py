"""What the benchmarks say of what they measured."""

import subprocess
import sys

import pytest

from benchmarks import __main__ as program
from benchmarks import report
from benchmarks.parts import general, memory, preprocessing, ranks, regenerate, training
from tools.regenerate.series import ROOT


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # The second round was a busy one, for both.
    assert report.ratio([2.0, 20.0, 2.2], [1.0, 10.0, 1.0]) == 2.0


def run(rows, seconds, **more):
    return {"rows": rows, "seconds": seconds, "positions": rows * 100, **more}


def trained(grouped_seconds=1.0, gradient=1e-7):
    rivals = {name: [run(100, 1.0)] for name in training.NAMES}
    rivals["recipe"] = [run(10, 1.0)]
    rivals["grouped"] = [run(100, grouped_seconds)]
    stack = {"equal": {"loss": 1e-7, "gradient": gradient}, "short": rivals}
    memory = {"recipe": 2e9, "ours": 1e9, "grouped": 1e9}
    return {**dict.fromkeys(training.STACKS, stack), "long": rivals, "memory": memory}


def test_training_reaches_its_bars_or_not():
    assert all(bar.reached for bar in training.show(trained()).bars)
    slow = [bar for bar in training.show(trained(grouped_seconds=1.2)).bars if not bar.reached]
    assert [bar.found for bar in slow] == ["1.20x"] * len(training.STACKS)
    unequal = [bar for bar in training.show(trained(gradient=1e-4)).bars if not bar.reached]
    assert len(unequal) == len(training.STACKS) and "1.0e-04" in unequal[0].found
    hungry = trained()
    hungry["memory"]["ours"] = 3e9
    assert [bar.number for bar in training.show(hungry).bars if not bar.reached] == ["4"]


def test_preprocessing_counts_bytes_and_workers():
    def encoded(seconds, size):
        return [{"rows": 10, "seconds": seconds, "again": 0.01, "bytes": size}]

    entry = {
        "recipe, 1": encoded(2.0, 1000),
        "ours, 1": encoded(1.0, 100),
        "ours, 2": encoded(0.8, 100),
        "tokenizing alone": [{"rows": 10, "seconds": 0.9}],
    }
    part = preprocessing.show(dict.fromkeys(preprocessing.STACKS, entry))
    found = {bar.what.partition(", stack")[0]: bar for bar in part.bars}
    assert found["encoding to (a), one process"].found == "2.00x"
    assert found["encoding, two workers to one"].found == "1.25x"
    assert not found["encoding, two workers to one"].reached
    assert found["size of the cache to (a)'s"].found == "0.10x"


@pytest.mark.parametrize("large, reached", [(105e6, True), (300e6, False)])
def test_memory_is_flat_or_not(large, reached):
    few, many = {"memory": 100e6}, {"memory": large}
    part = memory.show({"encoding": {"1": few, "10": many}, "evaluation": {"1": few, "10": few}})
    assert [bar.reached for bar in part.bars] == [reached, True]


def test_ranks_are_compared_by_the_slower_one():
    def rank(rows, seconds):
        return run(rows, seconds, waiting=0.1)

    found = {"one": [[rank(100, 10.0)]], "two": [[rank(50, 5.0), rank(50, 6.0)]]}
    found["apart"] = [[rank(100, 10.0), rank(100, 10.0)]]
    part = ranks.show(found)
    assert part.bars[0].found == "1.67x" and part.bars[0].reached
    assert "2.00x" in part.text


def test_packing_is_compared_by_examples():
    found = {name: [run(general.ROWS, 1.0)] for name in general.NAMES}
    found["trl packing"] = [run(general.ROWS // 8, 2.0)]
    (bar,) = general.show(found).bars
    assert bar.found == "2.00x; 1.00x" and bar.reached
    found["trl packing"] = [run(general.ROWS // 8, 0.5)]
    assert not general.show(found).bars[0].reached


def test_regenerating_fails_where_a_ref_fails():
    found = {"genuine": True, "parse": 1.0, "ours": 1.8, "ratio": 1.8, "refs": 63}
    found |= {"failed": True, "swept": 6.0, "received": 14e3}
    reached = {bar.what.split(",")[0]: bar.reached for bar in regenerate.show(found).bars}
    assert reached == {"warm regenerate to import and parse": True, "sweep": False, "fetch": True}


def test_the_document_has_every_bar_and_command():
    part = training.show(trained(grouped_seconds=1.2))
    machine = {"cores": 2, "processor": "P", "system": "S", "versions": {"v1": {"torch": "2"}}}
    text = report.document(machine, [part], "About.")
    assert "# Benchmarks" in text and "stack v1: torch 2" in text
    assert "`make bench PARTS=training`" in text
    assert text.count("**not reached**") == len(training.STACKS)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.endswith(" |") for line in rows)


def test_the_tracked_document_is_of_all_parts():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for name in program.PARTS:
        assert f"`make bench PARTS={name}`" in text


def test_an_unknown_part_is_one_line():
    command = [sys.executable, "-m", "benchmarks", "speed"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2 and not ran.stdout
    assert ran.stderr.startswith("error: no part 'speed': there are training, general,")
    assert len(ran.stderr.splitlines()) == 1

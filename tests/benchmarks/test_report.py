"""What the benchmarks say of what they measured."""

import subprocess
import sys

import pytest

from benchmarks import __main__ as program
from benchmarks import report
from benchmarks.parts import (
    general,
    gpu,
    memory,
    preprocessing,
    profile,
    ranks,
    regenerate,
    training,
    vocabulary,
    width,
)
from tools.regenerate.series import ROOT


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # The second round was a busy one, for both.
    assert report.ratio([2.0, 20.0, 2.2], [1.0, 10.0, 1.0]) == 2.0


def run(rows, seconds, **more):
    return {"rows": rows, "seconds": seconds, "positions": rows * 100, **more}


def trained(grouped_seconds=1.0, gradient=1e-7):
    rivals = {name: [run(100, 1.0)] for name in training.NAMES}
    rivals["grouped"] = [run(100, grouped_seconds)]
    rivals["recipe"] = [run(3, 1.0)]
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


def head_runs(**cpu):
    """Runs of every rival with every load, 10 s and 1 GB each where nothing else is said."""

    def one(name, rival, rows):
        seconds = cpu.get(rival, 10.0)
        peak = 1e9 if rival in ("everywhere", "trl", "factory", "padded") else 0.2e9
        return [{**run(rows, seconds, cpu=seconds), "peak": peak}]

    training = {
        name: {rival: one(name, rival, load.rows) for rival in rivals}
        for name, (_, _, load, rivals) in vocabulary.RUNS.items()
    }
    evaluation = {
        "everywhere, 32": {"memory": 1e9, "rows": 32, "cpu": 1.0, "loss": 1.0},
        "ours, 32": {"memory": 0.2e9, "rows": 32, "cpu": 1.0, "loss": 1.0},
        "ours, 320": {"memory": 0.2e9, "rows": 320, "cpu": 1.0, "loss": 1.0},
    }
    equal = {kind: {"loss": 0.0, "gradient": 1e-7} for _, kind in vocabulary.EQUAL}
    return {"training": training, "equal": equal, "evaluation": evaluation}


QUICK = {"padded": 300.0, "everywhere": 50.0, "factory": 60.0, "trl": 90.0, "bare": 8.0}


def test_a_real_vocabulary_reaches_its_bars():
    part = vocabulary.show(head_runs(**QUICK))
    assert all(bar.reached for bar in part.bars), part.bars
    assert len(part.tables) == len(vocabulary.RUNS) + 1


def test_a_real_vocabulary_says_by_how_much_a_bar_is_missed():
    found = head_runs(**QUICK | {"padded": 180.0})
    missed = [bar for bar in vocabulary.show(found).bars if not bar.reached]
    assert [(bar.found, bar.why) for bar in missed] == [
        ("18.00x", "(b), which does nothing else, reaches 22.50x")
    ]
    found["evaluation"]["ours, 320"]["memory"] = 0.3e9
    found["equal"][vocabulary.LLAMA]["loss"] = 1e-4
    missed = [bar.found for bar in vocabulary.show(found).bars if not bar.reached]
    assert missed[1:] == ["200 MB to 300 MB", "loss 1.0e-04, gradients 1.0e-07"]


def test_without_llama_factory_its_bars_are_not_measured():
    found = head_runs(**QUICK)
    for entry in found["training"].values():
        entry.pop("factory", None)
    bars = [bar for bar in vocabulary.show(found).bars if bar.reached is None]
    assert len(bars) == 2 and {bar.why for bar in bars} == {"LLaMA-Factory is not installed"}


def test_memory_is_scaled_from_few_layers_to_many():
    assert width.scaled({"1": 10, "2": 13}) == (7, 3, 7 + 28 * 3)
    part = width.show(
        {f"{r}, {w}": {"1": 2e9, "2": 3e9} for r in width.RIVALS for w in width.CHECKPOINTING}
    )
    assert all(row[-3:] == ["1.00 GB", "1.00 GB", "29.00 GB"] for row in part.tables[0].rows)


def test_a_gpu_is_measured_by_tokens_or_named_as_needed():
    (bar,) = gpu.show({"needs": "no GPU at hand; it needs one"}).bars
    assert bar.reached is None and bar.why == "no GPU at hand; it needs one"

    def trained(seconds):
        return [{**run(8, seconds), "tokens": 1000, "labels": 500, "peak": 2e9}]

    rivals = {label: trained(2.0) for label in gpu.RIVALS} | {gpu.OURS: trained(1.0)}
    card = {"name": "C", "memory": 80e9, "rate": 4e12}
    part = gpu.show({"card": card, "kind": "glm-1000-64-2", "rivals": rivals})
    assert [bar.found for bar in part.bars] == ["2.00x; 2.00x"]
    # 2 layers of 4 + 3 * 2.5 matrices of 64 x 64, 1000 tokens; and the head's 64,000 numbers, 500.
    assert gpu.operations("glm-1000-64-2", 1000, 500) == 4 * (2 * 64**2 * 11.5 * 1000 + 64e3 * 500)
    assert part.tables[0].rows[-1][-1] == "2.00 GB"


def test_what_bounds_training_is_said_of_each_vocabulary():
    shares = {"output head: products": 0.7, "linear layers": 0.3}
    entry = {"seconds": 0.1, "shares": shares}
    found = {name: dict.fromkeys(rivals, entry) for name, (*_, rivals) in profile.RUNS.items()}
    part = profile.show(found)
    assert len(part.tables) == 2
    assert all("ours, grouped: output head: products" in bar.found for bar in part.bars)


def test_regenerating_fails_where_a_ref_fails():
    found = {"genuine": True, "parse": 1.0, "ours": 1.8, "ratio": 1.8, "refs": 63}
    found |= {"failed": True, "swept": 6.0, "received": 14e3}
    reached = {bar.what.split(",")[0]: bar.reached for bar in regenerate.show(found).bars}
    assert reached == {"warm regenerate to import and parse": True, "sweep": False, "fetch": True}


def test_the_document_has_every_bar_and_command():
    part = training.show(trained(grouped_seconds=1.2))
    machine = {"cores": 2, "processor": "P", "system": "S", "versions": {"v1": {"torch": "2"}}}
    text = report.document(machine, [part], "About.", 90 * 60)
    assert "# Benchmarks" in text and "All parts took 90 minutes" in text
    assert "stack v1: torch 2" in text
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

"""Training another causal model: the script beside trl's SFTTrainer, with and without packing."""

from __future__ import annotations

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Bar, Part, Table, median, ratio, times

ROWS, ROUNDS = 800, 2
STACK = list(STACKS)[-1]  # trl needs a new release of transformers
NAMES = {
    "trl": "(c) trl, its defaults (bfloat16, gradient checkpointing)",
    "trl as ours": "(c) trl, float32, no checkpointing",
    "trl packing": "(c) trl, packing, float32, no checkpointing",
    "ours": "ours",
    "grouped": "ours, grouped by length",
    "oracle": "(b) oracle: batches of one length each",
}


def run(bench: Bench) -> dict:
    bench.say(f"{STACK}: training a llama on {ROWS} rows, {ROUNDS} rounds of each rival")
    data = bench.data(STACK, ROWS, kind="llama")
    arguments = bench.arguments(STACK, data, kind="llama")
    given = ["--rounds", ROUNDS, "--rivals", *NAMES]
    return bench.worker(STACK, "train", "general", *arguments, *given)["rivals"]


def show(found: dict) -> Part:
    # Packing changes the number of rows; seconds are for the same examples.
    speeds = {name: [ROWS / result["seconds"] for result in found[name]] for name in NAMES}
    base = speeds["trl as ours"]
    rows = [
        [
            label,
            f"{median(speeds[name]):.1f}",
            times(ratio(speeds[name], base)),
            f"{found[name][0]['positions'] / ROWS:.0f}",
        ]
        for name, label in NAMES.items()
    ]
    head = ["", "examples a second", "to trl, float32", "positions an example"]
    packed = ratio(speeds["grouped"], speeds["trl packing"])
    best = ratio(speeds["oracle"], speeds["grouped"])
    bars = [
        Bar(
            "2",
            "does packing beat grouping? grouped to trl's packing; most that packing could gain",
            "built if it does",
            f"{times(packed)}; {times(best)}",
            packed >= 1,
            "not built: it does not" if packed >= 1 else "it does, and is not built",
        )
    ]
    text = f"""
A small llama (2 layers of 128, LoRA) on {ROWS} rows of the same lengths. trl is given the ids that
our script encodes, and which of them are answers, so all learn from the same tokens. Packing
removes padding; grouping takes {times(best)} of (b)'s time, which has none, so that no more than
that can be gained, and a CPU, which has no kernels for packed attention, loses far more. So there is
grouping and no packing. That all ranks and a resumed run take grouped rows in one order is tested in
tests/payload/test_length_grouping.py.
"""
    return Part(
        "Other causal models",
        "make bench PARTS=general",
        text,
        [Table(f"Stack {STACK}", head, rows)],
        bars,
    )

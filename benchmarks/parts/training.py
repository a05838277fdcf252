"""Training a toy ChatGLM: the recipe, the script, and rows that need no padding."""

from __future__ import annotations

from benchmarks.bench import STACKS, Bench
from benchmarks.corpus import RECIPE_ROWS
from benchmarks.report import Bar, Part, Table, median, megabytes, ratio, times

ROWS, ROUNDS = 1600, 2
NAMES = {
    "recipe": "(a) recipe: all rows padded to 1152",
    "ours": "ours",
    "grouped": "ours, grouped by length",
    "oracle": "(b) oracle: batches of one length each",
    "uniform": "oracle: all rows of one length",
}
LONG = (64, ["recipe", "ours", "grouped"])  # rows with a history, and who trains on them


def run(bench: Bench) -> dict:
    found: dict[str, dict] = {}
    for stack in STACKS:
        arguments = bench.arguments(stack, bench.data(stack, ROWS))
        bench.say(f"{stack}: losses and gradients of the same batches")
        given = ["--rivals", "recipe", "ours"]
        equal = bench.worker(stack, "equal", "equal", *arguments, *given)
        bench.say(f"{stack}: training on {ROWS} rows, {ROUNDS} rounds of each rival")
        given = ["--rounds", ROUNDS, "--rivals", *NAMES]
        short = bench.worker(stack, "train", "train", *arguments, *given)
        found[stack] = {"equal": equal, "short": short["rivals"]}
    stack = next(iter(STACKS))
    count, names = LONG
    bench.say(f"{stack}: training on {count} rows with a history")
    given = ["--rounds", ROUNDS, "--rivals", *names]
    arguments = bench.arguments(stack, bench.data(stack, count, "history"))
    found["long"] = bench.worker(stack, "train", "train-long", *arguments, *given)["rivals"]
    bench.say(f"{stack}: memory of training")
    arguments = bench.arguments(stack, bench.data(stack, ROWS))
    found["memory"] = {}
    for name in names:
        given = ["--rounds", 1, "--rivals", name]
        result = bench.worker(stack, "train", f"memory-{name}", *arguments, *given)
        found["memory"][name] = result["peak"]
    return found


def per_second(results: list[dict]) -> list[float]:
    return [result["rows"] / result["seconds"] for result in results]


def rival_rows(found: dict) -> list[list[str]]:
    """A table's row for each rival: speed, and what it computes for a row of data."""
    recipe = per_second(found["recipe"])
    lines = []
    for rival in found:
        speeds = per_second(found[rival])
        positions = found[rival][0]["positions"] / found[rival][0]["rows"]
        gain = ratio(speeds, recipe)
        lines.append([NAMES[rival], f"{median(speeds):.1f}", times(gain), f"{positions:.0f}"])
    return lines


def show(found: dict) -> Part:
    tables, bars = [], []
    head = ["", "rows a second", "to (a)", "positions a row, padding included"]
    for stack in STACKS:
        entry = found[stack]
        rivals = entry["short"]
        tables.append(Table(f"Stack {stack}", head, rival_rows(rivals)))
        speeds = {name: per_second(rivals[name]) for name in NAMES}
        for name, label, least in (("ours", "as it is", 5), ("grouped", "grouped by length", 25)):
            gain = ratio(speeds[name], speeds["recipe"])
            what = f"training, {label}, rows a second to (a), stack {stack}"
            bars.append(Bar("1", what, f"≥ {least}x", times(gain), gain >= least))
        rest = ratio(speeds["oracle"], speeds["grouped"])
        what = f"training, grouped by length, time to (b), stack {stack}"
        bars.append(Bar("1", what, "≤ 1.15x", times(rest), rest <= 1.15))
        equal = entry["equal"]
        shown = f"loss {equal['loss']:.1e}, gradients {equal['gradient']:.1e}"
        what = f"largest relative difference to (a) on the same batches, stack {stack}"
        bars.append(Bar("1", what, "≤ 1e-5", shown, max(equal.values()) <= 1e-5))
    tables.append(Table("With a history", head, rival_rows(found["long"])))
    memory = found["memory"]
    shown = ", ".join(f"{name} {megabytes(memory[name])}" for name in memory)
    reached = max(memory["ours"], memory["grouped"]) <= memory["recipe"]
    bars.append(Bar("4", "peak memory while training", "≤ (a)'s", shown, reached))
    text = f"""
Same script, same toy ChatGLM (2 layers of 128, LoRA), same data, batches of 8, one thread; medians
of {ROUNDS} rounds, one rival after the other. The rows have log-normal lengths (prompts of 40 tokens
in the median and 120 at the 90th percentile, responses of 90 and 250; with a history, 1 to 4 such
rounds come before) and are cut at the default limits, 1024 and 128. Only the recipe trains on
the first {RECIPE_ROWS} rows alone: every batch of it is as large as any other. (b) has as many rows
and tokens, and lengths as spread, but no batch with padding in it; the last line has all rows of
one length, which also saves attention, whose cost grows with the square of the length.

"Positions a row" is what a model computes. Its ratio to (a) is what remains of the gain where a
large model's linear layers take nearly all the time; a small one gains more by shorter attention.
"""
    return Part("Training", "make bench PARTS=training", text, tables, bars)

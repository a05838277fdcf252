"""Where the time of training goes, before (the recipe) and after."""

from __future__ import annotations

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Bar, Part, Table

ROWS = 160
STACK = next(iter(STACKS))


def run(bench: Bench) -> dict:
    bench.say(f"{STACK}: profiling {ROWS} rows")
    arguments = bench.arguments(STACK, bench.data(STACK, ROWS))
    given = ["--rivals", "recipe", "ours", "grouped"]
    return bench.worker(STACK, "profile", "profile", *arguments, *given)


def show(found: dict) -> Part:
    kinds = next(iter(found.values()))["shares"]
    rows = [
        [kind, *(_cell(entry, entry["shares"][kind]) for entry in found.values())] for kind in kinds
    ]
    rows.append(["all", *(_cell(entry, 1.0) for entry in found.values())])
    table = Table(f"Milliseconds a row, stack {STACK}", ["", *found], rows)
    largest = {name: max(e["shares"], key=e["shares"].get) for name, e in found.items()}
    text = f"""
torch's profiler over training, one thread; the profiler itself slows small kernels down. What
bounds the recipe: {largest["recipe"]}; what bounds ours, grouped by length: {largest["grouped"]}.
"""
    bounds = f"(a): {largest['recipe']}; ours: {largest['grouped']}"
    bars = [
        Bar("7", "what bounds training, before and after", "said", bounds, True),
        Bar("7", "a ChatGLM-6B-shaped model on a GPU", "shown", "", None, "no GPU at hand"),
    ]
    return Part("Profile", "make bench PARTS=profile", text, [table], bars)


def _cell(entry: dict, share: float) -> str:
    return f"{entry['seconds'] * share * 1000:.1f} ({share:.0%})"

"""Is memory flat? Encoding a million rows, and evaluating ten times as many."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench import STACKS, Bench
from benchmarks.parts import preprocessing
from benchmarks.report import Bar, Part, Table, megabytes

ROWS = (100_000, 1_000_000)
EVALUATED = (200, 2000)
STACK = next(iter(STACKS))


def run(bench: Bench) -> dict:
    found: dict[str, dict] = {"encoding": {}, "evaluation": {}}
    for count in ROWS:
        bench.say(f"{STACK}: encoding {count} rows")
        rows = repeated(bench, STACK, preprocessing.ROWS, count)
        result = preprocessing.encode(bench, STACK, f"memory-{count}", rows, "--rivals", "ours")
        result = result["ours, 1"][0]
        found["encoding"][str(count)] = {k: result[k] for k in ("memory", "seconds", "rows")}
    for count in EVALUATED:
        bench.say(f"{STACK}: evaluating {count} rows")
        arguments = bench.arguments(STACK, repeated(bench, STACK, EVALUATED[0], count))
        arguments[arguments.index("--do_train")] = "--do_eval"
        result = bench.worker(STACK, "evaluate", f"evaluate-{count}", *arguments)
        found["evaluation"][str(count)] = result
    return found


def repeated(bench: Bench, stack: str, different: int, count: int, kind: str = "chatglm") -> Path:
    """A file of ``count`` rows, ``different`` ones again and again: more rows, but none longer."""
    some = bench.data(stack, different, kind=kind)
    file = some.with_name(f"{kind}-repeated-{count}.jsonl")
    rows = some.read_text(encoding="utf-8").splitlines(keepends=True)
    with open(file, "w", encoding="utf-8") as out:
        for start in range(0, count, len(rows)):
            out.writelines(rows[: count - start])
    return file


def flat(small: float, large: float) -> bool:
    return large <= small * 1.1 + 16e6


def show(found: dict) -> Part:
    bars, tables = [], []
    for what, number, bar in (("encoding", "3", "flat"), ("evaluation", "4", "flat")):
        small, large = found[what].values()
        rows = [[count, megabytes(entry["memory"])] for count, entry in found[what].items()]
        tables.append(Table(f"Memory that {what} takes", ["rows", "peak above the start"], rows))
        reached = flat(small["memory"], large["memory"])
        counts = " to ".join(found[what])
        shown = f"{megabytes(small['memory'])} to {megabytes(large['memory'])}"
        bars.append(Bar(number, f"memory of {what}, {counts} rows", bar, shown, reached))
    text = """
The most memory that the process holds of its own (files mapped into it not counted), above what it
held before. Flat: ten times the rows take no more than a tenth and 16 MB more.
"""
    return Part("Memory", "make bench PARTS=memory", text, tables, bars)

"""Encoding rows: the recipe beside the script, with one process and with two."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Bar, Part, Table, median, ratio, times

ROWS, ROUNDS, WORKERS = 40_000, 3, 2


def run(bench: Bench) -> dict:
    found = {}
    for stack in STACKS:
        bench.say(f"{stack}: encoding {ROWS} rows, {ROUNDS} rounds of each rival")
        given = ["--rounds", ROUNDS, "--workers", 1, WORKERS]
        found[stack] = encode(bench, stack, "encode", bench.data(stack, ROWS), *given)
    return found


def encode(bench: Bench, stack: str, out: str, rows: Path, *options: object) -> dict:
    """What encoding a file of rows takes, for each rival."""
    cpu = bench.cpu(stack, "chatglm")
    given = ["--script", bench.script(stack, "chatglm"), "--model", bench.model(stack, "chatglm")]
    return bench.worker(stack, "encode", out, *given, "--data", rows, *options, *cpu)


def show(found: dict) -> Part:
    tables, bars = [], []
    for stack in STACKS:
        entry = found[stack]
        speeds = {name: [r["rows"] / r["seconds"] for r in entry[name]] for name in entry}
        floor = speeds["tokenizing alone"][0]
        recipe = speeds["recipe, 1"]
        rows = [
            [
                name,
                f"{median(each):.0f}",
                times(median(each) / median(recipe)),
                f"{entry[name][0]['bytes'] / entry[name][0]['rows']:.0f}",
                f"{median(r['again'] for r in entry[name]):.2f} s",
            ]
            for name, each in speeds.items()
            if name != "tokenizing alone"
        ]
        rows.append(["tokenizing alone", f"{floor:.0f}", times(floor / median(recipe)), "", ""])
        head = ["rival, processes", "rows a second", "to (a)", "bytes a row", "second run"]
        tables.append(Table(f"Stack {stack}", head, rows))
        gain = ratio(speeds["ours, 1"], recipe)
        two = ratio(speeds[f"ours, {WORKERS}"], speeds["ours, 1"])
        size = entry["ours, 1"][0]["bytes"] / entry["recipe, 1"][0]["bytes"]
        bars += [
            Bar(
                "3",
                f"encoding to (a), one process, stack {stack}",
                "≥ 1.5x",
                times(gain),
                gain >= 1.5,
            ),
            Bar(
                "3",
                f"encoding, two workers to one, stack {stack}",
                "≥ 1.7x",
                times(two),
                two >= 1.7,
            ),
            Bar(
                "3",
                f"size of the cache to (a)'s, stack {stack}",
                "≤ 0.2x",
                times(size),
                size <= 0.2,
            ),
        ]
    text = f"""
{ROWS} rows as above, from reading the loaded data to the written cache. "Tokenizing alone" is the
tokenizer's time for the two texts of each row one by one, as the recipe calls it. The second run
finds the cache; that other processes find it is tested in tests/payload/test_prompt_response.py.
"""
    return Part("Preprocessing", "make bench PARTS=preprocessing", text, tables, bars)

"""Two ranks beside one, each on a core of its own."""

from __future__ import annotations

import concurrent.futures
import json

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Bar, Part, Table, median, ratio, times
from tools.regenerate import series
from tools.training import launch

ROWS, ROUNDS = 1600, 3
STACK = next(iter(STACKS))


def _run(bench: Bench, name: str, ranks: int, core: int = 0) -> list[dict]:
    """One run under DeepSpeed: what each rank noted."""
    given = bench.arguments(STACK, bench.data(STACK, ROWS))
    given += ["--deepspeed", series.ROOT / "ds_configs" / "cpu_zero2.json", "--core", core]
    given += ["--output_dir", bench.work / STACK / f"{name}.run", "--overwrite_output_dir"]
    bench.worker(STACK, "rank", name, *given, launcher=launch.deepspeed(ranks))
    files = [bench.work / STACK / f"{name}.{rank}.json" for rank in range(ranks)]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def run(bench: Bench) -> dict:
    found: dict[str, list] = {"one": [], "two": [], "apart": []}
    for turn in range(ROUNDS):
        bench.say(f"{STACK}: one rank, two ranks, two runs of one rank; round {turn + 1}")
        found["one"].append(_run(bench, "one", 1))
        found["two"].append(_run(bench, "two", 2))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            pair = pool.map(lambda core: _run(bench, f"apart{core}", 1, core), (0, 1))
            found["apart"].append([ranks[0] for ranks in pair])
    return found


def show(found: dict) -> Part:
    def speed(turn: list[dict]) -> float:
        return sum(r["rows"] for r in turn) / max(r["seconds"] for r in turn)

    speeds = {name: [speed(turn) for turn in turns] for name, turns in found.items()}
    gains = {name: ratio(speeds[name], speeds["one"]) for name in ("two", "apart")}
    waiting = median(
        sum(r["waiting"] for r in turn) / sum(r["seconds"] for r in turn) for turn in found["two"]
    )
    uneven = median(
        1 - sum(r["positions"] for r in turn) / (2 * max(r["positions"] for r in turn))
        for turn in found["two"]
    )
    labels = {
        "one": "one rank, one core",
        "two": "two ranks, a core each",
        "apart": "two runs of one rank at a time, a core each",
    }
    rows = [
        [labels[name], f"{median(speeds[name]):.1f}", times(gains.get(name, 1.0))]
        for name in labels
    ]
    head = ["", "rows a second", "to one rank"]
    bar = Bar(
        "5",
        "two DeepSpeed ranks to one, same batch a rank",
        "≥ 1.6x",
        times(gains["two"]),
        gains["two"] >= 1.6,
    )
    text = f"""
ZeRO-2, batches of 8 a rank, grouped by length, {ROWS} rows. Two runs that have nothing to do with
each other reach {times(gains["apart"])}: the rest up to 2x goes to what the cores share (memory,
clock). Of two ranks' time, {waiting:.1%} is spent in calls of torch.distributed, which is sending
gradients and waiting for the slower rank; the numbers of positions that the two compute differ by
{uneven:.1%} in all.
"""
    table = Table(f"Stack {STACK}", head, rows)
    return Part("Ranks", "make bench PARTS=ranks", text, [table], [bar])

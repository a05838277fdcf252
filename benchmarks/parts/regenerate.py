"""Regenerating, beside what it cannot do without: importing libcst and parsing the file."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import wire
from benchmarks.bench import Bench
from benchmarks.report import Bar, Part, Table, median, ratio, times
from tools.follow import sweep
from tools.upstream import fetch as upstream

REF, ROUNDS = "v4.28.0", 15

IMPORT_AND_PARSE = (
    "import sys, libcst; libcst.parse_module(open(sys.argv[1], encoding='utf-8').read())"
)


def _environment() -> dict[str, str]:
    """Python keeps what it compiled, as it does for whoever does not forbid it."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environment())
    return time.perf_counter() - start


def alternating(rivals: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Whole-process seconds of each command, one after the other, ``rounds`` times."""
    for command in rivals.values():  # once for the file caches, not counted
        _seconds(command)
    took: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, command in rivals.items():
            took[name].append(_seconds(command))
    return took


def warm_regenerate(repo: str, ref: str, rounds: int) -> tuple[float, float, float]:
    """(import and parse, warm regenerate, their ratio), medians in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "upstream.py")
        file.write_text(upstream.fetch(repo, ref).text, encoding="utf-8", newline="")
        ours = [sys.executable, "-m", "tools", "regenerate", "--ref", ref, "--repo", repo]
        took = alternating(
            {
                "parse": [sys.executable, "-c", IMPORT_AND_PARSE, str(file)],
                "ours": [*ours, "--out", folder],
            },
            rounds,
        )
    parse, ours = took["parse"], took["ours"]
    return median(parse), median(ours), ratio(ours, parse)


def run(bench: Bench) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        repo = bench.repo or _miniature(Path(folder, "upstream"))
        where = "genuine upstream" if bench.repo else "the miniature upstream: no TRANSFORMERS_REPO"
        bench.say(f"regenerating {REF} of {where}, {ROUNDS} rounds of each rival")
        received = wire.received(repo, REF)
        parse, ours, factor = warm_regenerate(repo, REF, ROUNDS)
        refs = bench.refs or upstream.release_tags(repo)
        for ref in refs:  # a sweep is measured warm
            upstream.fetch(repo, ref)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as table:
            failed = sweep.run(repo, refs, "chatglm")
        swept = time.perf_counter() - start
    if failed:
        print(table.getvalue())
    return {
        "genuine": bool(bench.repo),
        "parse": parse,
        "ours": ours,
        "ratio": factor,
        "refs": len(refs),
        "failed": bool(failed),
        "swept": swept,
        "received": received,
    }


def _miniature(folder: Path) -> str:
    from tests.miniature import build_repo

    return build_repo(folder).as_uri()


def show(found: dict) -> Part:
    kilobytes = found["received"] / 1000
    swept = f"{found['swept']:.1f} s for {found['refs']}"
    fair = 10 * max(found["refs"], 63) / 63
    rows = [
        ["import libcst and parse", f"{found['parse']:.2f} s", "1x"],
        ["warm regenerate", f"{found['ours']:.2f} s", times(found["ratio"])],
        [f"sweep of {found['refs']} refs", f"{found['swept']:.1f} s", ""],
        ["cold fetch, over the wire", f"{kilobytes:.0f} kB", ""],
    ]
    what = "warm regenerate to import and parse, whole processes"
    bars = [
        Bar("6", what, "≤ 2x", times(found["ratio"]), found["ratio"] <= 2),
        Bar(
            "6",
            "sweep, all refs regenerate",
            "≤ 10 s for 63",
            swept,
            found["swept"] <= fair and not found["failed"],
        ),
        Bar("6", "fetch", "≤ 1000 kB", f"{kilobytes:.0f} kB", kilobytes <= 1000),
    ]
    upstreams = "genuine upstream" if found["genuine"] else "the bundled miniature upstream"
    text = f"{REF} of {upstreams}; medians of {ROUNDS} rounds, one rival after the other."
    table = Table("Regenerating", ["", "took", "to import and parse"], rows)
    return Part("Regenerating", "make bench PARTS=regenerate", text, [table], bars)

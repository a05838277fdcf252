"""Measure regeneration against what it cannot do without: ``make bench``.

A ratio to a rival in the same run means the same on every machine; seconds do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools import upstream
from tools.errors import UserError

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
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, command in rivals.items():
            times[name].append(_seconds(command))
    return times


def warm_regenerate(repo: str, ref: str, rounds: int) -> tuple[float, float, float]:
    """(import and parse, warm regenerate, their ratio), medians in seconds.

    The ratio is the median of the rounds' ratios, so that a busy moment counts for both.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "upstream.py")
        file.write_text(upstream.fetch(repo, ref).text, encoding="utf-8", newline="")
        ours = [sys.executable, "-m", "tools", "regenerate", "--ref", ref, "--repo", repo]
        times = alternating(
            {
                "parse": [sys.executable, "-c", IMPORT_AND_PARSE, str(file)],
                "ours": [*ours, "--out", folder],
            },
            rounds,
        )
    ratio = statistics.median(o / p for o, p in zip(times["ours"], times["parse"], strict=True))
    return statistics.median(times["parse"]), statistics.median(times["ours"]), ratio


def main(argv: list[str] | None = None) -> int:
    from rich.console import Console
    from rich.table import Table

    from tools import sweep

    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--repo", help="default: the bundled miniature upstream")
    parser.add_argument("--ref", default="v4.28.0")
    parser.add_argument("--refs", nargs="*", help="refs of the sweep (default: all releases)")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args(argv)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        repo = args.repo
        if not repo:
            from tests.miniature import build_repo

            repo = build_repo(Path(folder, "upstream")).as_uri()
            console.print(
                "no TRANSFORMERS_REPO: measuring on the miniature upstream, not the genuine one"
            )
        try:
            received = upstream.measure_fetch(repo, args.ref)
            parse, ours, ratio = warm_regenerate(repo, args.ref, args.rounds)
            refs = args.refs or upstream.release_tags(repo)
            for ref in refs:  # a sweep is measured warm
                upstream.fetch(repo, ref)
            start = time.perf_counter()
            failed = sweep.run(repo, refs, "chatglm")
            swept = time.perf_counter() - start
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    table = Table("measured", "rival", "ours", "bar", title=f"{os.cpu_count()} cores, {args.ref}")
    table.add_row(
        "warm regenerate, whole process",
        f"import libcst and parse: {parse:.2f} s",
        f"{ours:.2f} s, {ratio:.2f}x",
        "2x",
    )
    table.add_row(f"sweep of {len(refs)} refs", "", f"{swept:.1f} s", "10 s for 63")
    table.add_row("cold fetch, over the wire", "", f"{received / 1000:.0f} kB", "1000 kB")
    console.print(table)
    return failed


if __name__ == "__main__":
    sys.exit(main())

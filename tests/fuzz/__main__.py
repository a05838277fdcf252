"""``python -m tests.fuzz --examples 10000``: drift nobody has seen yet, by the thousand.

Every example mutates one script and runs the series on it. The tool must work, as the judge sees
it, or refuse; a wrong script or a crash ends up in ``--out`` and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import json
import multiprocessing
import re
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tests.fuzz import mutations, run
from tests.fuzz.sources import miniature
from tools.regenerate import series as all_series

TEXTS: dict[str, str] = {}


def _start(texts: dict[str, str]) -> None:
    TEXTS.update(texts)


def _one(seed: str, series: str) -> tuple:
    name, steps, mutated, result = run.example(TEXTS, seed, series)
    keep = mutated if result.kind in ("wrong", "crashed") else ""
    return seed, name, steps, keep, result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--series", default="chatglm", choices=all_series.names())
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--only", choices=("miniature", "genuine"), help="use these sources only")
    parser.add_argument("--summary", type=Path, help="write every example's outcome to this file")
    args = parser.parse_args(argv)
    console = Console()
    texts: dict[str, str] = {}
    if args.only != "genuine":
        texts |= miniature()
        console.print(f"miniature upstream: {len(texts)} shapes", highlight=False)
    if args.only != "miniature":
        found, line = run.genuine()
        console.print(line, highlight=False)
        texts |= found
    if not texts:
        console.print("nothing to mutate: fetch a release first (make regenerate)")
        return 2

    began, rows, bad = time.monotonic(), [], []
    seeds = [f"{args.seed}:{i}" for i in range(args.examples)]
    with (
        Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as progress,
        concurrent.futures.ProcessPoolExecutor(
            args.jobs, multiprocessing.get_context("fork"), _start, (texts,)
        ) as pool,
    ):
        task = progress.add_task("mutating", total=args.examples)
        for row in pool.map(_one, seeds, itertools.repeat(args.series), chunksize=8):
            rows.append(row)
            progress.advance(task)
            if not len(rows) % 1000:  # a log shows no bar, and a run may be cut off
                progress.console.print(_tally(rows), highlight=False)
            if row[-1].kind in ("wrong", "crashed"):
                bad.append(row)
                progress.console.print(f"{row[-1].kind}: {_shown(row)}", highlight=False)
    _tables(console, rows)
    console.print(f"{len(rows)} examples in {time.monotonic() - began:.0f} s, seed {args.seed}")
    if args.summary:
        lines = (
            json.dumps([s, n, st, r.kind, r.patch, r.reason], ensure_ascii=False)
            for s, n, st, _, r in rows
        )
        args.summary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for row in bad:
        _keep(args.out, texts, row, args.series)
    if bad:
        console.print(f"[red]{len(bad)} wrong or crashed: see {args.out}[/red]")
    return 1 if bad else 0


def _tally(rows: list[tuple]) -> str:
    totals = collections.Counter(r[-1].kind for r in rows)
    return f"{len(rows)} examples: " + ", ".join(f"{totals[k]} {k}" for k in run.OUTCOMES)


def _shown(row: tuple) -> str:
    _, name, steps, _, result = row
    return (
        f"{name} + {', '.join(s for s, _ in steps)}: {result.reason.strip().splitlines()[-1][:200]}"
    )


def _keep(folder: Path, texts: dict[str, str], row: tuple, series: str) -> None:
    """Write the mutated script, with as few mutations as will do, and the reason."""
    seed, name, steps, mutated, result = row
    fewer = run.smallest(texts[name], steps, result.kind, series)
    if fewer != steps:
        mutated = mutations.replay(texts[name], fewer)
        result = run.outcome(mutated, series)
    place = folder / f"{result.kind}-{seed.replace(':', '-')}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "mutated.py").write_text(mutated, encoding="utf-8", newline="")
    (place / "reason.txt").write_text(f"{name}\n{fewer}\n\n{result.reason}\n", encoding="utf-8")


def _tables(console: Console, rows: list[tuple]) -> None:
    totals = collections.Counter(r[-1].kind for r in rows)
    shares = (f"{k} {totals[k]} ({totals[k] / max(len(rows), 1):.1%})" for k in run.OUTCOMES)
    console.print(", ".join(shares), highlight=False)
    causes = collections.Counter(_cause(r[-1]) for r in rows if r[-1].kind == "refused")
    table = Table("times", "refused because no patch found", box=None, title="Refusals by cause")
    for cause, count in causes.most_common(40):
        table.add_row(str(count), Text(cause))
    console.print(table)
    table = Table("mutation, alone", *run.OUTCOMES, "by", box=None, title="By kind of mutation")
    alone = sorted((r for r in rows if len(r[2]) == 1), key=lambda r: r[2][0][0])
    for name, group in itertools.groupby(alone, key=lambda r: r[2][0][0]):
        found = [r[-1] for r in group]
        counts = collections.Counter(o.kind for o in found)
        by = dict.fromkeys(o.patch or "the whole" for o in found if o.kind == "refused")
        table.add_row(name, *(str(counts[k] or "") for k in run.OUTCOMES), ", ".join(by))
    console.print(table)


def _cause(outcome: run.Outcome) -> str:
    """Why it refused, without the script's own names and lines."""
    told = outcome.reason.partition("; nearest")[0]
    told = re.split(r"(?:does|do) not apply: ", told, maxsplit=1)[-1]
    plain = re.sub(r"'[^']*'|\(.*?\)", "…", told)
    first, *more = outcome.patch.split(", ")
    return f"{first or 'the whole'}{f' and {len(more)} more' if more else ''}: {plain}"


if __name__ == "__main__":
    sys.exit(main())

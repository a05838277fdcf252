"""``python -m benchmarks [PART …]``: measure, show the tables, and write docs/benchmarks.md.

Parts that are not measured this time keep what was found last time, in build/bench.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time

import benchmarks
from benchmarks import report
from benchmarks.bench import WORK, Bench
from tools.errors import UserError
from tools.regenerate import series

PARTS = (
    "training",
    "general",
    "vocabulary",
    "preprocessing",
    "memory",
    "width",
    "ranks",
    "profile",
    "gpu",
    "regenerate",
)
TOOK = "took"  # the key of seconds, {part: seconds}, among the parts' findings
DOCUMENT = series.ROOT / "docs" / "benchmarks.md"


def main(argv: list[str] | None = None) -> int:
    from rich.console import Console

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repo", help="for regenerating; default: the bundled miniature upstream")
    parser.add_argument("--refs", nargs="*", help="refs of the sweep (default: all releases)")
    parser.add_argument(
        "--trial", action="store_true", help="try the part gpu on this CPU, at toy size"
    )
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - set(PARTS):
        print(f"error: no part {min(unknown)!r}: there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    bench = Bench(args.repo, args.refs, tracer=console.print)
    if args.trial:
        return trial(bench, console)
    results = WORK / "results.json"
    found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    try:
        for name in args.parts or PARTS:
            module = importlib.import_module(f"benchmarks.parts.{name}")
            started = time.monotonic()
            found[name] = module.run(bench)
            found.setdefault(TOOK, {})[name] = time.monotonic() - started
            WORK.mkdir(parents=True, exist_ok=True)
            results.write_text(json.dumps(found), encoding="utf-8")
            for table in module.show(found[name]).tables:
                table.show(console)
        machine = bench.machine()
    except (UserError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    shown = [show(name, found[name]) for name in PARTS if name in found]
    report.bars(shown).show(console)
    if len(shown) == len(PARTS):
        about = benchmarks.__doc__.partition("\n\n")[2]
        text = report.document(machine, shown, about, sum(found[TOOK].values()))
        DOCUMENT.write_text(text, encoding="utf-8")
        console.print(f"written: {DOCUMENT.relative_to(series.ROOT)}")
    return 1 if any(bar.reached is False for part in shown for bar in part.bars) else 0


def trial(bench: Bench, console) -> int:
    """Run the part gpu as a GPU would, where there is none: nothing of it is kept."""
    from benchmarks.parts import gpu

    try:
        found = gpu.run(bench, gpu.SMALL, rounds=1, rivals=[gpu.OURS])
    except (UserError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for table in gpu.show(found).tables:
        table.show(console)
    return 0


def show(name: str, found: dict) -> report.Part:
    return importlib.import_module(f"benchmarks.parts.{name}").show(found)


if __name__ == "__main__":
    sys.exit(main())

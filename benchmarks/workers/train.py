"""Worker: train with several rivals in turn.

Prints nothing of use; writes {rival: [what each round took]} to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from benchmarks import rivals
from benchmarks.memory import Peak

WARM_UP = 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--rivals", nargs="+", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args, rest = parser.parse_known_args()
    script = rivals.load_script(args.script)
    folder = args.out.with_suffix(".run")
    found: dict[str, list[dict]] = {rival: [] for rival in args.rivals}
    with Peak() as peak:
        for turn in range(args.rounds + 1):
            for rival in args.rivals:
                shutil.rmtree(folder, ignore_errors=True)
                given = [*rest, "--output_dir", str(folder)]
                # First a few rows to warm up caches and threads, which are not counted.
                result = rivals.run(script, rival, given, most=None if turn else WARM_UP)
                if turn:
                    found[rival].append(result)
    shutil.rmtree(folder, ignore_errors=True)
    figures = {"peak": peak.bytes, "rivals": found}
    args.out.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()

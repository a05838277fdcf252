"""Trainings that are killed, or find a checkpoint damaged, by the python of a training stack.

    SMOKE_SCRIPT=build/smoke/v5.0.0/run_clm_lora.py \
        .venv-v5.0.0/bin/python -m tests.faults kills --kind zero3 --runs 10

$SMOKE_SCRIPT is a generated script (tests/smoke/prepare.py makes it). Each command prints a table
as it goes; what is WRONG there makes the exit status 1, and keeps the folder with the runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults import exits, kills, ranks, truncated
from tests.faults.outcome import Outcome
from tests.faults.training import KINDS, Training

COMMANDS = {
    "kills": (kills, "random kill -9 while it saves at every step, then resumed"),
    "ranks": (ranks, "a checkpoint that only the first of two ranks has written"),
    "truncated": (truncated, "each file of the newest checkpoint damaged in each way"),
    "exits": (exits, "runs that are left alone"),
}


def main() -> int:
    args = _arguments()
    work = Path(tempfile.mkdtemp(prefix=f"faults-{args.command}-{args.kind}-"))
    training = Training(args.kind, work, COMMANDS[args.command][0].STEPS)
    outcomes = []
    try:
        for line, outcome in _tries(training, args):
            print(line, flush=True)
            outcomes += [outcome] if outcome else []
    finally:
        training.end()
    wrong = sum(outcome.wrong for outcome in outcomes)
    print(f"\n{args.command} {args.kind}: {len(outcomes)} tried, {wrong} wrong")
    if wrong:
        print(f"the runs are in {work}")
    else:
        shutil.rmtree(work)
    return 1 if wrong else 0


def _tries(training: Training, args: argparse.Namespace) -> Iterator[tuple[str, Outcome | None]]:
    if args.command == "kills":
        return kills.tries(training, args.runs, args.seed)
    if args.command == "ranks":
        return ranks.tries(training)
    if args.command == "truncated":
        return truncated.tries(training, args.seed)
    return exits.tries(training, args.runs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        sharded = [kind for kind, stage in KINDS.items() if stage]
        kinds = sharded if name == "ranks" else list(KINDS)
        command.add_argument("--kind", choices=kinds, default="zero3")
        command.add_argument("--runs", type=int, default=10)
        command.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if "SMOKE_SCRIPT" not in os.environ:
        parser.error("SMOKE_SCRIPT names no generated script")
    return args


if __name__ == "__main__":
    sys.exit(main())

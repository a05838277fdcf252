"""Worker: train with one rival, in a process of its own: how long it takes, and how much memory.

Writes {"rows", "positions", "seconds", "cpu", "loss", "peak", "tokens", "labels"}: "peak" is in
bytes, above what the loaded model takes; "tokens" and "labels" are those of the rows, unpadded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks import memory, rivals


def main() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--rival", required=True)
    parser.add_argument("--shape", nargs=2, type=int, help="tokens before and in each response")
    parser.add_argument(
        "--keep", type=Path, help="folder to write the encoded rows to, for rivals elsewhere"
    )
    parser.add_argument("--exact", action="store_true", help="count no gaps between tensors")
    args, rest = parser.parse_known_args()
    if args.exact:
        memory.exact()
    counts: dict[str, int] = {}

    def reshape(rows):
        rows = rivals.exactly(*args.shape)(rows) if args.shape else rows
        counts["tokens"] = sum(map(len, rows["input_ids"]))
        counts["labels"] = sum(label != -100 for labels in rows["labels"] for label in labels)
        if args.keep:
            shutil.rmtree(args.keep, ignore_errors=True)
            rows.save_to_disk(str(args.keep))
        return rows

    script = rivals.load_script(args.script)
    folder = args.out.with_suffix(".run")
    given = [*rest, "--output_dir", str(folder)]

    def train(most: int, around) -> dict:
        shutil.rmtree(folder, ignore_errors=True)
        return rivals.run(script, args.rival, given, around, most, reshape) | counts

    write(args, train)
    shutil.rmtree(folder, ignore_errors=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--warm", type=int, default=0, help="rows to train on first, uncounted")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--local_rank", type=int, default=0, help="DeepSpeed's launcher says it")


def write(args: argparse.Namespace, train) -> None:
    """Train, first to warm up, and write what the second run took."""
    if args.warm:
        train(args.warm, contextlib.nullcontext)
    found = {}
    result = train(args.rows, lambda: watched(found))
    if int(os.environ.get("RANK", "0")) == 0:
        args.out.write_text(json.dumps(result | found), encoding="utf-8")


@contextlib.contextmanager
def watched(found: dict) -> Iterator[None]:
    """Note the most memory that is taken while this lasts, of a GPU or of the process."""
    memory.settle()
    with memory.GpuPeak() if torch.cuda.is_available() else memory.Peak() as peak:
        yield
    found["peak"] = peak.bytes - peak.before


if __name__ == "__main__":
    main()

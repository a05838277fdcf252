"""Worker: one rank of a training run, on one core of its own; DeepSpeed's launcher starts it."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch

from benchmarks import rivals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--core", type=int, default=0, help="of the first rank")
    parser.add_argument("--out", type=Path, required=True)
    args, rest = parser.parse_known_args()
    rank = int(os.environ["LOCAL_RANK"])
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[args.core + rank]})
    torch.set_num_threads(1)
    waiting = Waiting()
    result = rivals.run(rivals.load_script(args.script), "grouped", rest, lambda: waiting)
    result["waiting"] = waiting.seconds
    args.out.with_suffix(f".{rank}.json").write_text(json.dumps(result), encoding="utf-8")


class Waiting:
    """A context in which the time spent in calls of torch.distributed is added up.

    A rank that comes first to such a call waits in it for the other.
    """

    CALLS = (
        "all_reduce",
        "reduce",
        "all_gather",
        "all_gather_into_tensor",
        "reduce_scatter_tensor",
        "broadcast",
    )

    def __enter__(self) -> Waiting:
        self.seconds, self.kept, depth = 0.0, {}, []

        def counted(call):
            def wrapper(*args, **kwargs):
                started = time.perf_counter()
                depth.append(call)
                try:
                    return call(*args, **kwargs)
                finally:
                    depth.pop()
                    if not depth:  # some are made of others
                        self.seconds += time.perf_counter() - started

            return wrapper

        for name in self.CALLS:
            self.kept[name] = getattr(torch.distributed, name)
            setattr(torch.distributed, name, counted(self.kept[name]))
        return self

    def __exit__(self, *args) -> None:
        for name, call in self.kept.items():
            setattr(torch.distributed, name, call)


if __name__ == "__main__":
    main()

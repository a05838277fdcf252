"""Worker: evaluate, with the script or as transformers does, and how much that takes."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import transformers

from benchmarks import rivals
from benchmarks.memory import Peak, settle


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--rival", choices=("ours", "everywhere"), default="ours")
    parser.add_argument("--out", type=Path, required=True)
    args, rest = parser.parse_known_args()
    script = rivals.load_script(args.script)
    folder, found = args.out.with_suffix(".run"), {}

    class Watched(script.AdapterTrainer if args.rival == "ours" else transformers.Trainer):
        def evaluate(self, *args, **kwargs):
            settle()
            cpu = time.process_time()
            with Peak() as peak:
                metrics = super().evaluate(*args, **kwargs)
            found.update(cpu=time.process_time() - cpu, rows=len(self.eval_dataset))
            found.update(memory=peak.bytes - peak.before, loss=metrics["eval_loss"])
            return metrics

    script.AdapterTrainer = Watched
    sys.argv = [str(args.script), *rest, "--output_dir", str(folder)]
    script.main()
    shutil.rmtree(folder, ignore_errors=True)
    args.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()

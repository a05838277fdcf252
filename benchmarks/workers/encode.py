"""Worker: encode a file with the recipe and with the script, in turn, with one process and more."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import datasets
import transformers

from benchmarks import recipe, rivals
from benchmarks.memory import Peak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rivals", nargs="+", default=["recipe", "ours"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args, rest = parser.parse_known_args()
    script = rivals.load_script(args.script)
    datasets.utils.logging.disable_progress_bar()
    encoders = Encoders(script, args.model, args.data, args.out.with_suffix(".cache"), rest)
    found: dict[str, list[dict]] = {}
    for _ in range(args.rounds):
        for rival in args.rivals:
            for workers in args.workers if rival == "ours" else [1]:
                result = encoders.measure(rival, workers)
                found.setdefault(f"{rival}, {workers}", []).append(result)
    if "recipe" in args.rivals:
        found["tokenizing alone"] = [encoders.tokenizing()]
    encoders.close()
    args.out.write_text(json.dumps(found), encoding="utf-8")


class Encoders:
    """What encodes the rows of a file, each time as if for the first time."""

    def __init__(self, script, model: str, data: Path, cache: Path, options: list[str]):
        self.script, self.data, self.cache = script, data, cache
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=True)
        parser = transformers.HfArgumentParser(
            (script.DataTrainingArguments, transformers.TrainingArguments)
        )
        # In release 4 an output folder must be named.
        given = ["--train_file", str(data), "--history_column", "history", "--do_train"]
        given += ["--output_dir", str(cache / "out"), "--report_to", "none", *options]
        self.data_args, self.training_args = parser.parse_args_into_dataclasses(given)

    def _rows(self, rival: str) -> datasets.DatasetDict:
        load = datasets.load_dataset if rival == "recipe" else self.data_args.load_files
        return load("json", data_files={"train": str(self.data)}, cache_dir=str(self.cache))

    def measure(self, rival: str, workers: int) -> dict:
        """Seconds, rows, bytes of the cache, peak memory; and seconds to find the cache again."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.data_args = dataclasses.replace(self.data_args)  # which remembers what it has read
        with Peak() as peak:
            seconds, encoded = self._encode(rival, workers)
        again, _ = self._encode(rival, workers)
        size = sum(os.path.getsize(file["filename"]) for file in encoded.cache_files)
        return {
            "seconds": seconds,
            "again": again,
            "rows": len(encoded),
            "bytes": size,
            "memory": peak.bytes - peak.before,
            "lengths": [len(ids) for ids in encoded[:2000]["input_ids"]],
        }

    def _encode(self, rival: str, workers: int) -> tuple[float, datasets.Dataset]:
        raw = self._rows(rival)
        started = time.perf_counter()
        several = None if workers == 1 else workers
        if rival == "recipe":
            encoded = recipe.encode(
                raw["train"],
                self.tokenizer,
                self.data_args,
                self.script.build_prompt,
                num_proc=several,
            )
        else:
            self.data_args.preprocessing_num_workers = several
            encoded = self.script.encode_datasets(
                raw,
                self.script.encode_pair,
                self.tokenizer,
                self.data_args,
                self.training_args,
            )["train"]
        return time.perf_counter() - started, encoded

    def tokenizing(self) -> dict:
        """What neither can do without: the tokenizer's own time for the rows' texts."""
        rows = self._rows("recipe")["train"]
        started = time.perf_counter()
        for row in rows:
            for text in (row["prompt"], row["response"]):
                self.tokenizer.encode(text, add_special_tokens=False)
        return {"seconds": time.perf_counter() - started, "rows": len(rows)}

    def close(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)


if __name__ == "__main__":
    main()

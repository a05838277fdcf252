"""Worker: as ``one``, for LLaMA-Factory, which has an environment and a program of its own.

It is given the rows that our script encoded; all else but what is said here is its default.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import os
import shutil
import sys
import types
from pathlib import Path

import datasets

from benchmarks import rivals
from benchmarks.workers import one

# It refuses releases newer than it knows, and imports what reads sounds, which no text needs.
os.environ["DISABLE_VERSION_CHECK"] = "1"
SOUNDS = types.ModuleType("torchaudio")
SOUNDS.__spec__ = importlib.machinery.ModuleSpec(SOUNDS.__name__, None)


def main() -> None:
    parser = argparse.ArgumentParser()
    one.add_options(parser)
    parser.add_argument("--model", required=True)
    parser.add_argument("--encoded", type=Path, required=True)
    parser.add_argument("--batch", type=int, required=True)
    args = parser.parse_args()
    sys.modules.setdefault(SOUNDS.__name__, SOUNDS)
    from llamafactory.train import tuner
    from llamafactory.train.sft import workflow

    trainer = workflow.CustomSeq2SeqTrainer
    folder, rows = args.out.with_suffix(".run"), args.out.with_suffix(".rows")

    def train(most: int, around) -> dict:
        for old in (folder, rows):
            shutil.rmtree(old, ignore_errors=True)
        some = datasets.load_from_disk(str(args.encoded)).select(range(most))
        some = some.select_columns(["input_ids", "attention_mask", "labels"])
        datasets.DatasetDict(train=some).save_to_disk(str(rows))
        workflow.CustomSeq2SeqTrainer = rivals.timed(trainer, around)
        workflow.CustomSeq2SeqTrainer.runs = runs = []
        tuner.run_exp(settings(args, rows, folder))
        return runs[0]

    one.write(args, train)
    for old in (folder, rows):
        shutil.rmtree(old, ignore_errors=True)


def settings(args: argparse.Namespace, rows: Path, folder: Path) -> dict[str, object]:
    return {
        "model_name_or_path": args.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "q_proj,v_proj",
        "lora_rank": 8,
        "lora_alpha": 32,
        "lora_dropout": 0.1,
        "tokenized_path": str(rows),
        "dataset": "encoded",  # a name that it wants, and does not look up
        "template": "empty",
        "per_device_train_batch_size": args.batch,
        "learning_rate": 5e-5,
        "num_train_epochs": 1,
        "output_dir": str(folder),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        # Its own way of it fails with this release of transformers; without, it is faster.
        "disable_gradient_checkpointing": True,
    }


if __name__ == "__main__":
    main()

"""What users ask a training script for: the runs in which it is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

THERE = "/nowhere/with-checkpoints"  # the one folder that exists


@dataclass(frozen=True)
class Scenario:
    """``fields`` are the arguments that are given; a script ignores those it lacks.

    ``training`` are those of the Trainer. ``resize``: the vocabulary is larger than the
    embeddings. ``json``: arguments come in a file. ``fails``: training ends with an error.
    """

    name: str
    fields: dict[str, Any]
    training: dict[str, Any]
    splits: tuple[str, ...] = ("train", "validation")
    resize: bool = True
    xla: bool = False
    json: bool = False
    checkpoint: str | None = None
    fails: bool = False


HUB = {"dataset_name": "d", "model_name_or_path": "m", "cache_dir": "c", "model_revision": "r"}
BOTH = {"do_train": True, "do_eval": True}
ALL = ("train", "validation", "test")

SCENARIOS = (
    Scenario("train", {**HUB, "max_train_samples": 5}, {"do_train": True}),
    Scenario("evaluate", HUB, {"do_eval": True}, splits=ALL),
    Scenario(
        "evaluate a stream",
        {**HUB, "streaming": True, "max_eval_samples": 7, "use_auth_token": True},
        {"do_eval": True, "should_log": False},
        splits=("train",),
        resize=False,
    ),
    Scenario(
        "from scratch",
        {
            "model_type": "gpt2",
            "config_overrides": "a=1",
            "tokenizer_name": "tok",
            "train_file": "a.csv",
            "validation_file": "b.csv",
        },
        BOTH,
    ),
    Scenario(
        "config and tokenizer of their own",
        {
            "model_name_or_path": "m",
            "config_name": "conf",
            "tokenizer_name": "tok",
            "train_file": "a.txt",
            "trust_remote_code": False,
            "torch_dtype": "float16",
            "dtype": "float16",
            "use_fast_tokenizer": False,
        },
        BOTH,
        splits=("train",),
        json=True,
    ),
    Scenario(
        "predict after all",
        {**HUB, "dataset_config_name": "dc", "trust_remote_code": True, "token": "t"},
        {**BOTH, "do_predict": True, "push_to_hub": True},
        splits=ALL,
        xla=True,
    ),
    Scenario("predict only", HUB, {"do_predict": True}, splits=ALL),
    Scenario("train and predict", HUB, {"do_train": True, "do_predict": True}, splits=ALL),
    Scenario(
        "resume as told",
        {**HUB, "max_eval_samples": 500, "max_train_samples": 500, "block_size": 77},
        {**BOTH, "resume_from_checkpoint": "ckpt", "output_dir": THERE},
        checkpoint="found",
    ),
    Scenario(
        "resume as found",
        {**HUB, "streaming": True, "max_train_samples": 3},
        {"do_train": True, "output_dir": THERE},
        checkpoint="found",
    ),
    Scenario(
        "jsonl files",
        {"model_name_or_path": "m", "train_file": "a.jsonl", "validation_file": "b.jsonl"},
        BOTH,
        splits=("train",),
    ),
    Scenario("a training that fails", HUB, {**BOTH, "do_predict": True}, splits=ALL, fails=True),
    Scenario("no data", {"model_name_or_path": "m"}, {"do_train": True}),
    Scenario("no tokenizer", {"model_type": "gpt2", "train_file": "a.csv"}, {"do_train": True}),
)

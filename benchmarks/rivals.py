"""The rivals of training: one generated script, with what each rival does otherwise put into it.

Everything else (arguments, loading, LoRA, the training loop) is the script's own for all of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import datasets
import torch
import transformers

from benchmarks import recipe
from benchmarks.corpus import RECIPE_ROWS

GROUPING = {
    "group_by_length": [],  # a flag of transformers 4
    "train_sampling_strategy": ["group_by_length"],  # of transformers 5
}


def load_script(path: Path) -> ModuleType:
    """The generated script as a module that functions of it can be pickled from."""
    spec = importlib.util.spec_from_file_location("generated_script", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def grouping_flag() -> list[str]:
    """The arguments that this release of transformers groups by length with."""
    known = transformers.TrainingArguments.__dataclass_fields__
    name = next(name for name in GROUPING if name in known)
    return [f"--{name}", *GROUPING[name]]


def timed(base: type, around=contextlib.nullcontext) -> type:
    """``base``, a Trainer, which notes how long training takes and how much it computes.

    ``around`` makes a context that training runs in.
    """

    class Timed(base):
        runs: list[dict] = []  # noqa: RUF012 - shared on purpose: main() keeps its trainer to itself

        def train(self, *args, **kwargs):
            clock, run = _Clock(), {"rows": 0, "positions": 0}
            self._run = run
            self.add_callback(clock)
            with around():
                result = super().train(*args, **kwargs)
            run |= {"seconds": clock.seconds, "loss": result.training_loss}
            self.runs.append(run)
            return result

        def training_step(self, model, inputs, *args, **kwargs):
            ids = inputs["input_ids"]
            self._run["rows"] += len(ids)
            self._run["positions"] += ids.numel()
            return super().training_step(model, inputs, *args, **kwargs)

    return Timed


def _in_order(base: type) -> type:
    """``base``, a Trainer, which takes its rows as they come."""

    class InOrder(base):
        def _get_train_sampler(self, *args, **kwargs):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return InOrder


class _Clock(transformers.TrainerCallback):
    """Times the training loop, which all ranks begin together."""

    seconds = 0.0

    def on_train_begin(self, *args, **kwargs):
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        self.seconds -= time.perf_counter()

    def on_train_end(self, *args, **kwargs):
        self.seconds += time.perf_counter()


def equal_lengths(rows: datasets.Dataset, size: int, seed: int = 0) -> datasets.Dataset:
    """As many rows and tokens (to half a token a row), in batches each of one length: no padding.

    Rows of similar length, ``size`` at a time, get the mean length of them all, going on from
    their own tokens; the batches then come in a random order.
    """
    order = sorted(range(len(rows)), key=rows["length"][:].__getitem__)
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    random.Random(seed).shuffle(batches)
    new = []
    for batch in batches:
        given = [rows[i] for i in batch]
        contexts = [_context(row["labels"]) for row in given]
        context = round(sum(contexts) / len(batch))
        length = round(sum(len(row["input_ids"]) for row in given) / len(batch))
        new += [_reshaped(row, context, max(length - context, 2)) for row in given]
    features = datasets.Features({name: rows.features[name] for name in new[0]})
    return datasets.Dataset.from_list(new, features=features)


def _reshaped(row: dict, context: int, rest: int) -> dict:
    """The row with ``context`` tokens before its response and ``rest`` from there on."""
    start, ids = _context(row["labels"]), row["input_ids"]
    # What stands right before the response stays there, such as ChatGLM's [gMASK].
    left = [*_cycled(ids[: start - 1], context - 1), ids[start - 1]]
    right = [ids[start], *_cycled(ids[start + 1 :], rest - 1)]
    new = {"input_ids": left + right, "labels": [-100] * context + right, "length": context + rest}
    if "attention_mask" in row:
        new["attention_mask"] = [1] * (context + rest)
    return new


def _context(labels: list[int]) -> int:
    return next(i for i, label in enumerate(labels) if label != -100)


def _cycled(ids: list[int], length: int) -> list[int]:
    return list(itertools.islice(itertools.cycle(ids), length))


@contextlib.contextmanager
def swapped(script: ModuleType, rival: str, around=contextlib.nullcontext) -> Iterator[list[dict]]:
    """Put ``rival`` into the script while this lasts; gives the list of its runs' figures."""
    changes = {"AdapterTrainer": timed(script.AdapterTrainer, around)}
    ours = script.encode_datasets
    if rival == "recipe":

        def encode(raw, encode_pair, tokenizer, data_args, training_args):
            files = {"train": data_args.train_file}
            rows = datasets.load_dataset("json", data_files=files, split="train")
            rows = rows.select(range(min(data_args.max_train_samples, len(rows))))
            return {"train": recipe.encode(rows, tokenizer, data_args, script.build_prompt)}

        changes = {
            "AdapterTrainer": timed(transformers.Trainer, around),
            "encode_datasets": encode,
            "PairCollator": lambda tokenizer, data_args: recipe.collate,
        }
    elif rival in ("oracle", "uniform"):

        def encode(*args):
            encoded, training_args = ours(*args), args[-1]
            rows = encoded["train"]
            size = training_args.per_device_train_batch_size if rival == "oracle" else len(rows)
            encoded["train"] = equal_lengths(rows, size)
            return encoded

        changes["encode_datasets"] = encode
        changes["AdapterTrainer"] = timed(_in_order(script.AdapterTrainer), around)
    elif rival.startswith("trl"):
        from benchmarks import sft

        changes = {"AdapterTrainer": timed(sft.trainer_class(rival), around)}
    kept = {name: getattr(script, name) for name in changes}
    changes["AdapterTrainer"].runs = runs = []
    for name, value in changes.items():
        setattr(script, name, value)
    try:
        yield runs
    finally:
        for name, value in kept.items():
            setattr(script, name, value)


def run(
    script: ModuleType,
    rival: str,
    arguments: list[str],
    around=contextlib.nullcontext,
    most: int | None = None,
) -> dict:
    """One training run of ``rival``, by the script's own main(): what ``timed`` noted.

    ``most`` limits the rows.
    """
    extra = grouping_flag() if rival == "grouped" else []
    if rival == "recipe":  # every batch of it is as large: a few will do
        most = min(most or RECIPE_ROWS, RECIPE_ROWS)
    if most is not None:
        extra += ["--max_train_samples", str(most)]
    kept, sys.argv = sys.argv, [script.__file__, *arguments, *extra]
    try:
        with swapped(script, rival, around) as runs:
            script.main()
    finally:
        sys.argv = kept
    return runs[0]

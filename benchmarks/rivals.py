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

from benchmarks import oracle, recipe
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

    Seconds on the wall and of the processor. ``around`` makes a context that training runs in.
    """

    class Timed(base):
        runs: list[dict] = []  # noqa: RUF012 - shared on purpose: main() keeps its trainer to itself

        def train(self, *args, **kwargs):
            clock, run = _Clock(), {"rows": 0, "positions": 0}
            self._run = run
            self.add_callback(clock)
            with around():
                result = super().train(*args, **kwargs)
            run |= {"seconds": clock.seconds, "cpu": clock.cpu, "loss": result.training_loss}
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

    seconds = cpu = 0.0

    def on_train_begin(self, *args, **kwargs):
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        self._add(-1)

    def on_train_end(self, *args, **kwargs):
        self._add(1)

    def _add(self, sign: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += sign * time.perf_counter()
        self.cpu += sign * time.process_time()


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


def exactly(context: int, response: int):
    """What makes rows of a dataset all have so many tokens before and in their responses."""

    def reshape(rows: datasets.Dataset) -> datasets.Dataset:
        new = [_reshaped(row, context, response) for row in rows]
        features = datasets.Features({name: rows.features[name] for name in new[0]})
        return datasets.Dataset.from_list(new, features=features)

    return reshape


def changes(script: ModuleType, rival: str, around, reshape=None) -> dict[str, object]:
    """What ``rival`` does otherwise than the script: {name in the script: its value}."""

    def encoding(change) -> object:
        def encode(*args):
            encoded = script_encode(*args)
            rows = encoded["train"]
            encoded["train"] = change(reshape(rows) if reshape else rows, *args[-3:])
            return encoded

        return encode

    script_encode, trainer = script.encode_datasets, script.AdapterTrainer
    as_it_is = {} if reshape is None else {"encode_datasets": encoding(lambda rows, *_: rows)}
    if rival == "recipe":

        def encode(raw, encode_pair, tokenizer, data_args, training_args):
            files = {"train": data_args.train_file}
            rows = datasets.load_dataset("json", data_files=files, split="train")
            rows = rows.select(range(min(data_args.max_train_samples, len(rows))))
            return {"train": recipe.encode(rows, tokenizer, data_args, script.build_prompt)}

        return {
            "AdapterTrainer": timed(transformers.Trainer, around),
            "encode_datasets": encode,
            "PairCollator": lambda tokenizer, data_args: recipe.collate,
        }
    if rival == "padded":
        return {
            "AdapterTrainer": timed(transformers.Trainer, around),
            "encode_datasets": encoding(recipe.padded),
            "PairCollator": lambda tokenizer, data_args: recipe.collate,
        }
    if rival == "everywhere":
        return as_it_is | {"AdapterTrainer": timed(transformers.Trainer, around)}
    if rival in ("oracle", "uniform", "bare"):

        def equal(rows, tokenizer, data_args, training_args):
            size = training_args.per_device_train_batch_size
            return equal_lengths(rows, len(rows) if rival == "uniform" else size)

        base = oracle.loop(transformers.Trainer) if rival == "bare" else trainer
        return {
            "AdapterTrainer": timed(_in_order(base), around),
            "encode_datasets": encoding(equal),
        }
    if rival.startswith("trl"):
        from benchmarks import sft

        return as_it_is | {"AdapterTrainer": timed(sft.trainer_class(rival), around)}
    return as_it_is | {"AdapterTrainer": timed(trainer, around)}


@contextlib.contextmanager
def swapped(
    script: ModuleType, rival: str, around=contextlib.nullcontext, reshape=None
) -> Iterator[list[dict]]:
    """Put ``rival`` into the script while this lasts; gives the list of its runs' figures."""
    new = changes(script, rival, around, reshape)
    kept = {name: getattr(script, name) for name in new}
    new["AdapterTrainer"].runs = runs = []
    for name, value in new.items():
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
    reshape=None,
) -> dict:
    """One training run of ``rival``, by the script's own main(): what ``timed`` noted.

    ``most`` limits the rows; ``reshape`` changes them once they are encoded (see ``exactly``).
    """
    extra = grouping_flag() if rival == "grouped" else []
    if rival == "recipe":  # every batch of it is as large: a few will do
        most = min(most or RECIPE_ROWS, RECIPE_ROWS)
    if most is not None:
        extra += ["--max_train_samples", str(most)]
    kept, sys.argv = sys.argv, [script.__file__, *arguments, *extra]
    try:
        with swapped(script, rival, around, reshape) as runs:
            script.main()
    finally:
        sys.argv = kept
    return runs[0]

"""The data as the model will see it, shown before any weight is loaded."""

import sys

import datasets
import numpy as np
import torch
from prompt_response import encode_split, first_rows, place_of, sample_limits
from transformers.trainer_pt_utils import get_length_grouped_indices

# Learnt tokens are green on a terminal, and stand in these elsewhere.
LEARNT, PLAIN = "\033[32m", "\033[0m"
OPENS, CLOSES = "⟦", "⟧"


def _marked(tokenizer, row, colour):
    """Return a row's text with the learnt tokens marked off, special tokens visible."""
    runs = []
    for token, label in zip(row["input_ids"], row["labels"]):
        if runs and runs[-1][0] == (label != -100):
            runs[-1][1].append(token)
        else:
            runs.append((label != -100, [token]))
    begin, end = (LEARNT, PLAIN) if colour else (OPENS, CLOSES)
    texts = [(learnt, tokenizer.decode(ids, skip_special_tokens=False)) for learnt, ids in runs]
    return "".join(f"{begin}{text}{end}" if learnt else text for learnt, text in texts)


def _show_row(tokenizer, place, row, colour):
    learnt = sum(label != -100 for label in row["labels"])
    yield f"-- {place}: {len(row['input_ids'])} tokens, {learnt} of them learnt"
    yield _marked(tokenizer, row, colour)
    yield ""


def _padding(lengths, order, batch):
    """Return the share of padding when rows in this order are padded batch by batch."""
    ordered = np.asarray(lengths)[order]
    padded = sum(
        int(part.max()) * len(part)
        for part in (ordered[start : start + batch] for start in range(0, len(ordered), batch))
    )
    return 1 - int(ordered.sum()) / padded


def _show_lengths(lengths, batch):
    """Yield lines on how long rows are, and on what padding they take."""
    shares = (0.5, 0.9, 0.99, 1)
    found = np.quantile(lengths, shares, method="higher")
    said = ", ".join(f"{round(100 * share)} % up to {int(n)}" for share, n in zip(shares, found))
    yield f"   tokens a row: {said}"
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.randperm(len(lengths), generator=generator).numpy()
    grouped = get_length_grouped_indices(list(map(int, lengths)), batch, generator=generator)
    yield (
        f"   padding in batches of {batch}: {100 * _padding(lengths, shuffled, batch):.0f} %, grouped by "
        f"length {100 * _padding(lengths, grouped, batch):.0f} %"
    )


def _show_split(split, rows, encode_pair, tokenizer, data_args, training_args, colour):
    """Yield the lines that show one split."""
    shown = encode_split(split, rows, encode_pair, tokenizer, data_args, training_args)
    streaming = isinstance(shown, datasets.IterableDataset)
    for row in first_rows(shown, data_args.preview):
        source = data_args.source(split)
        place = f"{source}, a row" if streaming else place_of(rows, row["row"], source)
        yield from _show_row(tokenizer, place, row, colour)
    if streaming:
        yield f"{split}: a stream, whose rows are not counted"
        return
    cut = {
        part: int(
            (
                shown.data.column(f"{part}_length").to_numpy()
                > getattr(data_args, f"max_{part}_length")
            ).sum()
        )
        for part in ("source", "target")
    }
    yield (
        f"{split}, {data_args.source(split)}: {len(shown)} rows used, {len(rows) - len(shown)} skipped; "
        f"prompts cut: {cut['source']}, responses cut: {cut['target']}"
    )
    batch = (
        training_args.per_device_train_batch_size
        if split == "train"
        else training_args.per_device_eval_batch_size
    )
    yield from _show_lengths(shown.data.column(training_args.length_column_name).to_numpy(), batch)


def show_preview(raw_datasets, encode_pair, tokenizer, data_args, training_args):
    """With `--preview`, print what the data is to the model, and end the run.

    The first so many rows of each split are shown with their learnt tokens marked off, in colour
    on a terminal and in ⟦brackets⟧ elsewhere, then how many rows are used, skipped and cut, how
    long they are, and how much padding they take with and without grouping by length.

    Args:
        raw_datasets, encode_pair, tokenizer, data_args, training_args: as for `encode_datasets`.

    Raises:
        SystemExit: with status 0, if there was something to show.
        ValueError: as `encode_datasets`.
    """
    if data_args.preview is None:
        return
    if training_args.process_index == 0:
        # No terminal of another encoding than the data's is a reason to end here.
        sys.stdout.reconfigure(errors="backslashreplace")
        limits = sample_limits(data_args)
        for split, most in limits.items():
            rows = first_rows(raw_datasets[split], most) if split in raw_datasets else ()
            if not isinstance(rows, datasets.IterableDataset) and not len(rows):
                continue
            lines = _show_split(
                split, rows, encode_pair, tokenizer, data_args, training_args, sys.stdout.isatty()
            )
            for line in lines:
                print(line)
    raise SystemExit(0)

"""Prompt/response rows as training features: encoding, batching and the accuracy over responses."""

import functools
import json
import logging
import types

import datasets
import numpy as np
import torch

logger = logging.getLogger(__name__)

LABEL_IGNORED = -100  # torch.nn.CrossEntropyLoss's default ignore_index
ENCODING_LIMITS = ("max_source_length", "max_target_length")


def _check_columns(split, present, data_args):
    """Return the columns to read, as (prompt, response, history or None).

    Raises:
        ValueError: one of them is not in `present`.
    """
    columns = (data_args.prompt_column, data_args.response_column, data_args.history_column)
    for column in columns:
        if column is not None and column not in present:
            raise ValueError(
                f"Split {split!r} has no column {column!r}; its columns are: {', '.join(present)}."
            )
    return columns


def _bad_value(where, expected, found):
    """Return the error for a cell that holds something else than `expected`."""
    return ValueError(f"{where}: expected {expected}, found {type(found).__name__} {found!r:.80}.")


def _read_text(value, where):
    """Return `value` if it is text, "" for a blank or missing one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad_value(where, "text", value)
    return value if value.strip() else ""


def _read_history(value, where):
    """Return the earlier rounds as a list of (question, answer) pairs, [] for none.

    A string is read as JSON, for formats such as csv whose cells hold nothing else.
    """
    pairs = value
    if isinstance(value, str):
        try:
            pairs = json.loads(value) if value.strip() else None
        except ValueError:
            raise _bad_value(where, "JSON", value) from None
    if pairs is None:
        return []
    if not isinstance(pairs, (list, tuple)):
        raise _bad_value(where, "a list of [prompt, response] pairs", pairs)
    for pair in pairs:
        # A string of two letters would unpack as well.
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            raise _bad_value(where, "a [prompt, response] pair", pair)
    return [tuple(pair) for pair in pairs]


def _encode_batch(rows, indices, *, encode_pair, tokenizer, columns, limits, names, split):
    """Encode a batch of rows for `Dataset.map(batched=True)`; rows without both texts drop out.

    Args:
        rows: {column: list of values}.
        indices: the rows' numbers within the split, from 0.
        encode_pair: encodes one row, see `encode_datasets`.
        columns: names of the prompt, the response and, unless None, the history column.
        limits: object with the length limits, handed on to `encode_pair`.
        names: the features to return, even those of a batch without usable rows.
        split: the split's name, for messages.
    """
    prompt_column, response_column, history_column = columns
    encoded = []
    for position, index in enumerate(indices):
        at = f"Split {split!r}, row {index}"
        prompt = _read_text(rows[prompt_column][position], f"{at}, column {prompt_column!r}")
        response = _read_text(rows[response_column][position], f"{at}, column {response_column!r}")
        history = []
        if history_column is not None:
            history = _read_history(
                rows[history_column][position], f"{at}, column {history_column!r}"
            )
        if not prompt or not response:
            continue
        try:
            encoded.append(encode_pair(tokenizer, prompt, history, response, limits))
        except ValueError as error:
            raise ValueError(f"{at}: {error}") from error
    return {name: [row[name] for row in encoded] for name in names}


def encode_datasets(raw_datasets, encode_pair, tokenizer, data_args, training_args):
    """Turn prompt/response rows into unpadded token sequences, one per row.

    Only the splits the run needs are encoded: "train" for `do_train`, "validation" for `do_eval`.
    `max_train_samples` and `max_eval_samples` count rows of the data, so they apply before any row
    is encoded or skipped, and a large file costs no more than the rows that are used.

    Rows whose prompt or response is missing or blank are skipped and their number logged (not when
    streaming, where nobody knows it yet).

    Args:
        raw_datasets: mapping of splits, DatasetDict or IterableDatasetDict.
        encode_pair: `encode_pair(tokenizer, prompt, history, response, limits)` returns the
            features of one row as {name: list of int}; `history` is a list of (prompt, response)
            pairs and `limits` has `max_source_length` and `max_target_length`. A module-level
            function, for the cache and for worker processes.
        tokenizer: the model's tokenizer.
        data_args: the script's data arguments.
        training_args: transformers.TrainingArguments.

    Returns:
        A mapping like `raw_datasets`, with the encoded splits only.

    Raises:
        ValueError: a missing column, a value of the wrong kind (with split, row and column), or no
            row left to use.
    """
    # Just what encoding depends on: map() hashes it to find its cache, which a change of, say,
    # max_eval_samples should not invalidate.
    limits = types.SimpleNamespace(**{name: getattr(data_args, name) for name in ENCODING_LIMITS})
    wanted = {
        split: most
        for split, most, needed in (
            ("train", data_args.max_train_samples, training_args.do_train),
            ("validation", data_args.max_eval_samples, training_args.do_eval),
        )
        if needed and split in raw_datasets
    }
    result = type(raw_datasets)()
    if not wanted:
        return result
    # One made-up row shows which features there will be, which a batch of skipped rows alone does
    # not, and an unsuitable tokenizer before any data is read.
    names = list(encode_pair(tokenizer, "a", [], "a", limits))
    features = datasets.Features(
        {name: datasets.Sequence(datasets.Value("int32")) for name in names}
    )
    with training_args.main_process_first(desc="encoding prompts and responses"):
        for split, most in wanted.items():
            rows = raw_datasets[split]
            streaming = isinstance(rows, datasets.IterableDataset)
            # A stream may not know its columns before its first row is read.
            present = list(rows.features or next(iter(rows), {}))
            columns = _check_columns(split, present, data_args)
            options = {}
            if streaming:
                rows = rows if most is None else rows.take(most)
            else:
                rows = rows if most is None else rows.select(range(min(most, len(rows))))
                options = {
                    "num_proc": data_args.preprocessing_num_workers,
                    "load_from_cache_file": not data_args.overwrite_cache,
                    "desc": f"Encoding {split} rows",
                }
            encode = functools.partial(
                _encode_batch,
                encode_pair=encode_pair,
                tokenizer=tokenizer,
                columns=columns,
                limits=limits,
                names=names,
                split=split,
            )
            result[split] = rows.map(
                encode,
                with_indices=True,
                batched=True,
                remove_columns=present,
                features=features,
                **options,
            )
            if streaming:
                continue
            skipped = len(rows) - len(result[split])
            if not len(result[split]):
                raise ValueError(
                    f"Split {split!r} has no usable row: in all {len(rows)} of them the prompt "
                    f"({columns[0]!r}) or the response ({columns[1]!r}) is empty."
                )
            if skipped:
                logger.warning(
                    "Split %r: skipped %d of %d rows with an empty prompt or response.",
                    split,
                    skipped,
                    len(rows),
                )
    return result


class PairCollator:
    """Pads encoded rows on the right to the longest of their batch.

    The side matters for no model here: padding comes after every real token, causal attention
    keeps those from seeing it, and its labels are ignored. ChatGLM-6B derives its two-dimensional
    positions and its mask from the ids themselves, so no attention mask is made; one that the rows
    bring along is padded with 0.
    """

    def __init__(self, tokenizer, data_args, pad_to_multiple_of=None):
        """
        Args:
            tokenizer: its pad id, or else its end-of-text id, fills up `input_ids`.
            data_args: `ignore_pad_token_for_loss` decides whether labels are filled up with -100
                or with that same id.
            pad_to_multiple_of: round lengths up to a multiple of this; by default to 8 where there
                is a GPU, for its matrix units, else not at all.
        """
        pad_id = tokenizer.pad_token_id
        if pad_id is None:
            pad_id = tokenizer.eos_token_id
        if pad_id is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has neither a padding nor an end-of-text token to pad with."
            )
        label = LABEL_IGNORED if data_args.ignore_pad_token_for_loss else pad_id
        self.fillers = {"input_ids": pad_id, "labels": label, "attention_mask": 0}
        self.multiple = pad_to_multiple_of or (8 if torch.cuda.is_available() else 1)
        # Where the Trainer is given no tokenizer of its own it saves this one.
        self.tokenizer = tokenizer

    def __call__(self, rows):
        """Return {name: int64 tensor [rows, padded length]} for a list of {name: list of int}."""
        longest = max(len(row["input_ids"]) for row in rows)
        length = -(-longest // self.multiple) * self.multiple
        return {
            name: torch.tensor(
                [[*row[name], *[filler] * (length - len(row[name]))] for row in rows],
                dtype=torch.long,
            )
            for name, filler in self.fillers.items()
            if name in rows[0]
        }


class ResponseAccuracy:
    """Share of response tokens predicted right; takes the place of a metric from the hub."""

    def compute(self, predictions, references):
        """Return {"accuracy": float}, 0.0 where no token counts.

        Args:
            predictions: how many tokens were predicted right, row by row, as
                `AdapterTrainer.prediction_step` counts them; an array of any shape.
            references: how many there were to predict, in that same shape.

        Raises:
            ValueError: token ids instead of counts.
        """
        right, counted = np.asarray(predictions), np.asarray(references)
        if right.shape != counted.shape or (right < 0).any() or (right > counted).any():
            raise ValueError("ResponseAccuracy takes counts of tokens, not their ids.")
        return {"accuracy": float(right.sum() / max(counted.sum(), 1))}

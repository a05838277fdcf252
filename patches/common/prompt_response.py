"""Prompt/response rows as training features: encoding, batching and the accuracy over responses."""

import contextlib
import functools
import logging
import types

import datasets
import numpy as np
import torch

logger = logging.getLogger(__name__)

LABEL_IGNORED = -100  # torch.nn.CrossEntropyLoss's default ignore_index
ENCODING_LIMITS = ("max_source_length", "max_target_length")


def _rows_of(split, raw_datasets, data_args):
    """Return where a split's rows come from, for messages, and the number there of its first row.

    Without a validation file the script takes the first part of the training file for it; of a
    stream it takes rows from all over the file.
    """
    files = [getattr(data_args, name, None) for name in ("train_file", "validation_file")]
    train, validation = files
    if getattr(data_args, "dataset_name", None) is not None or not any(files):
        return f"Split {split!r}", 1
    if validation is not None:
        return (validation if split == "validation" or train is None else train), 1
    if isinstance(raw_datasets[split], datasets.IterableDataset):
        return f"{train}, split {split!r}", 1
    return train, 1 if split == "validation" else 1 + len(raw_datasets.get("validation", ()))


@contextlib.contextmanager
def _each_id_looked_up_once(tokenizer):
    """While this lasts, a tokenizer written in Python asks for the id of each token only once.

    It takes several calls for every single token, which is half of the time that encoding takes.
    Not longer than a batch: what a tokenizer remembers would be part of the cache's fingerprint.
    """
    if getattr(tokenizer, "is_fast", True):
        yield
        return
    look_up, known = tokenizer.convert_tokens_to_ids, {}

    def convert(tokens):
        if not isinstance(tokens, list):
            return look_up(tokens)
        known.update((token, look_up(token)) for token in set(tokens).difference(known))
        return [known[token] for token in tokens]

    tokenizer.convert_tokens_to_ids = convert
    try:
        yield
    finally:
        del tokenizer.convert_tokens_to_ids


def _encode_batch(
    rows,
    indices,
    *,
    encode_pair,
    read_row,
    tokenizer,
    columns,
    limits,
    names,
    length,
    source,
    first,
):
    """Encode a batch of rows for `Dataset.map(batched=True)`; rows without both texts drop out.

    Args:
        rows: {column: list of values}.
        indices: the rows' numbers within the split, from 0.
        encode_pair: encodes one row, see `encode_datasets`.
        read_row: reads one row, see the data arguments.
        columns: names of the prompt, the response and, unless None, the history column.
        limits: object with the length limits, handed on to `encode_pair`.
        names: the features to return, even those of a batch without usable rows.
        length: the name under which to return the rows' lengths, too.
        source, first: see `_rows_of`.
    """
    encoded = []
    cells = [rows[column] if column else [None] * len(indices) for column in columns]
    with _each_id_looked_up_once(tokenizer):
        for index, *values in zip(indices, *cells):
            prompt, response, history = read_row(values, columns, source, first + index)
            if not prompt or not response:
                continue
            try:
                encoded.append(encode_pair(tokenizer, prompt, history, response, limits))
            except ValueError as error:
                place = f"{source}, row {first + index} (counted from 1)"
                raise ValueError(f"{place}: {error}") from error
    lengths = {length: [len(row["input_ids"]) for row in encoded]}
    return {name: [row[name] for row in encoded] for name in names} | lengths


def encode_datasets(raw_datasets, encode_pair, tokenizer, data_args, training_args):
    """Turn prompt/response rows into unpadded token sequences, one per row.

    Only the splits the run needs are encoded: "train" for `do_train`, "validation" for `do_eval`.
    `max_train_samples` and `max_eval_samples` count rows of the data, so they apply before any row
    is encoded or skipped, and a large file costs no more than the rows that are used.

    Beside its features each row has its length, in `training_args.length_column_name`: batches of
    rows of similar length are made from that, without reading the rows.

    Rows whose prompt or response is missing or blank are skipped and their number logged (not when
    streaming, where nobody knows it yet).

    Args:
        raw_datasets: mapping of splits, DatasetDict or IterableDatasetDict.
        encode_pair: `encode_pair(tokenizer, prompt, history, response, limits)` returns the
            features of one row as {name: list of int}; `history` is a list of (prompt, response)
            pairs and `limits` has `max_source_length` and `max_target_length`. A module-level
            function, for the cache and for worker processes.
        tokenizer: the model's tokenizer.
        data_args: the script's data arguments, which also say how a row is read.
        training_args: transformers.TrainingArguments.

    Returns:
        A mapping like `raw_datasets`, with the encoded splits only.

    Raises:
        ValueError: a missing column, a value of the wrong kind (with file, row and column), no
            row left to use, or nothing to predict from.
    """
    if getattr(training_args, "do_predict", False):
        data_args.require_test_data(raw_datasets)  # now, not after hours of training
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
    length = training_args.length_column_name
    features[length] = datasets.Value("int32")
    with training_args.main_process_first(desc="encoding prompts and responses"):
        for split, most in wanted.items():
            rows = raw_datasets[split]
            streaming = isinstance(rows, datasets.IterableDataset)
            # A stream may not know its columns before its first row is read.
            present = list(rows.features or next(iter(rows), {}))
            source, first = _rows_of(split, raw_datasets, data_args)
            columns = data_args.find_columns(present, source)
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
                read_row=data_args.read_row,
                tokenizer=tokenizer,
                columns=columns,
                limits=limits,
                names=names,
                length=length,
                source=source,
                first=first,
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
                    f"{source} has no usable row: in all {len(rows)} of them the prompt "
                    f"({columns[0]!r}) or the response ({columns[1]!r}) is empty."
                )
            if skipped:
                logger.warning(
                    "%s: skipped %d of %d rows with an empty prompt or response.",
                    source,
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

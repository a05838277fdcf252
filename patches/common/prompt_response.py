"""Prompt/response rows as training features: encoding and batching."""

import contextlib
import functools
import json
import logging

import datasets
import numpy as np
import torch
from data_files import ROW_COLUMNS
from dialogues import as_messages, read_dialogue, used_columns
from nodes import _require_same
from positions import check_positions, note_longest
from user_error import UserError

logger = logging.getLogger(__name__)

LABEL_IGNORED = -100  # torch.nn.CrossEntropyLoss's default ignore_index


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
        new = list(set(tokens).difference(known))
        known.update(zip(new, look_up(new)))
        return [known[token] for token in tokens]

    tokenizer.convert_tokens_to_ids = convert
    try:
        yield
    finally:
        del tokenizer.convert_tokens_to_ids


def check_columns(present, columns, source, answered=True):
    """Raise UserError if `source` lacks a column that is needed."""
    for name in used_columns(columns):
        if name not in present and (answered or name != columns["response"]):
            raise UserError(
                f"{source} has no column {name!r}; its columns are: {', '.join(present)}."
            )


def read_dialogues(rows, indices, columns, split, answered=True):
    """Yield (place, history, prompt, response) for a batch {column: list of values}.

    Args:
        rows, indices: the batch, and its rows' numbers within the split, from 0.
        columns, answered: see `read_dialogue`, which says what is yielded.
        split: its name, for messages.
    """
    if set(ROW_COLUMNS) <= set(rows):  # of files, read when they were loaded
        for place, history, prompt, response in zip(*(rows[name] for name in ROW_COLUMNS)):
            yield place, json.loads(history) if history else [], prompt, response
        return
    for number, index in enumerate(indices):
        place = f"split {split!r}, row {index + 1} (counted from 1)"
        try:
            row = {name: values[number] for name, values in rows.items()}
            yield place, *read_dialogue(row, columns, answered)
        except UserError as error:
            raise UserError(f"{place}, {error}") from None


def _encode_batch(
    rows,
    indices,
    *,
    encode_pair,
    tokenizer,
    columns,
    limits,
    names,
    length,
    split,
    watch=None,
):
    """Encode a batch of rows for `Dataset.map(batched=True)`; rows without both texts drop out.

    Args:
        rows: {column: list of values}.
        indices: the rows' numbers within the split, from 0.
        encode_pair: encodes one row, see `encode_datasets`.
        columns: see `read_dialogue`.
        limits: object with the length limits, handed on to `encode_pair`.
        names: the features to return, even those of a batch without usable rows.
        length: the name under which to return the rows' lengths, too.
        split: its name, for messages.
        watch: is called with place and features of each row.
    """
    encoded, numbers = [], []
    with _each_id_looked_up_once(tokenizer):
        dialogues = read_dialogues(rows, indices, columns, split)
        for index, (place, history, prompt, response) in zip(indices, dialogues):
            if not prompt or not response:
                continue
            try:
                messages = as_messages(history, prompt, response)
                encoded.append(encode_pair(tokenizer, messages, limits))
                if watch is not None:
                    watch(place, encoded[-1])
            except UserError as error:
                raise UserError(f"{place}: {error}") from error
            numbers.append(index)
    found = {name: [row[name] for row in encoded] for name in names}
    return found | {length: [len(row["input_ids"]) for row in encoded], "row": numbers}


def _tell_cuts(source, rows, limits):
    """Log in one line how many rows of an encoded split were cut, and what would have held them."""
    said = []
    for part, what in (("target", "the response"), ("source", "the prompt or its history")):
        needed = rows.data.column(f"{part}_length").to_numpy()
        limit = getattr(limits, f"max_{part}_length")
        if cut := int((needed > limit).sum()):
            enough = int(np.quantile(needed, 0.99, method="higher"))
            said.append(
                f"{what} of {cut} of {len(needed)} rows at --max_{part}_length {limit} ({enough} would "
                "hold 99 % of the rows)"
            )
    if said:
        logger.warning("%s: cut %s.", source, ", and ".join(said))


class _StreamWatch:
    """Tells of the first row of a stream that is cut, and refuses one that is too long."""

    def __init__(self, limits, training_args):
        self.limits, self.training_args, self.told = limits, training_args, set()

    def __call__(self, place, row):
        limit, is_table = getattr(self.training_args, "positions", (None, False))
        if "long" not in self.told and limit is not None and len(row["input_ids"]) > limit:
            check_positions(place, len(row["input_ids"]), limit, is_table)
            self.told.add("long")
        for part in ("source", "target"):
            limit = getattr(self.limits, f"max_{part}_length")
            if part not in self.told and row[f"{part}_length"] > limit:
                self.told.add(part)
                logger.warning(
                    "%s: cut at --max_%s_length %d; no other row that is will be told.",
                    place,
                    part,
                    limit,
                )


def encode_split(split, rows, encode_pair, tokenizer, data_args, training_args):
    """Return one split, a Dataset or an IterableDataset, encoded; see `encode_datasets`.

    Raises:
        UserError: what cannot be read or used.
    """
    limits, columns = data_args.limits(), data_args.columns()
    # One made-up row shows which features there will be, which a batch of skipped rows alone does
    # not, and an unsuitable tokenizer before any data is read.
    shown = encode_pair(tokenizer, as_messages([], "a", "a"), limits)
    number, length = datasets.Value("int32"), training_args.length_column_name
    features = datasets.Features(
        {
            name: datasets.Sequence(number) if isinstance(value, list) else number
            for name, value in shown.items()
        }
        | {length: number, "row": datasets.Value("int64")}
    )
    streaming = isinstance(rows, datasets.IterableDataset)
    # A stream may not know its columns before its first row is read.
    present = list(rows.features or next(iter(rows), {}))
    source = data_args.source(split)
    if not set(ROW_COLUMNS) <= set(present):
        check_columns(present, columns, source)
    options = {}
    if not streaming:
        options = {
            "num_proc": getattr(data_args, "preprocessing_num_workers", None),
            "load_from_cache_file": not getattr(data_args, "overwrite_cache", False),
            "desc": f"Encoding {split} rows",
        }
    encode = functools.partial(
        _encode_batch,
        encode_pair=encode_pair,
        tokenizer=tokenizer,
        columns=columns,
        limits=limits,
        names=list(shown),
        length=length,
        split=split,
        watch=_StreamWatch(limits, training_args) if streaming else None,
    )
    found = rows.map(
        encode,
        with_indices=True,
        batched=True,
        remove_columns=present,
        features=features,
        **options,
    )
    if not streaming:
        _check_encoded(source, rows, found, data_args, training_args)
    return found


def place_of(rows, number, source):
    """Return where the row of that number, from 0, stands in the data, for messages."""
    return rows[number].get("place") or f"{source}, row {number + 1} (counted from 1)"


def _check_encoded(source, rows, found, data_args, training_args):
    """Refuse an encoded split without rows; tell of rows skipped and cut, note the longest."""
    if not len(found):
        raise UserError(
            f"{source} has no usable row: in all {len(rows)} of them the prompt or the response is empty."
        )
    lengths = found.data.column(training_args.length_column_name).to_numpy()
    longest = int(lengths.argmax())
    number = found.data.column("row")[longest].as_py()
    note_longest(training_args, place_of(rows, number, source), int(lengths[longest]))
    if training_args.process_index > 0:
        return
    if skipped := len(rows) - len(found):
        logger.warning(
            "%s: skipped %d of %d rows with an empty prompt or response.",
            source,
            skipped,
            len(rows),
        )
    _tell_cuts(source, found, data_args.limits())


class _EncodedOnDemand:
    """Encoded splits of a data set; one that the run was not said to use is encoded when asked for."""

    def __contains__(self, split):
        return split in self.raw_datasets

    def __missing__(self, split):
        self[split] = self.encode(split, self.raw_datasets[split])
        return self[split]


def _require_same_rows(splits, length):
    """Refuse splits, {name: Dataset}, whose rows other ranks have otherwise; a call for all ranks.

    Of each row its length counts, in the column `length`, and of a split the sum of its tokens: to
    read them all again would take long.

    Raises:
        UserError: as said.
    """
    for name, rows in splits.items():
        if not isinstance(rows, datasets.IterableDataset):
            tokens = rows.data.column("input_ids").chunks
            total = sum(int(chunk.flatten().to_numpy().sum()) for chunk in tokens)
            seen = rows.data.column(length).to_numpy().tobytes() + str(total).encode()
            _require_same(f"encoded {name} rows", seen)


def encode_datasets(raw_datasets, encode_pair, tokenizer, data_args, training_args):
    """Turn prompt/response rows into unpadded token sequences, one per row.

    The splits the run needs are encoded at once: "train" for `do_train`, "validation" for
    `do_eval`; another one when it is asked for. `max_train_samples` and `max_eval_samples` count
    rows of the data, so they apply before any row is encoded or skipped, and a large file costs no
    more than the rows that are used.

    Beside its features each row has its length, in `training_args.length_column_name`: batches of
    rows of similar length are made from that, without reading the rows.

    Rows whose prompt or response is missing or blank are skipped and their number logged (not when
    streaming, where nobody knows it yet); so is the number of rows that were cut.

    Args:
        raw_datasets: mapping of splits, DatasetDict or IterableDatasetDict.
        encode_pair: `encode_pair(tokenizer, messages, limits)` returns the features of one row as
            {name: list of int}, and as {"source_length": int, "target_length": int} the limits
            that would have held it whole. `messages` are those of `read_dialogue`, the last one
            the answer; `limits` has `max_source_length`, `max_target_length` and `learn`. A
            module-level function, for the cache and for worker processes.
        tokenizer: the model's tokenizer.
        data_args: the script's data arguments, which also say how a row is read.
        training_args: transformers.TrainingArguments.

    Returns:
        A mapping like `raw_datasets`, of encoded splits.

    Raises:
        UserError: a missing column, a value of the wrong kind (with file, row and column), no
            row left to use, nothing to predict from, or a script or rows other than another rank's.
    """
    if getattr(training_args, "do_predict", False):
        data_args.require_test_data(raw_datasets)  # now, not after hours of training
    with open(__file__, "rb") as file:
        _require_same("a script", file.read())
    most = sample_limits(data_args)

    def encode(split, rows):
        rows = first_rows(rows, most.get(split))
        if split == "validation" and hasattr(rows, "__len__") and not len(rows):
            raise UserError(
                f"--do_eval: {data_args.source(split)} is too small to take "
                "its --validation_split_percentage for evaluation: give --validation_file, or a larger one."
            )
        return encode_split(split, rows, encode_pair, tokenizer, data_args, training_args)

    result = type("EncodedDatasets", (_EncodedOnDemand, type(raw_datasets)), {})()
    result.raw_datasets, result.encode = raw_datasets, encode
    with training_args.main_process_first(desc="encoding prompts and responses"):
        for split, needed in (
            ("train", training_args.do_train),
            ("validation", training_args.do_eval),
        ):
            if needed and split in raw_datasets:
                result[split] = encode(split, raw_datasets[split])
    _require_same_rows(result, training_args.length_column_name)
    return result


def sample_limits(data_args):
    """Return {split: the most rows to use of it, or None}; releases need not have the arguments."""
    names = {"train": "max_train_samples", "validation": "max_eval_samples"}
    return {split: getattr(data_args, name, None) for split, name in names.items()}


def first_rows(rows, most):
    """Return the first `most` rows of a Dataset or IterableDataset; all for None."""
    if most is None:
        return rows
    if isinstance(rows, datasets.IterableDataset):
        return rows.take(most)
    return rows.select(range(min(most, len(rows))))


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
            raise UserError(
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

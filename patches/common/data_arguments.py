"""Arguments that describe prompt/response rows: what to read, how long it may get, what to predict."""

import glob
import json
import os
from dataclasses import dataclass, field
from typing import Optional

TEST_FILE_EXTENSIONS = ("csv", "json", "jsonl")


def _bad_value(expected, found):
    """Return the error for a cell that holds something else than `expected`."""
    return ValueError(f"expected {expected}, found {type(found).__name__} {found!r:.80}.")


def _read_text(value):
    """Return `value` if it is text, "" for a blank or missing one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad_value("text", value)
    return value if value.strip() else ""


def _read_history(value):
    """Return the earlier rounds as a list of (question, answer) pairs, [] for none.

    A string is read as JSON, for formats such as csv whose cells hold nothing else.
    """
    pairs = value
    if isinstance(value, str):
        try:
            pairs = json.loads(value) if value.strip() else None
        except ValueError:
            raise _bad_value("JSON", value) from None
    if pairs is None:
        return []
    if not isinstance(pairs, (list, tuple)):
        raise _bad_value("a list of [prompt, response] pairs", pairs)
    for pair in pairs:
        # A string of two letters would unpack as well.
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            raise _bad_value("a [prompt, response] pair", pair)
    return [tuple(pair) for pair in pairs]


@dataclass
class PromptResponseArguments:
    """Columns and limits of a prompt/response data set; a base class for the script's data arguments.

    Lengths are in tokens and follow ChatGLM-6B's own tuning recipe: `max_source_length` bounds the
    prompt together with the mask token after it, `max_target_length` the response together with
    the start and end tokens around it, so that no sequence is longer than their sum. What of a
    longer one is kept is up to the series' `encode_prompt` and `encode_pair`.
    """

    prompt_column: str = field(
        default="prompt", metadata={"help": "The column that holds the prompt."}
    )
    response_column: str = field(
        default="response", metadata={"help": "The column that holds the response to learn."}
    )
    history_column: Optional[str] = field(
        default=None,
        metadata={
            "help": "The column that holds the earlier rounds of the dialogue: a list of [prompt, response] "
            "pairs, or such a list as a JSON string (needed in csv files)."
        },
    )
    max_source_length: int = field(
        default=1024,
        metadata={
            "help": "The most tokens a prompt may take, its history included; what is too long is cut."
        },
    )
    max_target_length: int = field(
        default=128,
        metadata={"help": "The most tokens a response may take; the first ones are kept."},
    )
    ignore_pad_token_for_loss: bool = field(
        default=True, metadata={"help": "Whether padding is left out of the loss."}
    )
    test_file: Optional[str] = field(
        default=None,
        metadata={"help": "The csv, json or jsonl file whose prompts --do_predict answers."},
    )
    max_predict_samples: Optional[int] = field(
        default=None, metadata={"help": "Answer only the first so many rows of the test data."}
    )
    max_new_tokens: Optional[int] = field(
        default=None,
        metadata={
            "help": "The most tokens to generate for a prompt. Default: --max_target_length."
        },
    )
    num_beams: int = field(
        default=1, metadata={"help": "Beams to search with when predicting; 1 is greedy."}
    )

    def __post_init__(self):
        """Check what can be checked without reading anything.

        Raises:
            ValueError: a limit that leaves no room, an empty column name or an unusable or missing test file.
        """
        # A prompt needs one token besides the mask, a response one besides its start and its end.
        for name, least in (("max_source_length", 2), ("max_target_length", 3), ("num_beams", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}, not {getattr(self, name)}.")
        for name in ("max_predict_samples", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, not {value}.")
        for name in ("prompt_column", "response_column"):
            if not getattr(self, name):
                raise ValueError(f"--{name} must not be empty.")
        if self.max_new_tokens is None:
            self.max_new_tokens = self.max_target_length
        if self.test_file is None:
            return

        extension = os.path.splitext(self.test_file)[1][1:]
        if extension not in TEST_FILE_EXTENSIONS:
            raise ValueError(
                f"--test_file must end in .{', .'.join(TEST_FILE_EXTENSIONS)}, not {self.test_file!r}."
            )
        # It is read last: a wrong name must not show after hours of training.
        if "://" not in self.test_file and not glob.glob(self.test_file):
            raise ValueError(f"--test_file: there is no file {self.test_file!r}.")
        sources = ("dataset_name", "train_file", "validation_file")
        if all(getattr(self, name, None) is None for name in sources):
            # Prediction alone: the script still loads a data set first, and takes this one.
            self.validation_file = self.test_file

    def find_columns(self, present, source, response_needed=True):
        """Return the columns to read, as (prompt, response, history); None for one that is not.

        Args:
            present: the names of the columns there are.
            source: what is read, for the message.
            response_needed: whether the response's column must be there too.

        Raises:
            ValueError: a column is missing, or all are.
        """
        if not present:
            raise ValueError(f"{source} is empty.")
        response = self.response_column
        if not response_needed and response not in present:
            response = None
        columns = (self.prompt_column, response, self.history_column)
        for column in columns:
            if column is not None and column not in present:
                raise ValueError(
                    f"{source} has no column {column!r}; its columns are: {', '.join(present)}."
                )
        return columns

    @staticmethod
    def read_row(values, columns, source, number):
        """Return one row's prompt, response and history, for training and prediction alike.

        Args:
            values: the row's values of `columns`; those of columns that are None do not count.
            columns: the names of prompt, response and history column, see `find_columns`.
            source: what is read, for messages.
            number: the row's number in it, from 1, for messages.

        Returns:
            The two texts, "" where blank or missing, and a list of (question, answer) pairs.

        Raises:
            ValueError: a value of another type.
        """
        found = []
        for column, value, read in zip(columns, values, (_read_text, _read_text, _read_history)):
            try:
                found.append(read(None if column is None else value))
            except ValueError as error:
                raise ValueError(
                    f"{source}, row {number} (counted from 1), column {column!r}: {error}"
                ) from None
        return found

    def require_test_data(self, raw_datasets):
        """Raise ValueError unless there is a test file or a test split."""
        if self.test_file is None and "test" not in raw_datasets:
            raise ValueError("--do_predict needs a --test_file, or a data set with a test split.")

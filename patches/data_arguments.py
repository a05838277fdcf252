"""Arguments that describe prompt/response rows: what to read, how long it may get, what to predict."""

import os
from dataclasses import dataclass, field
from typing import Optional

TEST_FILE_EXTENSIONS = ("csv", "json", "jsonl")


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
            ValueError: a limit that leaves no room, an empty column name or an unusable test file.
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
        sources = ("dataset_name", "train_file", "validation_file")
        if all(getattr(self, name, None) is None for name in sources):
            # Prediction alone: the script still loads a data set first, and takes this one.
            if extension == "jsonl":
                raise ValueError(
                    "--test_file without any other data must end in .csv or .json: "
                    f"the script loads it as validation data too, so rename {self.test_file!r}."
                )
            self.validation_file = self.test_file

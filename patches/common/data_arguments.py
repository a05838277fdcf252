"""Arguments that describe prompt/response rows: what to read, how long it may get, what to predict."""

import re
import types
from dataclasses import dataclass, field
from typing import Optional

import datasets
from data_files import cut_split, file_kind, find_files, is_row_file, read_rows
from user_error import UserError

FILE_ARGUMENTS = {"train": "train_file", "validation": "validation_file", "test": "test_file"}
ENCODING_LIMITS = ("max_source_length", "max_target_length", "learn")


@dataclass
class PromptResponseArguments:
    """Columns and limits of a prompt/response data set; a base class for the script's data arguments.

    Lengths are in tokens and follow ChatGLM-6B's own tuning recipe: `max_source_length` bounds the
    prompt together with the mask token after it, `max_target_length` the response together with
    the start and end tokens around it, so that no sequence is longer than their sum. What of a
    longer one is kept is up to the series' `encode_prompt` and `encode_pair`.
    """

    prompt_column: str = field(
        default="prompt",
        metadata={
            "help": "The column that holds the prompt; of several, separated by commas, the texts are joined "
            "by a newline, blank ones left out."
        },
    )
    response_column: str = field(
        default="response", metadata={"help": "The column that holds the response to learn."}
    )
    history_column: Optional[str] = field(
        default=None,
        metadata={
            "help": "The column that holds the earlier rounds of the dialogue: a list of [prompt, response] "
            "pairs or of messages, or such a list as JSON text (needed in csv files)."
        },
    )
    messages_column: Optional[str] = field(
        default=None,
        metadata={
            "help": "The column that holds whole dialogues, in place of prompt, response and history: a list of "
            "messages with role and content (OpenAI) or from and value (ShareGPT), or such a list as JSON text."
        },
    )
    learn: str = field(
        default="last",
        metadata={
            "help": "Which answers of a dialogue are learnt: the last one, or all of them.",
            "choices": ["last", "all"],
        },
    )
    preview: Optional[int] = field(
        default=None,
        metadata={
            "help": "Show the first so many rows as the model will see them, and how long all rows are; train nothing."
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
        metadata={
            "help": "The csv, json or jsonl files whose prompts --do_predict answers, given as --train_file is: "
            "paths, patterns and folders, separated by commas."
        },
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
            UserError: a limit that leaves no room, an empty column name, or a file that is not
                there or is none of data.
        """
        # A prompt needs one token besides the mask, a response one besides its start and its end.
        for name, least in (("max_source_length", 2), ("max_target_length", 3), ("num_beams", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}, not {getattr(self, name)}.")
        for name in ("max_predict_samples", "max_new_tokens", "preview"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} must be at least 1, not {value}.")
        columns = self.columns()
        for name in ("prompt_column", "response_column"):
            if not columns[name.partition("_")[0]]:
                raise UserError(f"--{name} must not be empty.")
        if self.learn not in ("last", "all"):
            raise UserError(f"--learn must be last or all, not {self.learn!r}.")
        if self.max_new_tokens is None:
            self.max_new_tokens = self.max_target_length
        # The script looks at the end of these; what they name, in full, ends in that of a file.
        # Names with a comma in them would not come out of such a text again.
        self._found, self._read = {}, {}
        for name in FILE_ARGUMENTS.values():
            if getattr(self, name, None) is not None:
                paths = self.files(name)
                setattr(self, name, ",".join(paths))
                self._found[",".join(paths)] = paths
        sources = ("dataset_name", "train_file", "validation_file")
        # Prediction alone: the script still loads a data set first, and takes this one.
        self.only_predicts = all(getattr(self, name, None) is None for name in sources)
        if self.only_predicts:
            self.validation_file = self.test_file

    def columns(self):
        """Return which columns to read, as `read_dialogue` takes them."""
        return {
            "prompt": [name.strip() for name in self.prompt_column.split(",") if name.strip()],
            "response": self.response_column.strip(),
            "history": self.history_column or None,
            "messages": self.messages_column or None,
        }

    def limits(self):
        """Return just what encoding depends on; another `--max_eval_samples` is no other encoding."""
        return types.SimpleNamespace(**{name: getattr(self, name) for name in ENCODING_LIMITS})

    def source(self, split):
        """Return where a split's rows come from, for messages."""
        argument = FILE_ARGUMENTS[split]
        if split == "validation" and not getattr(self, argument, None):
            argument = "train_file"  # of which it is a part then
        if getattr(self, "dataset_name", None) is not None or not getattr(self, argument, None):
            return f"split {split!r}"
        first, *others = self._paths(getattr(self, argument), argument)
        return first + (f" and {len(others)} more" if others else "")

    def _paths(self, given, argument):
        """Return the paths that a text names which an argument has, or might have."""
        return self._found.get(given) or find_files(given, argument)

    def files(self, argument):
        """Return the paths that a file argument names, all of one kind or all read row by row.

        Raises:
            UserError: there are none, or of kinds that do not go together.
        """
        found = self._paths(getattr(self, argument), argument)
        kinds = sorted({"rows" if is_row_file(path) else file_kind(path) for path in found})
        if len(kinds) > 1 or kinds[0] not in ("rows", "parquet", "arrow"):
            odd = next(path for path in found if not is_row_file(path))
            raise UserError(
                f"--{argument}: {odd!r} is no csv, json or jsonl file, packed (.gz) or not, nor are all files "
                "parquet, or all arrow."
            )
        return found

    def load_files(self, path, *args, data_files=None, split=None, streaming=False, **options):
        """Load data files as `datasets.load_dataset` does, but with every text as it is spelled.

        Args:
            path: what `load_dataset` would read the files with.
            data_files: {split: what the argument that names its files says}; of a data set with a
                name, which `load_dataset` loads, None.
            split: a split, or a part of one such as "train[:5%]"; by default all of them.
            streaming: whether to read rows only when they are used.
            args, options: as for `load_dataset`, to which files with types of their own go.

        Returns:
            A data set of dialogues, see `read_rows`; without `split`, a mapping of them.

        Raises:
            UserError: what cannot be read.
        """
        if data_files is None:
            return datasets.load_dataset(path, *args, split=split, streaming=streaming, **options)
        files = {
            name: self._paths(given, FILE_ARGUMENTS.get(name, name))
            for name, given in data_files.items()
        }
        if not all(is_row_file(path) for paths in files.values() for path in paths):
            return self._load_typed(files, *args, split=split, streaming=streaming, **options)
        kind = datasets.IterableDatasetDict if streaming else datasets.DatasetDict
        wanted = files if split is None else [re.match(r"\w*", split)[0]]
        found = kind()
        for name in wanted:
            found[name] = self._read_once(name, files[name], streaming, options.get("cache_dir"))
        return found if split is None else cut_split(found[wanted[0]], split)

    def _read_once(self, split, files, streaming, cache_dir):
        """Return a split's rows, which the script asks for again when it cuts it in two."""
        argument = FILE_ARGUMENTS.get(split, split)
        if self.only_predicts and split == "validation":
            argument = "test_file"
        answered = argument != "test_file" and not self.only_predicts
        key = argument, tuple(files), streaming
        if key not in self._read:
            self._read[key] = read_rows(
                files, self.columns(), argument, answered, streaming, cache_dir
            )
        return self._read[key]

    def _load_typed(self, files, *args, **options):
        """Load parquet or arrow files, whose columns have types, with `load_dataset`."""
        kinds = {name: file_kind(paths[0]) for name, paths in files.items()}
        if len(set(kinds.values())) > 1 or any(is_row_file(paths[0]) for paths in files.values()):
            said = " and ".join(
                f"--{FILE_ARGUMENTS.get(name, name)} ({kinds[name]})" for name in kinds
            )
            raise UserError(f"{said} must be of one kind, or of csv, json and jsonl.")
        return datasets.load_dataset(kinds.popitem()[1], *args, data_files=files, **options)

    def require_test_data(self, raw_datasets):
        """Raise UserError unless there is a test file or a test split."""
        if self.test_file is None and "test" not in raw_datasets:
            raise UserError("--do_predict needs a --test_file, or a data set with a test split.")

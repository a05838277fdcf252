"""What a user did wrong is told in one line; a bug of ours keeps its traceback."""

import dis
import glob
import json
import logging
import os
import re
import sys
import traceback

import torch

logger = logging.getLogger(__name__)

# Library functions that load what a user names; an error that they raise is about that.
LOADING_FUNCTIONS = {
    "transformers": ("from_pretrained", "from_config", "_load_from_checkpoint"),
    "peft": ("from_pretrained", "get_peft_model"),
    "datasets": ("load_dataset",),
}
# Modules that read the command line, or the rows of a stream long after it was opened.
LOADING_MODULES = ("transformers.hf_argparser", "datasets.packaged_modules")
DATA_FILE_ARGUMENTS = ("train_file", "validation_file", "test_file")
REMOTE_CODE_MODULE = "transformers_modules"
UNTYPED_COLUMN_HINT = (
    "; a column with values, such as the history, has none in the first file or rows: "
    "put others first, or write it as JSON text in all rows"
)


def _one_line(text, most=600):
    """Return `text` with all white space collapsed, and its end cut off where it is too long."""
    text = " ".join(str(text).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _frames(error):
    """Return the (frame, offset of its current instruction) pairs of a traceback, outermost first."""
    found, step = [], error.__traceback__
    while step is not None:
        found.append((step.tb_frame, step.tb_lasti))
        step = step.tb_next
    return found


def _module(frame):
    return frame.f_globals.get("__name__") or ""


def _is_said_by(script, error):
    """Return whether a `raise` or `assert` of the file `script` made the error, here or in a worker."""
    if not isinstance(error, (ValueError, AssertionError)) or not str(error):
        return False
    # A pool of worker processes sends its errors with the traceback as text.
    in_worker = getattr(error.__cause__, "tb", None)
    if isinstance(in_worker, str):
        files = re.findall(r'^ *File "(.+)", line \d+, in ', in_worker, re.MULTILINE)
        return files[-1:] == [script]
    frame, offset = _frames(error)[-1]
    code = frame.f_code
    # An error of the same kind out of, say, int("x") is a bug, and stands at another instruction.
    return code.co_filename == script and code.co_code[offset] == dis.opmap["RAISE_VARARGS"]


def _is_loading(frame):
    """Return whether the frame is one of a library's that loads what a user names."""
    module = _module(frame)
    names = LOADING_FUNCTIONS.get(module.partition(".")[0], ())
    return frame.f_code.co_name in names or module.startswith(LOADING_MODULES)


def _root_cause(error):
    """Return the error that led to `error`."""
    while True:
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if not isinstance(cause, Exception):
            return error
        error = cause


def _json_rows(text):
    """Yield the rows of a JSON file: one array of objects, or objects one after another.

    Raises:
        ValueError: it is not JSON, or not of that form; says where.
    """
    decoder, position, number = json.JSONDecoder(), 0, 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"{place}: not JSON: {error.msg}.") from None
        for row in value if isinstance(value, list) else [value]:
            number += 1
            if not isinstance(row, dict):
                raise ValueError(
                    f"row {number} (counted from 1): expected an object, found {_one_line(repr(row), 80)}."
                )
            yield row


def _check_data_file(path, data_args):
    """Raise ValueError if the file `path` cannot be what `data_args` says, with path, row and column."""
    if not os.path.exists(path):
        raise ValueError(f"there is no file {path!r}.")
    try:
        with open(path, "rb") as file:
            lines = file.readlines()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path} is empty.")
    for number, line in enumerate(lines, start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position "
                f"{error.start + 1}); save the file as UTF-8."
            ) from None
    if not path.endswith((".json", ".jsonl")):
        return
    try:
        rows = list(_json_rows(b"".join(lines).decode("utf-8-sig")))
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    present = list(dict.fromkeys(column for row in rows for column in row))
    columns = data_args.find_columns(present, path, response_needed=False)
    for number, row in enumerate(rows, start=1):
        data_args.read_row([row.get(column) for column in columns], columns, path, number)


def _data_problem(frames):
    """Return what is wrong with the data files that were being read, "" if that does not show.

    The libraries' errors rarely name the file. The script's data arguments do; they are a local of
    one of its functions.
    """
    found = (value for frame, _ in frames for value in list(frame.f_locals.values()))
    data_args = next(
        (v for v in found if hasattr(v, "train_file") and hasattr(v, "read_row")), None
    )
    if data_args is None:
        return ""
    given = {
        f"--{name}": path
        for name in DATA_FILE_ARGUMENTS
        if (path := getattr(data_args, name, None)) and "://" not in path
    }
    for name, path in given.items():
        for file in sorted(glob.glob(path)) or [path]:
            try:
                _check_data_file(file, data_args)
            except ValueError as error:
                return f"{name}: {error}"
    kinds = {os.path.splitext(path)[1].replace(".jsonl", ".json") for path in given.values()}
    if len(kinds) > 1:
        return f"{' and '.join(given)} must be of one kind, not {' and '.join(sorted(kinds))}."
    return ""


def _user_error(error, script):
    """Return one line on what the user did wrong, None if `error` is something else.

    Args:
        error: an exception that was caught.
        script: path of the script, as its functions' code objects have it.
    """
    frames = _frames(error)
    if _is_said_by(script, error):
        return _one_line(error)
    modules = [_module(frame) for frame, _ in frames]
    if isinstance(error, KeyError) and modules[-1].startswith("transformers.models.auto"):
        return f"no model type {error}: give --model_name_or_path, or a --model_type that --help lists."
    reads_data = any(module.startswith("datasets.") for module in modules)
    # Of JSON the library finds out late that a text is not UTF-8: when it is first looked at.
    is_late = reads_data and isinstance(error, UnicodeDecodeError)
    if not is_late and not any(_is_loading(frame) for frame, _ in frames):
        return None
    if reads_data:
        if problem := _data_problem(frames):
            return _one_line(problem)
        if type(error).__module__.startswith("datasets."):
            wraps = type(error).__name__ == "DatasetGenerationError"  # and says nothing itself
            line = f"cannot load the data: {_one_line(_root_cause(error) if wraps else error)}"
            if line.endswith(" to null"):  # the type of a column without values
                line += UNTYPED_COLUMN_HINT
            return line
    remote = any(module.startswith(REMOTE_CODE_MODULE) for module in modules)
    expected = OSError if remote else (OSError, ValueError, ImportError)
    return _one_line(error) if isinstance(error, expected) else None


def _leave_process_group():
    """End a distributed run's process group, whose threads may abort a process that exits with it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run_main(main):
    """Run the script's `main()`: one line `error: …` and exit status 1 for what a user did wrong.

    That is an error which the script itself states, a data file that cannot be read, or arguments,
    a model, a tokenizer or an adapter that a library refuses. Its traceback is logged at debug
    level. All else is a bug and keeps its traceback. An interrupt exits with 130, as a shell has it.

    Every rank of a distributed run ends by itself, and the launcher stops those that wait for one
    which has ended; the others' lines say which rank they are.

    Returns:
        What `main()` returns.

    Raises:
        SystemExit: as said.
    """
    try:
        result = main()
        _leave_process_group()
        return result
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        line = _user_error(error, main.__code__.co_filename)
        if line is None:
            raise
        logger.debug("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    rank = os.environ.get("RANK", "0")
    who = "error" if rank == "0" else f"error on rank {rank}"
    sys.stderr.write(f"{who}: {line}\n")  # in one piece, since other ranks write there as well
    sys.stderr.flush()
    raise SystemExit(1)

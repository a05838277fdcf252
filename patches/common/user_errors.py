"""What a user did wrong is told in one line; a bug of ours keeps its traceback."""

import dis
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
REMOTE_CODE_MODULE = "transformers_modules"


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
    if reads_data and type(error).__module__.startswith("datasets."):
        wraps = type(error).__name__ == "DatasetGenerationError"  # and says nothing itself
        return f"cannot load the data: {_one_line(_root_cause(error) if wraps else error)}"
    remote = any(module.startswith(REMOTE_CODE_MODULE) for module in modules)
    expected = OSError if remote else (OSError, ValueError, ImportError)
    return _one_line(error) if isinstance(error, expected) else None


def _leave_process_group():
    """End a distributed run's process group, whose threads may abort a process that exits with it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()  # a rank that leaves while another still saves may abort, too
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

"""What a user did wrong is told in one line; a bug of ours keeps its traceback."""

import atexit
import contextlib
import errno
import hashlib
import logging
import os
import socket
import sys
import threading
import time
import traceback
from importlib.util import find_spec

import torch
from user_error import UserError

logger = logging.getLogger(__name__)

# What upstream's main() calls to load what a user names; an error in there is about that.
LOADING_FUNCTIONS = ("from_pretrained", "from_config", "load_dataset")
# Modules that read the command line, or the rows of a stream long after it was opened.
LOADING_MODULES = ("transformers.hf_argparser", "datasets.packaged_modules")
LIBRARIES = ("transformers", "datasets")
REMOTE_CODE_MODULE = "transformers_modules"
HEAD_START = 3  # seconds: more than launchers take to see that a rank has ended
# What gloo and NCCL say to a rank that waits for one that is there no longer.
GONE = ("Connection closed by peer", "remote process exited")
_told = []  # sockets, see `_is_first_to_tell`


def _one_line(text, most=600):
    """Return `text` with all white space collapsed, and its end cut off where it is too long."""
    text = " ".join(str(text).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _is_stated_by(script, error):
    """Return whether upstream's own part of the file `script` states the error, by raise or assert."""
    if not isinstance(error, (ValueError, AssertionError)) or not str(error):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename == script and last.line.startswith(("raise ", "assert "))


def _cause(error):
    """Return the error that led to `error`, or None."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return cause if isinstance(cause, Exception) else None


def _missing_package(error):
    """Return one line on a package that a model's own code needs and is not there, or None."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package == REMOTE_CODE_MODULE or not package:
        return None
    if find_spec(package) is not None:
        return None  # what it lacks is a part of it
    return f"the model's own code needs the package {package}: pip install {package}"


def _loading_error(error):
    """Return one line on what a library could not load, None if `error` is not about that."""
    calls = [
        (frame.f_globals.get("__name__") or "", frame.f_code.co_name)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    modules = [module for module, _ in calls]
    if isinstance(error, KeyError) and modules[-1].startswith("transformers.models.auto"):
        return f"no model type {error}: give --model_name_or_path, or a --model_type that --help lists."
    reads_data = any(module.startswith("datasets.") for module in modules)
    # Of JSON the library finds out late that a text is not UTF-8: when it is first looked at.
    is_late = reads_data and isinstance(error, UnicodeDecodeError)
    if not is_late and not any(
        module.startswith(LOADING_MODULES)
        or (module.partition(".")[0] in LIBRARIES and name in LOADING_FUNCTIONS)
        for module, name in calls
    ):
        return None
    if reads_data and type(error).__module__.startswith("datasets."):
        if type(error).__name__ == "DatasetGenerationError":  # says nothing itself
            while _cause(error) is not None:
                error = _cause(error)
        return f"cannot load the data: {error}"
    remote = any(module.startswith(REMOTE_CODE_MODULE) for module in modules)
    if remote and (missing := _missing_package(error)):
        return missing
    expected = OSError if remote else (OSError, ValueError, ImportError)
    return str(error) if isinstance(error, expected) else None


def _user_error(error, script):
    """Return one line on what the user did wrong, None if `error` is something else.

    Args:
        error: an exception that was caught.
        script: path of the script, as its functions' code objects have it.
    """
    stated = error
    while stated is not None:
        # By name: what a worker process raises comes back with a copy of the class.
        if type(stated).__name__ == UserError.__name__:
            return _one_line(stated)
        stated = _cause(stated)
    if isinstance(error, RuntimeError) and any(text in str(error) for text in GONE):
        return "another rank ended first, and says why."
    line = str(error) if _is_stated_by(script, error) else _loading_error(error)
    return None if line is None else _one_line(line)


def _leave_together():
    """End a rank of a distributed run, with all its work done, when all have done theirs.

    A rank that leaves while another still saves may abort that one; and threads of the process
    group, which nobody ends in good order, may abort the interpreter on its way out. So it goes
    without that way, once other threads have ended and all that registered for it was called.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        threading._shutdown()  # an upload may still be under way
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _is_first_to_tell(line):
    """Return whether no other rank that the same launcher started on this node tells `line`.

    A rank tells as long as it lives: it holds a name of a socket, which the system then takes back.
    """
    name = f"\0run_clm_lora-{os.getppid()}-{hashlib.sha256(line.encode()).hexdigest()}"
    is_main = os.environ.get("LOCAL_RANK", "0") == "0"
    end = time.monotonic() + (0 if is_main else HEAD_START)
    try:
        while time.monotonic() < end:  # the node's first rank tells, where it can
            with (
                contextlib.suppress(ConnectionRefusedError),
                socket.socket(socket.AF_UNIX) as other,
            ):
                other.connect(name)
                return False
            time.sleep(0.1)
        _told.append(socket.socket(socket.AF_UNIX))
        _told[-1].bind(name)
        _told[-1].listen()
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # or there are no such names here
    return True


def run_main(main):
    """Run the script's `main()`: one line `error: …` and exit status 1 for what a user did wrong.

    That is a `UserError` or what upstream's own part raises, or arguments, data, a model or a
    tokenizer that a library refuses to load, or that another rank has ended. Its traceback is
    logged at debug level. All else is a bug and keeps its traceback. An interrupt exits with 130, as a shell has it.

    Every rank of a distributed run ends by itself, and the launcher stops those that wait for one
    which has ended. What several ranks of a node find wrong is told by one of them; a line that is
    not rank 0's says which rank it is of.

    Returns:
        What `main()` returns.

    Raises:
        SystemExit: as said.
    """
    try:
        result = main()
        _leave_together()
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
    if "LOCAL_RANK" not in os.environ or _is_first_to_tell(line):
        sys.stderr.write(f"{who}: {line}\n")  # in one piece, since other ranks write there as well
        sys.stderr.flush()
    raise SystemExit(1)

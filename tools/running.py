"""How a command meets its surroundings: streams that are closed, full or not UTF-8, and signals."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from tools import git_variables
from tools.errors import UserError

STOPS = (signal.SIGTERM, signal.SIGHUP)  # unwind as Ctrl-C does, unless the caller ignores them


class Stopped(KeyboardInterrupt):
    """The signal ``number`` asked to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run(main: Callable[[], int]) -> int:
    """Run a program's ``main`` to its exit status; what stops it is a line, never a traceback."""
    _open_streams()
    git_variables.clean()
    for number in STOPS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        status = told(main)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of a diff has seen enough
        _drop(sys.stdout, sys.stderr)
        return 1
    except OSError as error:
        with contextlib.suppress(OSError):
            sys.stdout.flush()  # fails again where standard output is to blame
            raise
        print(f"error: standard output cannot be written ({error.strerror})", file=sys.stderr)
        _drop(sys.stdout)
        return 1


def told(main: Callable[[], int]) -> int:
    """What ``main`` returns; what it cannot do is told in a line each, and returns 1."""
    from codemods.engine.refusal import Refusal

    try:
        return main()
    except SystemExit as stop:  # argparse has printed what there is to say
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except Refusal as error:
        for refusal in (error, *error.also):
            print(f"error: {refusal}", file=sys.stderr)
    except KeyboardInterrupt as stop:
        print("interrupted: outputs are whole, the old ones or the new", file=sys.stderr)
        return 128 + getattr(stop, "number", signal.SIGINT)
    return 1


def _stop(number: int, _frame: object) -> None:
    for one in STOPS:  # cleaning up is not to be stopped
        signal.signal(one, lambda *_: None)
    raise Stopped(number)


@contextlib.contextmanager
def undisturbed():
    """Signals wait until the end of these few steps, which are done wholly or not at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOPS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_streams() -> None:
    """Closed ones become the null device, so that no other file gets their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number free: theirs
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, "w" if number else "r"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def _drop(*streams) -> None:
    """What these still hold goes nowhere, as Python writes it out at its end."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

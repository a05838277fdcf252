"""Reading a file where something else may stand: a FIFO, a device, a folder, a file without end."""

from __future__ import annotations

import errno
import os
import stat

LIMIT = 2_000_000  # bytes; upstream's file has some 30,000


def read(path: str | os.PathLike[str], limit: int = LIMIT) -> bytes:
    """The bytes of a regular file. OSError for what is none, which is not opened, or is larger."""
    state = os.stat(path)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", path)
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", path)
    with open(path, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit / 1e6:g} MB", path)
    return data


def too_large(what: str) -> str:
    """The line that refuses a text before anybody parses it."""
    return f"{what} is larger than {LIMIT / 1e6:g} MB, and no run_clm.py: give the right file"

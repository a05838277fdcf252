"""Files that are there to their last byte before they count, and what is said where none can be."""

import contextlib
import errno
import os
import shutil

from user_error import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
LEFT_OF_A_FULL_DISK = 1 << 20  # bytes; torch's own writer does not say why it failed


def _flush_files(folder):
    """Have the disk take all that was written to the files under `folder`."""
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(path, name)
            # Not every system flushes a file that is open for reading; a copied one may be read-only.
            with open(file, "rb+" if os.access(file, os.W_OK) else "rb") as opened:
                os.fsync(opened.fileno())


@contextlib.contextmanager
def _full_disk_told(folder):
    """Turn an error of whatever writes to `folder` into a UserError if it is that the disk is full."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        left = shutil.disk_usage(folder).free
        is_told = getattr(error, "errno", None) in FULL or "os error 28" in str(error)
        if not is_told and left > LEFT_OF_A_FULL_DISK:
            raise
        raise UserError(
            f"The disk of {os.path.abspath(folder)!r} is full ({left:,} bytes left): make room and start "
            "again; earlier checkpoints there are whole."
        ) from error

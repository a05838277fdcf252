"""The folder that a model is written to: looked at beforehand, then there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.errors import UserError


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest above it that there is."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


def check(dest: Path, sources: list[Path]) -> None:
    """Raise UserError unless ``dest`` can be made, apart from the folders in ``sources``."""
    if dest.is_symlink():
        raise UserError(f"{dest} is a symbolic link: give another folder")
    if os.path.ismount(dest):
        raise UserError(f"{dest} is a mount point, which nothing can be moved to: give one in it")
    if dest.exists() and not dest.is_dir():
        raise UserError(f"{dest} is a file: give another folder")
    for source in sources:
        if dest.resolve().is_relative_to(source.resolve()):
            raise UserError(
                f"{dest} is inside {source}, which it is made from: give another folder"
            )
    place = _nearest(dest.absolute().parent)
    if not place.is_dir():
        raise UserError(f"cannot write {dest}: {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {dest}: {place} is not writable")
    if dest.exists() and any(dest.iterdir()):
        raise UserError(f"{dest} is not empty: give another folder")


def require_space(dest: Path, size: int) -> None:
    """Raise UserError where the disk of ``dest`` has not ``size`` bytes left."""
    free = shutil.disk_usage(_nearest(dest)).free
    if free < size:
        raise UserError(
            f"{dest} takes {size / 1e9:.1f} GB, and there are {free / 1e9:.1f} GB free: "
            "give a folder on another disk"
        )


@contextlib.contextmanager
def written(dest: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``dest`` at the end; after an error nothing is left of it."""
    dest = Path(os.path.abspath(dest))
    parents = [place for place in dest.parents if not place.exists()]
    staging = dest.parent / f".{dest.name}-{os.getpid()}"
    try:
        staging.mkdir(parents=True)
        yield staging
        _let_read(staging)
        os.rename(staging, dest)  # over an empty folder, too
    except BaseException as error:  # an interrupt, too
        shutil.rmtree(staging, ignore_errors=True)
        for place in parents:  # the innermost first
            with contextlib.suppress(OSError):
                place.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"cannot write {dest}: {error.strerror or error}") from None
        raise


def _let_read(folder: Path) -> None:
    """Let those read the files who may read the folder: some libraries write for the owner alone.

    What is linked to elsewhere keeps its mode, which is that of the other place, too.
    """
    allowed = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1:
            file.chmod(allowed)

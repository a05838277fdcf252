"""What may stand where a file is looked for, and is none."""

from __future__ import annotations

import os
from pathlib import Path

KINDS = ("fifo", "device", "folder", "loop")


def put(kind: str, place: Path) -> None:
    """Something of a kind, one of KINDS, in place of what is there."""
    place.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to({"device": "/dev/zero", "loop": place.name}[kind])

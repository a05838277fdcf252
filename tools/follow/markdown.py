"""Markdown that holds any text, and fits where GitHub takes it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

BODY_BYTES = 65_000  # of an issue or pull request; GitHub takes 65,536 characters
COMMENT_BYTES = 58_000  # leaves room for what a pull request says before it
SUMMARY_BYTES = 1_000_000  # and 1 MiB


@dataclass(frozen=True)
class Block:
    """A text in a fence, folded away below its title: what is cut where a report is too long."""

    title: str
    kind: str
    text: str


def fence(kind: str, text: str) -> str:
    """``text`` as a code block, whatever backticks are in it."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}{kind}\n{text}\n{ticks}\n"


def _folded(block: Block, text: str) -> str:
    return f"<details><summary>{block.title}</summary>\n\n{fence(block.kind, text)}\n</details>\n"


def render(parts: list[str | Block], limit: int | None = None) -> str:
    """The parts one after another, within ``limit`` bytes of UTF-8 where there is one.

    Plain parts are kept whole. Blocks share what is left: small ones stay whole, large ones are
    cut at the end of a line, and say so.
    """
    room = {i: len(p.text.encode()) for i, p in enumerate(parts) if isinstance(p, Block)}
    if limit is not None:
        bare = [p if isinstance(p, str) else _folded(p, _cut(p.text, 0)) for p in parts]
        left = limit - sum(len(p.encode()) + 1 for p in bare) - 64 * len(room)
        for count, i in enumerate(sorted(room, key=room.__getitem__)):
            room[i] = min(room[i], max(0, left) // (len(room) - count))
            left -= room[i]
    return "\n".join(
        p if isinstance(p, str) else _folded(p, _cut(p.text, room[i])) for i, p in enumerate(parts)
    )


def _cut(text: str, room: int) -> str:
    """The first lines of ``text`` that fit in ``room`` bytes, and a note on those left out."""
    data = text.encode()
    if len(data) <= room:
        return text
    lines = text.split("\n")
    kept = data[:room].count(b"\n")
    note = f"… cut here: {len(lines) - kept} more lines; the whole is in the run's artifact or log"
    return "\n".join([*lines[:kept], note])


def run_link() -> str:
    """A link to the run of GitHub Actions that this is in, "" elsewhere."""
    parts = [os.environ.get(f"GITHUB_{n}", "") for n in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}" if all(parts) else ""

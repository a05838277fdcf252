"""tools/follow/markdown.py: any text is held, and a report fits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.follow.markdown import Block, fence, render

LINES = st.lists(st.text(alphabet="ab `~中𝄞<>", max_size=30), max_size=60).map("\n".join)


def fenced(text: str) -> list[str]:
    """The contents of the code blocks, as CommonMark reads them."""
    out, ticks = [], ""
    for line in text.split("\n"):
        if ticks:
            if set(line.rstrip()) == {"`"} and len(line.rstrip()) >= len(ticks):
                ticks = ""
            else:
                out[-1].append(line)
        elif match := re.match(r"(`{3,})[a-z]*$", line):
            ticks = match[1]
            out.append([])
    assert not ticks, "a fence is left open"
    return ["\n".join(block) for block in out]


@settings(derandomize=True, deadline=None)
@given(LINES)
def test_a_fence_holds_any_text(text: str) -> None:
    assert fenced(fence("diff", text)) == [text]


@settings(derandomize=True, deadline=None)
@given(st.lists(LINES, max_size=4), st.integers(600, 5000))
def test_a_report_fits_and_is_cut_at_lines(texts: list[str], limit: int) -> None:
    parts: list[str | Block] = ["# Head\n"]
    for text in texts:
        parts.append(Block("title", "diff", text))
    parts.append("The end.")
    shown = render(parts, limit)
    if len(texts) * 200 + 100 < limit:
        assert len(shown.encode()) <= limit
    assert shown.startswith("# Head\n")
    assert shown.endswith("The end.")
    for text, block in zip(texts, fenced(shown), strict=True):
        *kept, note = block.split("\n")
        if not note.startswith("… cut here: "):
            assert block == text
            continue
        assert len(kept) + int(note.split()[3]) == len(text.split("\n"))
        assert kept == text.split("\n")[: len(kept)]


def test_small_blocks_stay_whole() -> None:
    small, large = Block("s", "text", "short"), Block("l", "text", "line\n" * 10_000)
    shown = render([large, small], 5_000)
    assert fenced(shown)[1] == "short"
    assert 4_000 < len(shown) <= 5_000
    assert render([large, small]).count("line\n") == 10_000


@pytest.mark.parametrize("limit", [1_000_000, 58_000])
def test_real_limits(limit: int) -> None:
    diff = "\n".join(f"+第{n}行，很长的一行" for n in range(100_000))
    shown = render(["# Head\n", Block("script", "diff", diff), Block("sheet", "diff", diff)], limit)
    assert 0.9 * limit < len(shown.encode()) <= limit

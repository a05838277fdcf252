"""One line of code as HTML: escaped, coloured, with its changed characters marked."""

from __future__ import annotations

import unicodedata
from html import escape

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, String

from tools.review.rows import Spans

Tokens = list[tuple[str, str]]  # pieces of one line and their class; "" has no colour

_CLASSES = (
    (Keyword, "k"),
    (String, "s"),
    (Comment, "c"),
    (Number, "m"),
    (Name.Function, "f"),
    (Name.Class, "f"),
    (Name.Decorator, "f"),
)
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories that show nothing


def plain(lines: list[str]) -> list[Tokens]:
    return [[(line, "")] for line in lines]


def python(lines: list[str]) -> list[Tokens]:
    """Each line in coloured pieces; joined, they are the line."""
    out: list[Tokens] = [[]]
    for _, kind, value in PythonLexer().get_tokens_unprocessed("\n".join(lines)):
        colour = next((c for group, c in _CLASSES if kind in group), "")
        for i, piece in enumerate(value.split("\n")):
            if i:
                out.append([])
            if piece:
                out[-1].append((piece, colour))
    return out if lines else []


def text(value: str) -> str:
    """Escaped; characters that show nothing, or reorder what is shown, are named instead."""
    if value.isprintable():
        return escape(value)
    return "".join(
        f'<span class="ctl">U+{ord(c):04X}</span>' if _hidden(c) else escape(c) for c in value
    )


def _hidden(char: str) -> bool:
    return char != "\t" and unicodedata.category(char) in _HIDDEN


def line(tokens: Tokens, marks: Spans = ()) -> str:
    """HTML of one line; ``marks`` are the ranges of characters to put in <mark>."""
    length = sum(len(piece) for piece, _ in tokens)
    out, at = [], 0
    for first, last in marks:
        out.append(_between(tokens, at, first))
        out.append(f"<mark>{_between(tokens, first, last)}</mark>")
        at = last
    out.append(_between(tokens, at, length))
    return "".join(out)


def _between(tokens: Tokens, first: int, last: int) -> str:
    out, at = [], 0
    for piece, colour in tokens:
        part = text(piece[max(0, first - at) : max(0, last - at)])
        at += len(piece)
        if part:
            out.append(f'<span class="{colour}">{part}</span>' if colour else part)
    return "".join(out)

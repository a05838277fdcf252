"""The same tokens, or almost, laid out in another way."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from random import Random

from tests.fuzz.mutations.code import Code
from tests.fuzz.mutations.common import mutation, pick


@mutation(True)
def unparse_all(code: Code, random: Random) -> str | None:
    """No comments, one line a statement."""
    return ast.unparse(code.tree) + "\n"


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


@mutation(True)
def windows_newlines(code: Code, random: Random) -> str | None:
    return code.text.replace("\r\n", "\n").replace("\n", "\r\n")


@mutation(True)
def two_space_indent(code: Code, random: Random) -> str | None:
    inside = set()
    for t in _tokens(code.text):
        if t.type == tokenize.STRING:
            inside.update(range(t.start[0] + 1, t.end[0] + 1))
    unit = random.choice(("  ", "\t"))
    return "".join(
        line if i in inside else re.sub(r"^(?:    )+", lambda m: unit * (len(m[0]) // 4), line)
        for i, line in enumerate(code.text.splitlines(keepends=True), 1)
    )


@mutation(True)
def semicolons(code: Code, random: Random) -> str | None:
    pairs = [
        (a, b)
        for block in code.blocks
        for a, b in zip(block, block[1:], strict=False)
        if isinstance(a, (ast.Assign, ast.Expr))
        and isinstance(b, (ast.Assign, ast.Expr))
        and b"#" not in code.bytes[code.span(a)[1] : code.span(b)[0]]
    ]
    if not (pair := pick(random, pairs)):
        return None
    return code.edit((code.span(pair[0])[1], code.span(pair[1])[0], "; "))


@mutation(True)
def odd_layout(code: Code, random: Random) -> str | None:
    which = random.randrange(5)
    if which == 0:
        return "\ufeff" + code.text if not code.text.startswith("\ufeff") else None
    if which == 1:
        return code.text.rstrip("\n")
    if which == 2:
        return "\n\n" + code.text
    if which == 3:
        return code.text + "\n\n# the end\n"
    s = pick(random, code.statements)
    return (
        code.edit((code.span(s)[0], code.span(s)[0], "# a comment\n\n" + code.indent(s)))
        if s
        else None
    )

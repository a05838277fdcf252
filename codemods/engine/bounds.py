"""How large and how deep a text may be: parsers, and whoever walks their trees, take memory and stack.

What people write is far below: upstream's script has 7,000 words and signs, 16 deep.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from types import SimpleNamespace

from .refusal import Refusal

TOKENS = 100_000
DEPTH = 100
CASE_BRACKETS = 12  # for each more in a pattern, libcst takes twice the time
_FLAT = {
    ast.BoolOp: "values",
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "generators"),
}
PATIENCE = 20  # seconds, for a text that is refused anyway


def of_text(text: str) -> None:
    """Refusal for a text that is not to be parsed at all."""
    if len(re.findall(r"\w+|[^\w\s]|\n", text)) > TOKENS:
        raise Refusal(f"upstream's file has more than {TOKENS:,} words and signs")


def too_deep(line: int | None = None) -> Refusal:
    return Refusal(f"upstream's file is nested too deep{f' (line {line})' if line else ''}")


def of_tree(script) -> None:
    """Refusal for what is flat in Python's tree and deep, or long to find, in libcst's."""
    for node in script.nodes:
        row = getattr(node, _FLAT.get(type(node), ""), ())
        if len(row) > DEPTH or (isinstance(node, ast.alias) and node.name.count(".") > DEPTH):
            raise too_deep(node.lineno)
        if isinstance(node, ast.Match):
            _of_cases(script, node)


def _of_cases(script, match: ast.Match) -> None:
    """Brackets are counted from what comes before a case to its body: no node has all of these."""
    before = match.subject
    for case in match.cases:
        first = case.body[0]
        place = SimpleNamespace(
            lineno=before.end_lineno,
            col_offset=before.end_col_offset,
            end_lineno=first.lineno,
            end_col_offset=first.col_offset,
        )
        if len(re.findall(r"[(\[{]", script.code(place))) > CASE_BRACKETS:
            raise too_deep(case.pattern.lineno)
        before = case.body[-1]


def is_newer_python(text: str) -> bool:
    """Does libcst, which knows later syntax, parse what this Python does not?

    In a process of its own: there are texts that end its parser, and the process with it.
    """
    parse = "import sys, libcst; libcst.parse_module(sys.stdin.buffer.read())"
    try:
        ran = subprocess.run(
            [sys.executable, "-c", parse],
            input=text.encode(),
            capture_output=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return False
    return ran.returncode == 0

"""Upstream texts that nobody would write: told in a line, never a traceback, and soon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codemods.engine import bounds
from codemods.engine.refusal import Refusal
from tests.miniature import SHAPES
from tools import regular
from tools.errors import UserError
from tools.regenerate import series, transform
from tools.upstream import fetch as upstream

ROOT = Path(__file__).resolve().parents[2]
TEXT = (SHAPES / "v4.28.0.py").read_text(encoding="utf-8")
CHATGLM = series.load("chatglm")
DEEP = {  # n → code that is n deep, in one tree or the other
    "parentheses": lambda n: "x = " + "(" * n + "1" + ")" * n,
    "lists": lambda n: "x = " + "[" * n + "]" * n,
    "dicts": lambda n: "x = " + "{1:" * n + "1" + "}" * n,
    "calls in calls": lambda n: "x = " + "f(" * n + ")" * n,
    "calls of calls": lambda n: "x = a" + "()" * n,
    "attributes": lambda n: "x = a" + ".b" * n,
    "subscripts": lambda n: "x = a" + "[0]" * n,
    "unary": lambda n: "x = " + "-" * n + "1",
    "not": lambda n: "x = " + "not " * n + "1",
    "plus": lambda n: "x = " + "+".join("1" * n),
    "power": lambda n: "x = " + "**".join("1" * n),
    "and": lambda n: "x = " + " and ".join("1" * n),
    "conditions": lambda n: "x = " + "1 if 1 else " * n + "1",
    "lambdas": lambda n: "x = " + "lambda: " * n + "1",
    "strings": lambda n: "x = (" + "'a' " * n + ")",
    "f-strings": lambda n: "x = (" + "f'{a}' " * n + ")",
    "comprehensions": lambda n: "x = " + "[" * n + "1" + " for a in b]" * n,
    "for after for": lambda n: "x = [1" + " for a in b" * n + "]",
    "elif": lambda n: "if 1:\n  pass\n" + "elif 1:\n  pass\n" * n,
    "functions": lambda n: "".join(" " * i + "def f():\n" for i in range(n)) + " " * n + "pass",
    "import": lambda n: "import " + ".".join("a" * n),
    "patterns": lambda n: "match x:\n  case " + "[" * n + "]" * n + ": pass",
    "pattern groups": lambda n: "match x:\n  case " + "(" * n + "1" + ")" * n + ": pass",
}
WIDE = {
    "comparisons": "x = " + "<".join("1" * 2000),
    "decorators": "@d\n" * 2000 + "def f(): pass",
    "assignments": "x = " * 2000 + "1",
    "statements": "x;" * 2000,
    "a long line": "x = '" + "a" * 1_500_000 + "'",
}


def made(data: str | bytes, folder: Path) -> transform.Result:
    file = folder / "mine.py"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return transform.transform(upstream.from_file(file), CHATGLM)


def refused(data: str | bytes, folder: Path) -> str:
    with pytest.raises((Refusal, UserError)) as caught:
        made(data, folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("size", [300, 6000])
def test_deep_nesting_is_a_line(tmp_path: Path, kind: str, size: int) -> None:
    if kind == "functions":
        size = min(size, 900)  # their indents are two megabytes
    if "strings" in kind:
        size = max(size, 2000)  # what stands in hundreds of pieces is still taken
    said = refused(f"{TEXT}\n\n{DEEP[kind](size)}\n", tmp_path)
    assert "nested too deep" in said or "not Python that libcst parses" in said


@pytest.mark.parametrize("kind", WIDE)
def test_what_is_long_and_flat_is_taken(tmp_path: Path, kind: str) -> None:
    assert WIDE[kind] in made(f"{TEXT}\n\n{WIDE[kind]}\n", tmp_path).text


def test_a_large_text_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TOKENS", 20_000)
    for many in ("x\n", "x;", "\n", "# a\n", "'' "):
        assert "more than 20,000 words and signs" in refused(TEXT + many * 20_000, tmp_path)
    monkeypatch.setattr(regular, "LIMIT", 1000)
    for call in (refused, lambda data, at: refused(b"\xff" * 2000, at)):
        assert "larger than 0.001 MB" in call(TEXT, tmp_path)


@pytest.mark.parametrize(
    "code",
    ["type X = int", "def f[T](x: T): pass", 'x = f"{\'a\' + f"{1}"}"', "x = t'a{1}'"],
)
def test_newer_python_is_told_as_such(tmp_path: Path, code: str) -> None:
    try:
        compile(code, "code", "exec")
        pytest.skip("this Python knows it")
    except SyntaxError:
        pass
    said = refused(f"{TEXT}\n{code}\n", tmp_path)
    assert (
        "is of a newer Python than this one" in said and f"line {TEXT.count(chr(10)) + 2}" in said
    )


@pytest.mark.parametrize("code", [")(", "x = '''a", "x = 1\0", "\x1a", "  x"])
def test_what_no_python_takes(tmp_path: Path, code: str) -> None:
    assert "is not Python" in refused(f"{TEXT}\n{code}\n", tmp_path)


@pytest.mark.parametrize(
    "head", ["# -*- coding: latin-1 -*-", "#!/usr/bin/env python\n# vim: set fileencoding=gbk :"]
)
def test_another_coding_is_refused(tmp_path: Path, head: str) -> None:
    assert "declares the coding" in refused(f"{head}\n{TEXT}", tmp_path)


def test_utf8_may_be_declared(tmp_path: Path) -> None:
    head = "# -*- coding: utf-8 -*-\n"
    assert made(head + TEXT, tmp_path).text.startswith(head)


SPELLED = {
    "CRLF": TEXT.replace("\n", "\r\n"),
    "CR": TEXT.replace("\n", "\r"),
    "mixed": TEXT.replace("\n\n", "\r\n\n"),
    "form feeds": "\f" + TEXT.replace("\n\n\n", "\n\f\n\n").replace("\n    def ", "\n\f    def "),
    "odd line ends": TEXT.replace("\n\n", "\n# \v \x1c \x85 \u2028 x\n", 1),
    "byte order mark": "\ufeff" + TEXT,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(TEXT, tmp_path_factory.mktemp("plain")).text


@pytest.mark.parametrize("how", SPELLED)
def test_spellings_stay(tmp_path: Path, plain: str, how: str) -> None:
    text = made(SPELLED[how], tmp_path).text
    compile(text.encode(), "script", "exec")
    assert text.startswith("\ufeff") == (how == "byte order mark")
    if end := {"CRLF": "\r\n", "CR": "\r"}.get(how):
        lines = zip(plain.split("\n"), text.split(end), strict=True)
        assert [a[:7] for a, b in lines if a != b] == ["# Ref: "]  # the blob's name
        assert text.replace(end, "").isprintable()
    for part in ("\f", "\v", "\x1c", "\x85", "\u2028"):
        assert (part in text) == (part in SPELLED[how])


def test_a_parser_that_crashes_is_asked_elsewhere() -> None:
    """libcst's native parser ends its process at 20,000 parentheses."""
    assert not bounds.is_newer_python("x = " + "(" * 20_000 + "1" + ")" * 20_000)


def test_the_command_line_says_it_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "deep.py"
    file.write_text(f"{TEXT}\nx = {'-' * 3000}1\n", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "tools", "diff", "--upstream-file", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert ran.stderr == "error: the series does not apply: upstream's file is nested too deep\n"

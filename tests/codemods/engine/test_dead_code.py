"""codemods/engine/dead_code.py: what goes with a statement is seen in the codemods' own tables"""

from __future__ import annotations

import ast

import pytest

from codemods.engine.dead_code import DeadCode, only_binds, only_tells
from codemods.engine.script import Script
from tests.codemods.helpers import OLD, each, render

BINDS = {
    "x = 1": True,
    "x = f(y)": True,
    "if a:\n    x = 1\nelse:\n    y = 2": True,
    "with a() as x:\n    logger.info(x)": True,
    "try:\n    x = 1\nexcept E as e:\n    x = e": True,
    "def f():\n    return send(1)": True,
    "from a import b": True,
    "@d\ndef f(): pass": False,
    "x = 1\nsend(x)": False,
    "if a:\n    x = send(1)\n    send(x)": False,
    "x.y = 1": False,
    "x[0] = y = 1": False,
    "if a:\n    return": False,
    "if a:\n    raise b": False,
    "with a:\n    assert x": False,
    "x = tokenizer.add_tokens(1)": False,
    "x = tokenizer(1)": True,
    "x = raw.map(f)": True,
    "x = raw.pop('a')": False,
    "x = grow(model)": False,
    "x = len(raw)": True,
    "x = load_dataset('a')": False,
    "x = AutoTokenizer.from_pretrained('a')": False,
    "global x": False,
}


@pytest.mark.parametrize(("code", "holds"), BINDS.items(), ids=BINDS)
def test_only_binds(code, holds):
    s = Script(render(OLD, {"end": code}))
    added = len(ast.parse(code).body)
    assert all(only_binds(s, step) for step in s.main.body[-added:]) is holds


TELLS = {
    "logger.info(x)": True,
    "print(x)": True,
    "raise E(x)": True,
    "assert x": True,
    "if x:\n    print(x)\nelif y:\n    raise x": True,
    "if x:\n    print(x)\n    y = 1": False,
    "send(x)": False,
    "'a string'": False,
}


@pytest.mark.parametrize(("code", "holds"), TELLS.items(), ids=TELLS)
def test_only_tells(code, holds):
    assert only_tells(ast.parse(code).body[0]) is holds


DEAD = {
    "what fed it": ("a = 1\nb = a\nGONE(b)", "a = 1\nb = a"),
    "what fed something else, too": ("a = 1\nGONE(a)\nsend(a)", ""),
    "what nobody reads was no part of it": ("a = 1\nGONE()", ""),
    "what only it fed": ("b = GONE()\nprint(b)", "print(b)"),
    "what it and others fed stays": ("b = GONE()\nb = 1\nprint(b)", ""),
    "a message about what fed it": ("a = 1\nlogger.info(a)\nGONE(a)", "a = 1\nlogger.info(a)"),
    "a message in a function stays, with what it tells": ("a = 1\ndef f():\n    print(a)\nGONE(a)\nf()", ""),
    "the model never goes": ("model = f(model)\nGONE(model)", ""),
    "in a branch": ("if x:\n    a = 1\n    send(1)\nGONE(a)", "a = 1"),
}  # fmt: skip


@each("end, dead", DEAD)
def test_what_goes(end, dead):
    s = Script(render(OLD, {"end": end}))
    gone = next(s.statement(c) for c in s.calls if s.called(c) == "GONE")
    found = [n for n in DeadCode(s, [gone]).statements if n is not gone]
    assert "\n".join(s.code(n) for n in found) == dead

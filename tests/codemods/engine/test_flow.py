"""codemods/engine/flow.py"""

from __future__ import annotations

import pytest

from codemods.engine.flow import is_bound
from codemods.engine.script import Script
from tests.codemods.helpers import OLD, each, render

BOUND = {
    "before": ("x = 1\nf(x)", True),
    "after": ("f(x)\nx = 1", False),
    "never": ("f(x)", False),
    "in both branches": ("if a:\n    x = 1\nelse:\n    x = 2\nf(x)", True),
    "in one branch": ("if a:\n    x = 1\nf(x)", False),
    "in the other branch": ("if a:\n    x = 1\nelse:\n    f(x)", False),
    "in the branch": ("if a:\n    x = 1\n    f(x)", True),
    "or the run ends": ("if a:\n    x = 1\nelse:\n    raise b\nf(x)", True),
    "in a chain of branches": (
        "if a:\n    x = 1\nelif b:\n    x = 2\nelse:\n    x = 3\nf(x)",
        True,
    ),
    "in a with": ("with a:\n    x = 1\nf(x)", True),
    "by a with": ("with a as x:\n    f(x)", True),
    "by a loop": ("for x in a:\n    pass\nf(x)", True),
    "in a loop": ("while a:\n    x = 1\nf(x)", True),
    "in a try": ("try:\n    x = 1\nfinally:\n    a()\nf(x)", True),
    "where a try fails": ("try:\n    a()\nexcept E:\n    x = 1\nf(x)", False),
    "by a walrus": ("a(x := 1)\nf(x)", True),
    "by an import": ("import x\nf(x)", True),
    "deleted": ("x = 1\ndel x\nf(x)", False),
    "deleted in a branch": ("x = 1\nif a:\n    del x\nf(x)", False),
    "deleted later": ("x = 1\nf(x)\ndel x", True),
    "a function's own": ("def g():\n    x = 1\nf(x)", False),
    "by a function": ("def g():\n    nonlocal x\n    x = 1\ng()\nf(x)\nx = 2", True),
    "within a function": ("x = 1\ndef g():\n    f(x)", True),
}


@each("end, holds", BOUND)
def test_is_bound(end, holds):
    s = Script(render(OLD, {"end": end}))
    call = next(c for c in s.calls if s.called(c) == "f")
    assert is_bound(s, "x", call) is holds


@pytest.mark.parametrize(
    "helper", ["def f(a, *, x=1):\n    x", "x = 1\ny = x", "def f(**x):\n    x"]
)
def test_parameters_and_names_of_the_module_are_bound(helper):
    s = Script(helper)
    assert is_bound(s, "x", s.reads["x"][0])

"""codemods/engine/syntax.py"""

from __future__ import annotations

import libcst as cst
import pytest

from codemods.engine import syntax

ARGUMENTS = {
    "none": ("f()", "f(x=1)"),
    "one": ("f(a)", "f(a, x=1)"),
    "a comma": ("f(a,)", "f(a, x=1)"),
    "a comma and a space": ("f(a, )", "f(a, x=1)"),
    "stars": ("f(*a, **b)", "f(*a, **b, x=1)"),
    "nested": ("f(g(a, b), c=h(d))", "f(g(a, b), c=h(d), x=1)"),
    "a method": ("a.b[0].f(c)", "a.b[0].f(c, x=1)"),
    "a generator": ("f((n for n in a))", "f((n for n in a), x=1)"),
    "hanging": ("f(a,\n  b=2)", "f(a,\n  b=2, x=1)"),
    "a line each": ("f(\n    a,\n    b=2,\n)", "f(\n    a,\n    b=2,\n    x=1,\n)"),
    "a line each, no comma": ("f(\n    a,\n    b=2\n)", "f(\n    a,\n    b=2,\n    x=1\n)"),
    "all on one line of their own": ("f(\n    a, b=2,\n)", "f(\n    a, b=2,\n    x=1,\n)"),
    "a comment at the end": ("f(\n    a,  # why\n)", "f(\n    a,  # why\n    x=1,\n)"),
    "a comment on a line of its own": (
        "f(\n    a,\n    # end\n)",
        "f(\n    a,\n    # end\n    x=1,\n)",
    ),
    "a comment at the start": ("f(  # go\n    a,\n)", "f(  # go\n    a,\n    x=1,\n)"),
    "a blank line": ("f(\n\n    a,\n)", "f(\n\n    a,\n    x=1,\n)"),
}


@pytest.mark.parametrize(("before", "after"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_add_argument(before, after):
    check(before, after, syntax.add_argument("x=1"))


def test_add_argument_of_each_kind():
    for code in ("x", "x=1", "*x", "**x", "**f(a, b)"):
        check("f(a)", f"f(a, {code})", syntax.add_argument(code))


ENTRIES = {
    "none": ("{}", '{"x": 1}'),
    "one": ('{"a": 2}', '{"a": 2, "x": 1}'),
    "a comma": ('{"a": 2,}', '{"a": 2, "x": 1,}'),
    "a comma and a space": ('{"a": 2, }', '{"a": 2, "x": 1, }'),
    "stars": ("{**a}", '{**a, "x": 1}'),
    "a line each": ('{\n    "a": 2,\n}', '{\n    "a": 2,\n    "x": 1,\n}'),
    "a line each, no comma": ('{\n    "a": 2\n}', '{\n    "a": 2,\n    "x": 1\n}'),
    "a comment at the end": ('{\n    "a": 2,  # b\n}', '{\n    "a": 2,  # b\n    "x": 1,\n}'),
    "a comment at the start": ('{  # b\n    "a": 2,\n}', '{  # b\n    "a": 2,\n    "x": 1,\n}'),
    "a comment on a line of its own": (
        '{\n    "a": 2,\n    # b\n}',
        '{\n    "a": 2,\n    # b\n    "x": 1,\n}',
    ),
    "a nested one": ('{"a": {"b": 2}}', '{"a": {"b": 2}, "x": 1}'),
}


@pytest.mark.parametrize(("before", "after"), ENTRIES.values(), ids=ENTRIES)
def test_add_entry(before, after):
    check(before, after, syntax.add_entry("x", "1"))


GONE = {
    "f(x=1)": "f()",
    "f(a, x=1)": "f(a)",
    "f(x=1, **a)": "f(**a)",
    "f(a, x=1,)": "f(a,)",
    "f(\n    a,\n    x=1,  # why\n    b=2,\n)": "f(\n    a,\n    b=2,\n)",
    "f(\n    a,\n    x=1\n)": "f(\n    a\n)",
    "f(x)": "f(x)",
    '{"x": 1}': "{}",
    '{"a": 2, "x": 1}': '{"a": 2}',
    '{"x": 1, **a}': "{**a}",
    '{\n    "a": 2,\n    "x": 1,\n}': '{\n    "a": 2,\n}',
    "{x: 1}": "{x: 1}",
}


@pytest.mark.parametrize(("before", "after"), GONE.items())
def test_remove(before, after):
    kind = syntax.remove_argument if before.startswith("f") else syntax.remove_entry
    check(before, after, kind("x"))


ELEMENTS = {
    "[a]": "[a, *x]",
    "(a, b)": "(a, b, *x)",
    "{a,}": "{a, *x,}",
    "[\n    a,  # b\n]": "[\n    a, *x,  # b\n]",
}


@pytest.mark.parametrize(("before", "after"), ELEMENTS.items())
def test_add_element(before, after):
    check(before, after, syntax.add_element("*x"))


BASES = {
    "none": ("class C:\n    a = 1", "class C(X):\n    a = 1"),
    "brackets": ("class C():\n    a = 1", "class C(X):\n    a = 1"),
    "one": ("class C(B):\n    a = 1", "class C(B, X):\n    a = 1"),
    "a keyword": ("class C(metaclass=M):\n    a = 1", "class C(X, metaclass=M):\n    a = 1"),
    "on one line": ("class C: a = 1", "class C(X): a = 1"),
    "decorated": ("@d\nclass C:  # c\n    a = 1", "@d\nclass C(X):  # c\n    a = 1"),
}


@pytest.mark.parametrize(("before", "after"), BASES.values(), ids=BASES)
def test_add_base(before, after):
    node = cst.parse_module(before + "\n").body[0]
    assert cst.Module([syntax.add_base("X")(node)]).code == after + "\n"


def check(before, after, edit):
    node = edit(cst.parse_expression(before))
    assert cst.Module([]).code_for_node(node) == after


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("'a'", "a"),
        ('"a"', "a"),
        ('"""a"""', "a"),
        ("r'a'", "a"),
        ("'\\x61'", "a"),
        ("b'a'", None),
        ("f'a'", None),
        ("'a' 'b'", None),
        ("a", None),
        ("1", None),
    ],
)
def test_string(code, value):
    assert syntax.string(cst.parse_expression(code)) == value


def test_string_of_nothing():
    assert syntax.string(None) is None


@pytest.mark.parametrize("blank", [False, True])
def test_statements(blank):
    made = syntax.statements("a = 1\nif a:\n    b = 2\n", blank_line=blank)
    assert cst.Module(made).code == ("\n" if blank else "") + "a = 1\nif a:\n    b = 2\n"


def test_statements_without_a_line_end():
    assert cst.Module(syntax.statements("a = 1")).code == "a = 1\n"

"""codemods/engine/edits.py and codemods/engine/patch.py"""

from __future__ import annotations

import ast

import pytest

from codemods.engine.edits import Edits
from codemods.engine.patch import Change, Patch
from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from codemods.engine.syntax import add_argument, expression, statements

TEXT = """\
# First.
import a

def f(x):  # f
    # Call it.
    y = g(x,
          1)  # called
    if y:
        h( y)

    return   y
# Last.
"""


@pytest.fixture
def edits():
    return Edits(Script(TEXT))


def call(edits, name):
    return next(c for c in edits.script.calls if c.func.id == name)


def step(edits, number):
    return edits.script.functions["f"].body[number]


def test_no_edit_no_change(edits):
    assert edits.rebuild() is edits.concrete.module
    assert edits.rebuild().code == TEXT


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_untouched_text_stays_byte_for_byte(newline):
    text = TEXT.replace("\n", newline) + "\t\n  "
    edits = Edits(Script(text))
    edits.update(call(edits, "g").args[1], lambda _: expression("2"))
    assert edits.rebuild().code == text.replace("1)", "2)")


def test_remove_takes_the_comments_that_lead_it(edits):
    edits.remove(step(edits, 0))
    gone = "    # Call it.\n    y = g(x,\n          1)  # called\n"
    assert edits.rebuild().code == TEXT.replace(gone, "")


ON_ONE_LINE = {
    "a; b; c\n": ("b; c\n", "a; c\n", "a; b\n"),
    "if x: a; b\n": ("if x: b\n", "if x: a\n"),
}


@pytest.mark.parametrize("text", ON_ONE_LINE)
def test_remove_takes_one_of_a_line(text):
    for number, left in enumerate(ON_ONE_LINE[text]):
        edits = Edits(Script(text))
        body = edits.script.tree.body
        edits.remove(getattr(body[0], "body", body)[number])
        assert edits.rebuild().code == left


def test_a_block_that_is_emptied_passes():
    edits = Edits(Script("with a:\n    b\n    c = 1\nd\n"))
    for statement in edits.script.tree.body[0].body:
        edits.remove(statement)
    assert edits.rebuild().code == "with a:\n    pass\nd\n"


def test_insert(edits):
    edits.insert_before(step(edits, 0), statements("before_1"))
    edits.insert_before(step(edits, 0), statements("before_2"))
    edits.insert_after(step(edits, 0), statements("after_1\nafter_1b"))
    edits.insert_after(step(edits, 0), statements("after_2", blank_line=True))
    expected = TEXT.replace("    # Call", "    before_1\n    before_2\n    # Call")
    after = "# called\n    after_1\n    after_1b\n\n    after_2\n"
    assert edits.rebuild().code == expected.replace("# called\n", after)


def test_insert_around_what_is_removed(edits):
    edits.remove(step(edits, 2))
    edits.insert_before(step(edits, 2), statements("before"))
    edits.insert_after(step(edits, 2), statements("after"))
    assert edits.rebuild().code == TEXT.replace("\n    return   y", "    before\n    after")


def test_insert_needs_a_line_of_its_own():
    edits = Edits(Script("a; b; c\nif x: d\n"))
    a, b, c, x = edits.script.tree.body
    edits.insert_before(a, statements("first"))
    edits.insert_after(c, statements("last"))
    assert edits.rebuild().code == "first\na; b; c\nlast\nif x: d\n"
    for insert, at in (
        (edits.insert_after, a),
        (edits.insert_before, b),
        (edits.insert_before, x.body[0]),
    ):
        with pytest.raises(Refusal, match="this to stand on a line of its own"):
            insert(at, statements("new"))


def test_edits_are_composed_in_order_and_do_not_see_those_below(edits):
    edits.update(call(edits, "h"), add_argument("a=1"))
    edits.update(call(edits, "h").func, lambda _: expression("k"))
    edits.update(call(edits, "h"), add_argument("b=2"))
    edits.update(step(edits, 1), lambda n: n.with_changes(test=expression("z")))
    edits.insert_after(step(edits, 1), statements("after"))
    assert "    if z:\n        k( y, a=1, b=2)\n    after\n" in edits.rebuild().code
    assert edits.rebuild().code == edits.rebuild().code
    assert edits.concrete.module.code == TEXT


def test_inserted_lines_have_the_scripts_line_ends():
    edits = Edits(Script(TEXT.replace("\n", "\r\n")))
    new = statements("b = 1\nif b:\n    c\n", blank_line=True)
    edits.insert_after(edits.script.tree.body[0], new)
    code = edits.rebuild().code
    assert "import a\r\n\r\nb = 1\r\nif b:\r\n    c\r\n" in code
    assert "\n" not in code.replace("\r\n", "")


def patch_of(text):
    edits = Edits(Script(text))
    return Patch("p", edits, edits.script, [])


def test_a_patch_records_what_it_does(edits):
    patch = Patch("p", edits, edits.script, [])
    patch.add_argument(call(edits, "h"), "a=1", "one more")
    patch.replace(call(edits, "h").func, "k", "another")
    patch.insert_before(step(edits, 0), "before", "first")
    patch.insert_after(step(edits, 0), "after", "then")
    patch.remove(step(edits, 2), "gone")
    kinds = ["changed", "changed", "added before", "added after", "removed"]
    assert [c.kind for c in patch.changes] == kinds
    assert [c.lines for c in patch.changes] == [(9, 9), (9, 9), (6, 7), (6, 7), (11, 11)]
    assert {c.where for c in patch.changes} == {"f"}
    assert [c.code for c in patch.changes] == ["a=1", "k", "before", "after", ""]
    assert [bool(c.digest) for c in patch.changes] == [True, True, False, False, True]
    out = edits.rebuild().code
    assert "    before\n    # Call it.\n" in out
    assert "# called\n\n    after\n" in out
    assert "k( y, a=1)" in out
    assert "    return   y\n" not in out


def test_a_step_is_replaced_where_it_stood(edits):
    patch = Patch("p", edits, edits.script, [])
    patch.replace_step(step(edits, 0), "y = z", "another")
    assert "# f\n\n    y = z\n    if y:" in edits.rebuild().code
    assert patch.changes == [
        Change("changed", "f", (6, 7), "another", "y = z", patch.changes[0].digest)
    ]


KEYWORDS = {
    "a keyword": ("f(x=1, y=2)", "f(x=3, y=2)", "f(y=2)"),
    "the last one": ("f(y=2, x=1)", "f(y=2, x=3)", "f(y=2)"),
    "a display": ("f(**{'x': 1})", "f(**{'x': 3})", "f(**{})"),
    "a call of dict": ("f(**dict(x=1))", "f(**dict(x=3))", "f(**dict())"),
    "none": ("f(y=2)", "f(y=2, x=3)", "f(y=2)"),
}


@pytest.mark.parametrize(("text", "changed", "dropped"), KEYWORDS.values(), ids=KEYWORDS)
def test_keywords(text, changed, dropped):
    for after, edit in ((changed, "set_keyword"), (dropped, "drop_keyword")):
        patch = patch_of(f"{text}\n")
        rest = ("x", "3", "why") if edit == "set_keyword" else ("x", "why")
        getattr(patch, edit)(patch.script.calls[0], *rest)
        assert patch.edits.rebuild().code == f"{after}\n"


def test_the_digest_tells_what_was_replaced():
    def digest(text):
        patch = patch_of(text)
        patch.remove(patch.script.tree.body[0], "gone")
        return patch.changes[0].digest

    assert digest("a = 1\n") == digest("# c\na = 1  # d\n")
    assert digest("a = 1\n") != digest("a = 2\n")
    assert len(digest("a\n")) == 12


def test_of_a_class_that_gets_a_base_its_head_is_recorded():
    patch = patch_of("@d\n@e(1)\nclass A(B):\n    x = 1\n    y = 2\n")
    patch.add_base(patch.script.classes["A"], "C", "why")
    assert patch.edits.rebuild().code.startswith("@d\n@e(1)\nclass A(B, C):\n")
    (change,) = patch.changes
    assert (change.where, change.lines, change.code) == ("A", (1, 3), "(C)")


def test_refuse_names_the_nearest(edits):
    error = Patch("p", edits, edits.script, []).refuse("a call of z", [step(edits, 1)], "Ask")
    assert str(error).startswith("the series does not apply: a call of z; nearest: line 8: if y:")
    assert str(error).endswith(". Ask")
    assert isinstance(step(edits, 1), ast.If)

"""codemods/engine/edits.py and codemods/engine/patch.py"""

from __future__ import annotations

import libcst as cst
import pytest
from codemods.engine.anchors import Anchors
from codemods.engine.source import Source

from codemods.engine.edits import Edits
from codemods.engine.patch import Change, Patch
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
    return Edits(Source(TEXT))


def find(edits, kind, code):
    return next(
        n
        for n in edits.source.nodes
        if isinstance(n, kind) and edits.source.code(n).strip() == code
    )


def step(edits, number):
    return edits.source.module.body[1].body.body[number]


def test_no_edit_no_change(edits):
    assert edits.rebuild() is edits.source.module
    assert edits.rebuild().code == TEXT


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_untouched_text_stays_byte_for_byte(newline):
    text = TEXT.replace("\n", newline) + "\t\n  "
    source = Source(text)
    edits = Edits(source)
    edits.replace(next(n for n in source.nodes if isinstance(n, cst.Integer)), cst.Integer("2"))
    assert edits.rebuild().code == text.replace("1)", "2)")


def test_replace(edits):
    edits.replace(find(edits, cst.Integer, "1"), expression("two"))
    assert edits.rebuild().code == TEXT.replace("1)", "two)")


def test_remove_takes_the_comments_that_lead_it(edits):
    edits.remove(step(edits, 0))
    gone = "    # Call it.\n    y = g(x,\n          1)  # called\n"
    assert edits.rebuild().code == TEXT.replace(gone, "")
    assert edits.is_removed(step(edits, 0))
    assert edits.is_removed(find(edits, cst.Integer, "1"))
    assert not edits.is_removed(step(edits, 1))


def test_insert(edits):
    edits.insert_before(step(edits, 0), statements("before_1"))
    edits.insert_before(step(edits, 0), statements("before_2"))
    edits.insert_after(step(edits, 0), statements("after_1\nafter_1b"))
    edits.insert_after(step(edits, 0), statements("after_2", blank_line=True))
    expected = TEXT.replace("    # Call", "    before_1\n    before_2\n    # Call")
    expected = expected.replace(
        "# called\n", "# called\n    after_1\n    after_1b\n\n    after_2\n"
    )
    assert edits.rebuild().code == expected


def test_insert_around_what_is_removed(edits):
    edits.remove(step(edits, 2))
    edits.insert_before(step(edits, 2), statements("before"))
    edits.insert_after(step(edits, 2), statements("after"))
    assert edits.rebuild().code == TEXT.replace("\n    return   y", "    before\n    after")


def test_edits_of_one_node_are_composed_in_order(edits):
    call = find(edits, cst.Call, "h( y)")
    edits.update(call, add_argument("a=1"))
    edits.update(call, add_argument("b=2"))
    assert "h( y, a=1, b=2)" in edits.rebuild().code


def test_edits_inside_one_another(edits):
    call = find(edits, cst.Call, "h( y)")
    edits.update(call, add_argument("a=1"))
    edits.replace(call.func, cst.Name("k"))
    edits.update(step(edits, 1), lambda n: n.with_changes(test=cst.Name("z")))
    edits.insert_after(step(edits, 1), statements("after"))
    out = edits.rebuild().code
    assert "    if z:\n        k( y, a=1)\n    after\n" in out


def test_rebuilding_twice_gives_the_same(edits):
    edits.update(find(edits, cst.Call, "h( y)"), add_argument("a=1"))
    edits.remove(step(edits, 0))
    assert edits.rebuild().code == edits.rebuild().code
    assert edits.source.module.code == TEXT


def test_inserted_lines_have_the_scripts_line_ends():
    source = Source(TEXT.replace("\n", "\r\n"))
    edits = Edits(source)
    edits.insert_after(source.module.body[0], statements("b = 1\nif b:\n    c\n", blank_line=True))
    code = edits.rebuild().code
    assert "import a\r\n\r\nb = 1\r\nif b:\r\n    c\r\n" in code
    assert "\n" not in code.replace("\r\n", "")


def patch_of(edits):
    return Patch("p", edits, Anchors(edits.source), [])


def test_a_patch_records_what_it_does(edits):
    patch = patch_of(edits)
    call = find(edits, cst.Call, "h( y)")
    patch.change(call, add_argument("a=1"), "one more", "a=1")
    patch.replace(call.func, cst.Name("k"), "another")
    patch.insert_before(step(edits, 0), "before", "first")
    patch.insert_after(step(edits, 0), "after", "then")
    patch.remove(step(edits, 2), "gone")
    old = "    return   y\n"
    changes = patch.changes
    assert [c.kind for c in changes] == [
        "changed",
        "changed",
        "added before",
        "added after",
        "removed",
    ]
    assert [c.lines for c in changes] == [(9, 9), (9, 9), (6, 7), (6, 7), (11, 11)]
    assert {c.where for c in changes} == {"f"}
    assert [c.code for c in changes] == ["a=1", "k", "before", "after", ""]
    assert [bool(c.digest) for c in changes] == [True, True, False, False, True]
    assert changes[0].digest != changes[1].digest != changes[4].digest
    out = edits.rebuild().code
    assert "    before\n    # Call it.\n" in out
    assert "# called\n\n    after\n" in out
    assert "k( y, a=1)" in out
    assert old not in out


def test_the_digest_tells_what_was_replaced():
    def digest(text):
        edits = Edits(Source(text))
        patch = patch_of(edits)
        patch.remove(edits.source.module.body[0], "gone")
        return patch.changes[0].digest

    assert digest("a = 1\n") == digest("a = 1\n")
    assert digest("a = 1\n") != digest("a = 2\n")
    assert len(digest("a\n")) == 12


def test_a_change_has_a_value():
    one = Change("removed", "main", (1, 2), "x")
    assert one == Change("removed", "main", (1, 2), "x", "", "")


def test_refuse_names_the_nearest(edits):
    error = patch_of(edits).refuse("a call of z", [step(edits, 1)], "Ask")
    assert error.nearest[0].line == 8
    assert str(error).startswith("the series does not apply: a call of z; nearest: line 8: if y:")
    assert str(error).endswith(". Ask")
    assert str(patch_of(edits).refuse("a", [])).endswith("nearest: nothing like it")

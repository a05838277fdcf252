"""codemods/engine/source.py"""

from __future__ import annotations

import ast
import textwrap

import libcst as cst
import pytest
from codemods.engine.source import Source, children, fields

from codemods.engine.refusal import Candidate, Refusal
from tests.codemods.helpers import BASES, render

STATEMENTS = {
    "simple": "a = 1\nb = 2; c = 3\n\nd: int = 4\ne: int\na += 1\n",
    "if": """
        if a:
            b
        elif c:
            d
        elif e: f; g
        else:
            h
        """,
    "for and while": """
        for a in b:
            if a: continue
            break
        else:
            c
        while d: e
        else:
            f
        """,
    "try": """
        try:
            a
        except (B, C) as d:
            e
        except F: g
        except:
            raise
        else:
            h
        finally:
            i
        """,
    "try with stars": "try:\n    a\nexcept* B as c:\n    d\nexcept* (E, F):\n    g\n",
    "with": "with a as b, c() as (d, e):\n    f\nwith (\n    g as h,\n):\n    i\n",
    "match": """
        match a:
            case 1 | 2:
                b
            case {"c": d} if d:
                e
            case F(g=[h, *_]): i
            case _:
                pass
        """,
    "definitions": """
        @a
        @b(
            c,
        )
        def d(e, /, f=lambda: 1, *g, h: int = 2, **i) -> j:
            '''k'''
            l = lambda m: (yield)
            def n(): return o
            async def p():
                async with q as r: await s
                async for t in u:
                    pass
                return [v async for v in w]

        @x
        class Y(Z, metaclass=M):
            '''a'''
            b: int = 1
            @property
            def c(self): ...
        """,
    "others": "import a, b.c as d\nfrom . import e\nfrom f import (\n    g,\n)\ndel a, b\n"
    "assert a, b\nraise A from b\nglobal c\npass\nprint(a := 1)\n",
    "nothing": "",
    "a comment": "# nothing\n",
    "no line end": "a = 1",
    "continued lines": "a = 1 + \\\n    2\nb = '''\n\n'''\nc = (\n\n    1\n)\n",
    "tabs": "if a:\n\tb\n\tif c:\n\t\td\n",
    "a form feed": "a\n\x0c\nb\n",
    "letters": "# ä\nname = 'é你'; b = 'x'\nc = 1\n",
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("text", STATEMENTS.values(), ids=STATEMENTS)
def test_the_lines_of_every_kind_of_statement(text, newline):
    text = textwrap.dedent(text.removeprefix("\n")).replace("\n", newline)
    check_lines(text)


@pytest.mark.parametrize("base", BASES)
def test_the_lines_of_whole_scripts(base):
    check_lines(render(BASES[base]))
    check_lines(render(BASES[base], newline="\r\n"))


def check_lines(text):
    """Of every statement: what stands on its lines is the statement."""
    source = Source(text)
    lines = text.replace("\r\n", "\n").split("\n")
    kinds = (cst.BaseSmallStatement, cst.BaseCompoundStatement)
    for node in source.nodes:
        if not isinstance(node, kinds):
            continue
        first, last = source.lines(node)
        code = source.code(node).replace("\r\n", "\n")
        code = code.replace("\x0c", "")
        while code.startswith(("#", "\n")):  # what leads it
            code = code.partition("\n")[2]
        chunk = "\n".join(n.strip() for n in lines[first - 1 : last])
        code = "\n".join(n.strip() for n in code.strip().split("\n"))
        head = code.split("\n")[0].partition("  #")[0].rstrip(";: ")
        assert head in chunk.split("\n")[0]
        assert code.split("\n")[-1].rstrip("; ").strip() in chunk


def test_decorators_belong_to_the_statement():
    source = Source("# c\n@a\n# d\n@b\ndef f():\n    pass\n")
    assert source.lines(source.module.body[0]) == (2, 6)


def test_several_statements_on_one_line():
    source = Source("a; b = (\n    1\n); c\n")
    line = source.module.body[0]
    assert [source.lines(n) for n in line.body] == [(1, 1), (1, 3), (3, 3)]
    assert source.lines(line) == (1, 3)


def test_a_node_has_the_lines_of_its_statement():
    source = Source("a = [\n    1,\n    f(2),\n]\n")
    call = next(n for n in source.nodes if isinstance(n, cst.Call))
    assert source.lines(call) == (1, 4)
    assert source.candidate(call) == Candidate(1, "f(2)")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = = 2\n", " (line 2)"),
        ("print 'a'\n", " (line 1)"),
        ("if a:\nb\n", " (line 2)"),
        ("a = 1\n\x00\n", ""),
        ("a = (\n", ""),
        ("def f():\n    return\nreturn(\n", ""),
        ("<html>404</html>\n", " (line 1)"),
        ("<<<<<<< ours\na = 1\n", " (line 1)"),
    ],
)
def test_what_is_not_python_is_refused(text, line):
    with pytest.raises(Refusal, match="upstream's file is not Python") as caught:
        Source(text)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.nearest is None


def test_what_python_alone_refuses_is_refused():
    with pytest.raises(Refusal, match=r"upstream's file is not Python \(line 1\)"):
        Source("f(a=1, a=2)\n" if _refused("f(a=1, a=2)") else "1 = a\n")


def _refused(code):
    try:
        ast.parse(code)
    except SyntaxError:
        return True
    return False


TEXT = """\
import a

class C(B):
    x = 1

    def m(self):
        return [y for y in self.x]

def f():
    def g(): z
    return g
"""


@pytest.fixture(scope="module")
def source():
    return Source(TEXT)


def find(source, name):
    return next(n for n in source.nodes if isinstance(n, cst.Name) and n.value == name)


@pytest.mark.parametrize(
    ("name", "where"),
    [("a", "module"), ("B", "C"), ("x", "C"), ("y", "C.m"), ("z", "f.g"), ("f", "f")],
)
def test_where(source, name, where):
    assert source.where(find(source, name)) == where


def test_where_of_a_definition_is_itself(source):
    assert source.where(source.module.body[1]) == "C"


def test_statements_are_in_source_order(source):
    places = [n for n in source.nodes if isinstance(n, cst.BaseSmallStatement)]
    firsts = [source.lines(n)[0] for n in places]
    assert firsts == sorted(firsts)
    assert source.before(find(source, "a"), find(source, "z"))
    assert not source.before(find(source, "z"), find(source, "a"))


def test_inside_and_below(source):
    for node in source.nodes:
        below = source.below(node)
        assert below[0] is node
        ids = {id(n) for n in below}
        for other in source.nodes:
            expected = other is node or any(n is node for n in source.ancestors(other))
            assert source.inside(other, node) is expected
            assert (id(other) in ids) is expected


def test_parents(source):
    assert source.parent(source.module) is None
    for node in source.nodes:
        for child in children(node):
            assert source.parent(child) is node
    assert list(source.ancestors(find(source, "z")))[-1] is source.module


def test_only_what_has_a_meaning_is_a_child():
    assert fields(cst.parse_expression("f(a)")) == ("func", "args")
    node = cst.parse_expression("{ # c\n 'a' : 1 , }")
    assert [type(n) for n in children(node)] == [cst.DictElement]


def test_candidates_are_short_and_few(source):
    many = Source("\n".join(f"call_number_{i}({'very_long_argument, ' * 9})" for i in range(9)))
    calls = [n for n in many.nodes if isinstance(n, cst.Call)]
    found = many.candidates(calls)
    assert [c.line for c in found] == [1, 2, 3, 4]
    assert all(len(c.text) == 78 and c.text.endswith("…") for c in found)
    assert [c.line for c in many.candidates(calls, most=2)] == [1, 2]


def test_a_candidate_is_one_line():
    source = Source("a = f(\n    b,  # c\n    d,\n)\n")
    call = next(n for n in source.nodes if isinstance(n, cst.Call))
    assert source.candidate(call) == Candidate(1, "f( b, # c d, )")


def test_refusals_read_as_one_sentence():
    error = Refusal("found no x", [Candidate(3, "y"), Candidate(5, "z")], "Look at z")
    assert str(error) == (
        "the series does not apply: found no x; nearest: line 3: y; line 5: z. Look at z"
    )
    error.patch = "p"
    assert str(error).startswith("patch 'p' does not apply: found no x; nearest: ")
    assert str(Refusal("found no x", [])).endswith("found no x; nearest: nothing like it")
    assert str(Refusal("found no x")).endswith("does not apply: found no x")

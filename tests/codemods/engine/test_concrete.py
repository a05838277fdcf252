"""codemods/engine/concrete.py"""

from __future__ import annotations

import ast

import libcst as cst
import pytest

from codemods.engine.concrete import Concrete, children, fields
from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from tests.codemods.helpers import BASES, each, render

STATEMENTS = {
    "simple": "a = 1\nb = 2; c = 3\n\nd: int = 4\ne: int\na += f(1)\n",
    "if": "if a:\n    b()\nelif c[d()]:\n    e\nelif f: g; h()\nelse:\n    i\n",
    "loops": "for a in b():\n    if a: continue\n    break\nelse:\n    c\nwhile d(): e()\nelse:\n    f\n",
    "try": "try:\n    a()\nexcept (B, C) as d:\n    e()\nexcept:\n    raise\nelse:\n    h()\nfinally:\n    i()\n",
    "try with stars": "try:\n    a\nexcept* B as c:\n    d()\nexcept* (E, F):\n    g\n",
    "with": "with a as b, c() as (d, e):\n    f()\nwith (\n    g as h,\n):\n    i\n",
    "match": "match a():\n    case 1 | 2:\n        b()\n    case {'c': d} if d():\n        e\n    case F(g=[h, *_]): i()\n",
    "functions": "@a\n@b(\n    c(),\n)\ndef d(e, /, f=g(1), *h, i: j() = k(2), **l: m(3)) -> n(4):\n"
    "    '''k'''\n    o = lambda p, q=r(5): (yield)\n    async def s():\n        async with t() as u: await v()\n"
    "        return [w() async for w in x() if y()]\n",
    "classes": "@x\nclass A(B(), *C, metaclass=d(), **e()):\n    b: int = f()\n    @property\n    def c(self): ...\n",
    "others": "import a, b.c as d\nfrom . import e\ndel a, b\nassert a(), b()\nraise A() from b()\nglobal c\n"
    "print(a := b())\n",
    "calls": "a(b(c), *d(1), e=f(2), **g(3))\na(b=c(1), *d(2))\n(a)(b)(c).d(e[f(1):g(2)])\n",
    "displays": "{a(): b(), **c(), 'd': [e(), {f()}]}\n[a() for b in c() if d()]\n{a(): b() for c in d()}\n[*a(), b()]\n",
    "operators": "a() if b() else c()\nnot a() in [b()]\na() < b() < {c(): d()}\na() and b() or -c() + d() ** e()\n",
    "strings": "f'{a(b)!r:{c()}}' 'x' f'{[d()]}'\nprint(f\"{e['f']}\" if g() else '')\n",
    "nothing": "",
    "a comment": "# nothing\n",
    "no line end": "a = b()",
    "continued lines": "a = b() + \\\n    c()\n",
    "tabs and a form feed": "if a:\n\tb()\n\tif c:\n\t\td()\n\x0ce()\n",
    "letters": "# ä\nname = f('é你'); b = g('x')\nc = h()\n",
}  # fmt: skip


def check(text):
    """What an edit may name is, in the one tree, what it is in the other."""
    script = Script(text)
    concrete = Concrete(script)
    kinds = (ast.stmt, ast.Call, ast.Dict, ast.List, ast.Set, ast.Compare)
    for node in (n for n in script.nodes if isinstance(n, kinds)):
        code = concrete.code(concrete.of(node))
        code = code if isinstance(node, ast.stmt) else f"({code})"
        assert ast.unparse(ast.parse(code).body[0]) == ast.unparse(node)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("text", STATEMENTS.values(), ids=STATEMENTS)
def test_every_kind_of_statement_and_expression(text, newline):
    check(text.replace("\n", newline))


@pytest.mark.parametrize("base", BASES)
def test_whole_scripts(base):
    check(render(BASES[base]))


PARTS = {
    "a keyword's value": ("f(a, b=X)", "f(a, b=Y)"),
    "one after stars": ("f(*a, b=X, *c)", "f(*a, b=Y, *c)"),
    "an argument": ("f(a, X)", "f(a, Y)"),
    "what is called": ("X(a)", "Y(a)"),
    "whose method is called": ("X.b(a)", "Y.b(a)"),
    "a value of a dict": ("{'a': 1, **b, 'c': X}", "{'a': 1, **b, 'c': Y}"),
    "what is assigned": ("a = b = X", "a = b = Y"),
    "what a name is annotated with": ("a: int = X", "a: int = Y"),
    "what is compared": ("if a not in X: pass", "if a not in Y: pass"),
}


@each("before, after", PARTS)
def test_parts(before, after):
    script = Script(before + "\n")
    concrete = Concrete(script)
    (node,) = script.reads["X"]
    found = concrete.of(node)
    assert isinstance(found, cst.Name)
    assert found.value == "X"
    assert concrete.module.deep_replace(found, cst.Name("Y")).code == after + "\n"


def test_a_line_is_what_can_stand_in_a_block():
    script = Script("a; b\nif c: d\n")
    concrete = Concrete(script)
    a, b, c = script.tree.body[0], script.tree.body[1], script.tree.body[2]
    assert concrete.line(a) is concrete.line(b) is concrete.module.body[0]
    assert concrete.line(c) is concrete.module.body[1]
    assert list(concrete.ancestors(concrete.of(a))) == [concrete.module.body[0], concrete.module]


def test_only_what_has_a_meaning_is_a_child():
    assert fields(cst.parse_expression("f(a)")) == ("func", "args")
    node = cst.parse_expression("{ # c\n 'a' : 1 , }")
    assert [type(n) for n in children(node)] == [cst.DictElement]


def test_what_libcst_cannot_parse_is_refused(monkeypatch):
    def fails(_):
        raise cst.ParserSyntaxError("no", lines=["a"], raw_line=1, raw_column=0)

    monkeypatch.setattr(cst, "parse_module", fails)
    with pytest.raises(Refusal, match=r"not Python that libcst parses \(line 1\)"):
        Concrete(Script("a\n"))

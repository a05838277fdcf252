"""codemods/engine/script.py, promises.py and refusal.py"""

from __future__ import annotations

import ast
import platform

import pytest

from codemods.engine.nodes import binds, dotted, method_root, whole_name
from codemods.engine.promises import takes, unconditional
from codemods.engine.refusal import Candidate, Refusal, plain
from codemods.engine.script import Script
from tests.codemods.helpers import OLD, each, render


def script(**filled):
    return Script(render(OLD, filled))


def call_of(s, name):
    return next(c for c in s.calls if dotted(c.func) == name)


def codes(s, nodes):
    return [s.code(n) for n in nodes]


NOT_PYTHON = {
    "a = 1\nb = = 2\n": " (line 2)",
    "if a:\nb\n": " (line 2)",
    "a = 1\n\x00\n": "",
    "a = (\n": " (line 1)",
    "1 = a\n": " (line 1)",
    "<html>404</html>\n": " (line 1)",
    "<<<<<<< ours\na = 1\n": " (line 1)",
}


@pytest.mark.parametrize(("text", "line"), NOT_PYTHON.items())
def test_what_is_not_python_is_refused(text, line):
    with pytest.raises(Refusal) as caught:
        Script(text)
    assert caught.value.looked_for == f"upstream's file is not Python{line}"
    assert platform.python_version().rpartition(".")[0] in caught.value.hint
    assert caught.value.nearest is None


FULL = {
    "a.b": "a.b",
    "transformers.trainer.Trainer": "transformers.Trainer",
    "transformers.models.llama.modeling_llama.LlamaForCausalLM": "transformers.LlamaForCausalLM",
    "transformers.AutoModel.from_pretrained": "transformers.AutoModel.from_pretrained",
    "transformers.utils.logging": "transformers.utils.logging",
    "transformers": "transformers",
    "datasets.load.load_dataset": "datasets.load_dataset",
    "optimum.transformers.Trainer": "optimum.transformers.Trainer",
}


@pytest.mark.parametrize(("name", "full"), FULL.items())
def test_whole_name(name, full):
    assert whole_name(name) == full


IMPORTS = {
    "import a": {"a": "a"},
    "import a.b.c": {"a": "a"},
    "import a.b as c": {"c": "a.b"},
    "from a.b import c as d, e": {"d": "a.b.c", "e": "a.b.e"},
    "from . import a": {"a": ".a"},
    "def f():\n    import a": {"a": "a"},
    "try:\n    import a\nexcept ImportError:\n    import b as a": {"a": "b"},
    "from transformers.trainer import Trainer": {"Trainer": "transformers.Trainer"},
}


@pytest.mark.parametrize(("text", "names"), IMPORTS.items(), ids=IMPORTS)
def test_imports(text, names):
    assert Script(text).imports == names


CALLS = {
    "by its name": ("from transformers import T\nT()", 1),
    "by another name": ("from transformers import T as U\nU()", 1),
    "of the module": ("import transformers as t\nt.T()", 1),
    "of a submodule": ("import transformers\ntransformers.models.T()", 1),
    "twice, one inside": ("from transformers import T\nT(T())", 2),
    "not imported": ("T()", 0),
    "of something else": ("from u import T\nT()", 0),
    "a method of it": ("from transformers import T\nT.new()", 0),
    "of what a call gives": ("import transformers\ntransformers().T()", 0),
    "named, not called": ("import transformers\ntransformers.T", 0),
}


@each("text, count", CALLS)
def test_calls_to(text, count):
    assert len(Script(text).calls_to("transformers.T")) == count


def test_what_is_not_imported_is_called_as_it_is_written():
    s = Script("f()\na.b()\nf().c()\na[0].d()\n")
    assert sorted(map(s.called, s.calls)) == [".c", ".d", "a.b", "f", "f"]
    assert codes(s, s.method_calls("c", "d")) == ["f().c()", "a[0].d()"]


ONLY = "from transformers import T\n"
USED = {
    "a call": (f"{ONLY}T.load()", ["T.load()"]),
    "another method": (f"{ONLY}T.keys()", None),
    "a name": (f"{ONLY}x = T", None),
    "its method by name": (f"{ONLY}x = T.load", None),
    "handed on": (f"{ONLY}f(T)", None),
    "chosen": (f"{ONLY}(T if a else b).load()", None),
    "not at all": (f"{ONLY}load()", []),
}


@each("text, found", USED)
def test_only_called(text, found):
    s = Script(text)
    if found is None:
        with pytest.raises(Refusal, match=r"every use of transformers\.T to be a call of it"):
            s.only_called("transformers.T", "load")
    else:
        assert codes(s, s.only_called("transformers.T", "load")) == found


BOUND = {
    "a = b = 1": "a b",
    "a, (b, [c, *d]) = e": "a b c d",
    "a: int = 1": "a",
    "a += 1": "a",
    "a.b = c[0] = 1": "",
    "for a, b in c: pass": "a b",
    "def a(b): c = 1": "a",
    "class A(b): c = 1": "A",
    "import a.b, c as d": "a d",
    "from a import b, c as d": "b d",
}


@pytest.mark.parametrize(("text", "names"), BOUND.items(), ids=BOUND)
def test_binds(text, names):
    assert " ".join(binds(ast.parse(text).body[0])) == names


BINDINGS = {
    "x = 1\nx = 2": 2,
    "x: int = 1\nx += 1": 2,
    "x, (y, *z) = 1": 1,
    "for x in y:\n    pass": 1,
    "with a as x, b as y:\n    pass": 1,
    "try:\n    pass\nexcept E as x:\n    pass": 1,
    "print(x := 1)": 1,
    "import a as x\ndef x(): pass": 2,
    "def f():\n    nonlocal x\n    x = 1": 1,
    "def f():\n    x = 1": 0,
    "y = [x for x in z]": 0,
    "del x\nx.y = 1\nx[0] = 1": 0,
}


@pytest.mark.parametrize(("end", "count"), BINDINGS.items(), ids=BINDINGS)
def test_bindings(end, count):
    s = script(end=end)
    assert len(s.bindings("x", s.main)) == count


READS = {"x": 1, "f(x=1)": 0, "f(*x, **x)": 2, "x.y": 1, "y.x": 0, "x = x": 1, "x += 1": 0, "x[0] = 1": 1,
         "def f(y=x): return x": 2, "import x": 0, "f'{x}'": 1, "del x": 0, "'x'  # x": 0}  # fmt: skip


@pytest.mark.parametrize(("text", "count"), READS.items(), ids=READS)
def test_reads(text, count):
    assert len(Script(text).reads.get("x", ())) == count


ROOTS = {
    "a.map()": "a",
    "a.map().map()": "a",
    "a.b.map()": "a.b",
    "a.map().filter()": "",
    "f()": "",
}


@pytest.mark.parametrize(("text", "root"), ROOTS.items())
def test_method_root(text, root):
    assert dotted(method_root(ast.parse(text, mode="eval").body, "map")) == root
    if text == "a.map().filter()":
        assert dotted(method_root(ast.parse(text, mode="eval").body)) == "a"


TEXT = """\
import a

@d
class C(B):
    x = 1

    def m(self):
        return [y for y in self.x]

def f():
    def g(): z; \
  return (
        w)
    return g
"""


def test_places():
    s = Script(TEXT)
    found = {n.id: n for n in s.nodes if isinstance(n, ast.Name)}
    wanted = {
        "B": ("C", 3, 8),
        "x": ("C", 5, 5),
        "y": ("C.m", 8, 8),
        "z": ("f.g", 11, 11),
        "w": ("f.g", 11, 12),
    }
    assert {n: (s.where(found[n]), *s.lines(found[n])) for n in wanted} == wanted
    assert s.scope(found["z"]).name == "f"
    assert s.scope(s.functions["f"]) is None
    assert s.inside(found["z"], s.functions["f"])
    assert not s.inside(found["y"], s.functions["f"])
    assert "z" not in {getattr(n, "id", "") for n in s.own(*s.functions["f"].body)}
    assert s.code(s.statement(found["w"])) == "return (\n        w)"


def test_letters_and_line_ends_are_counted_as_python_does():
    s = Script("a = 'é'; b = f('ü',\r\n  x)\r\n")
    assert codes(s, s.calls) == ["f('ü',\r\n  x)"]


def test_a_candidate_is_one_short_line_that_no_terminal_obeys():
    s = Script("a = f(\n    b,  # c\n    '\x1b[31m',\n)\n")
    assert s.candidate(s.calls[0]) == Candidate(1, "f( b, # c '\\x1b[31m', )")
    assert len(plain("x" * 100)) == 78
    many = Script("\n".join(f"f({i})" for i in range(9)))
    assert len(many.refuse("x", many.calls).nearest) == 4


def test_a_binding_without_a_place_of_its_own_is_cited_by_its_statement():
    s = script(end="with a as tokenizer:\n    pass")
    with pytest.raises(Refusal) as caught:
        s.name("tokenizer", s.main)
    assert [c.text for c in caught.value.nearest] == ["with a as tokenizer: pass"]


def test_refusals_read_as_one_sentence():
    error = Refusal("found no x", [Candidate(3, "y"), Candidate(5, "z", "a.Z")], "Look at z")
    rest = "found no x; nearest: line 3: y; line 5: z (is a.Z). Look at z"
    assert str(error) == f"the series does not apply: {rest}"
    error.patches = ["p"]
    assert str(error) == f"patch 'p' does not apply: {rest}"
    error.patches = ["p", "q"]
    assert str(error) == f"patches 'p', 'q' do not apply: {rest}"
    assert str(Refusal("found no x", [])).endswith("found no x; nearest: nothing like it")
    assert str(Refusal("found no x")).endswith("does not apply: found no x")


KEYWORDS = {
    "a keyword": ("pass", "f(*a, x=2)", ["2"]),
    "a display": ("d = {'k': 1, \"x\": 2}", "f(**d)", ["2"]),
    "in the call": ("pass", "f(**{'x': 2})", ["2"]),
    "a call of dict": ("d = dict(x=2, **{'k': 1})", "f(**d)", ["2"]),
    "made of others": ("c = {'x': 2}\nd = {**c}", "f(**d)", ["2"]),
    "filled": ("d = {}\nd['x'] = 2", "f(**d)", ["2"]),
    "updated": ("d = {}\nd.update(x=2)\nd.update({'x': 3})", "f(**d)", ["2", "3"]),
    "in two branches": ("if a:\n    d = {'x': 1}\nelse:\n    d = dict(x=2)", "f(**d)", ["1", "2"]),
    "asked": ("d = {'x': 2}\nprint(d['x'], d.get('k'), 'k' in d)", "f(**d)", ["2"]),
    "without it": ("d = {'k': 1}", "f(**d)", []),
    "another kind of key": ("d = {x: 2}", "f(**d)", []),
    "not bound": ("pass", "f(**d)", None),
    "a loop's": ("for d in ({}, {}):\n    pass", "f(**d)", None),
    "a function's": ("def d():\n    pass", "f(**d)", None),
    "made by a call": ("d = g()", "f(**d)", None),
    "one name of a tuple": ("d, e = {}, {}", "f(**d)", None),
    "an attribute": ("d = {}", "f(**d.e)", None),
    "read elsewhere": ("d = {}\nprint(d)", "f(**d)", None),
    "deleted from": ("d = {'x': 1}\ndel d['x']", "f(**d)", None),
    "given as an argument": ("d = {}", "f(d, **d)", None),
}


@each("first, call, values", KEYWORDS)
def test_keyword(first, call, values):
    s = script(end=f"{first}\n{call}")
    found = call_of(s, "f")
    if values is None:
        with pytest.raises(Refusal) as caught:
            s.keyword(found, "x")
        assert call in [c.text for c in caught.value.nearest]
    else:
        assert codes(s, (v for _, v in s.keyword(found, "x"))) == values


GIVEN = {
    "d = {'x': 1}": True,
    "d = {}\nd['x'] = 1": True,
    "d = {}\nif a:\n    d['x'] = 1": False,
    "d = {'x': 1}\nif a:\n    d['x'] = 2": True,
    "d = {'x': 1}\nif a:\n    d = {}": False,
    "d = {}\nif a:\n    d = {'x': 1}": False,
    "if a:\n    d = {'x': 1}\nelse:\n    d = {'x': 2}": True,
    "d = {}\nif a:\n    d.update(x=1)": False,
    "d = {}\nfor a in b:\n    d['x'] = a": False,
    "d = {}": True,
}


@pytest.mark.parametrize(("first", "always"), GIVEN.items(), ids=GIVEN)
def test_given_is_always_or_never(first, always):
    s = script(end=f"{first}\nf(**d)")
    if always:
        assert s.given(call_of(s, "f"), "x") == s.keyword(call_of(s, "f"), "x")
    else:
        with pytest.raises(Refusal, match="x to be given to this call always or never"):
            s.given(call_of(s, "f"), "x")


def test_given_in_the_same_branch():
    s = script(end="if a:\n    d = {}\n    d['x'] = 1\n    f(**d)")
    assert len(s.given(call_of(s, "f"), "x")) == 1


STEPS = {
    "f()": "Expr",
    "if a:\n    f()": "If",
    "with a:\n    try:\n        f()\n    finally:\n        b": "With Try Expr",
    "try:\n    a\nexcept E:\n    f()": "Try",
    "for a in b:\n    with c:\n        f()": "For",
    "def g():\n    f()": "FunctionDef",
}


@pytest.mark.parametrize(("end", "kinds"), STEPS.items(), ids=STEPS)
def test_steps_run_when_their_function_does(end, kinds):
    s = script(end=end)
    assert [type(n).__name__ for n in s.steps(call_of(s, "f"))] == kinds.split()


UNCONDITIONAL = {
    "f()": True,
    "x = y = f()": True,
    "with a:\n    f()": True,
    "if x:\n    f()": False,
    "x = f() or 1": False,
    "x = g(f())": False,
    "for x in f():\n    pass": False,
    "def g():\n    f()": False,
}


@pytest.mark.parametrize(("end", "holds"), UNCONDITIONAL.items(), ids=UNCONDITIONAL)
def test_unconditional(end, holds):
    s = script(end=end)
    if holds:
        unconditional(s, call_of(s, "f"), "it runs")
    else:
        with pytest.raises(Refusal, match="verify: .* the promise that it runs"):
            unconditional(s, call_of(s, "f"), "it runs")


TAKES = {"f(tokenizer, own)": True, "f(own, tokenizer)": False, "f(tokenizer)": False, "f()": False,
         "f(tokenizer, own, a)": False, "f(tokenizer, own=own)": False, "f(*tokenizer, own)": False,
         "f(tokenizer(), own)": False, "f(model, own)": False}  # fmt: skip


@pytest.mark.parametrize(("end", "holds"), TAKES.items())
def test_takes(end, holds):
    s = script(end=end)
    if holds:
        takes(s, call_of(s, "f"), "it is so", "tokenizer", "own")
    else:
        with pytest.raises(Refusal, match="the promise that it is so"):
            takes(s, call_of(s, "f"), "it is so", "tokenizer", "own")


def test_what_is_taken_is_bound():
    s = script(tokenizer="", load=f"raw = f(tokenizer)\n{OLD['tokenizer']}")
    with pytest.raises(Refusal, match="tokenizer is bound wherever f is given it"):
        takes(s, call_of(s, "f"), "it is so", "tokenizer")


CLASSES = """
class Root:
    one: int = 0


class Base(Root):
    two: int = 2


class DataOptions(Base, Unknown):
    train_file: str = None
    one: int = 1
    three = 3

    def method(self):
        four: int = 4
"""


def test_arguments_are_those_of_the_bases_too():
    s = script(data_class=CLASSES)
    found = {name: [cls for cls, _ in rows] for name, rows in s.definitions().items()}
    assert found == {
        "model_name_or_path": ["ModelOptions"],
        "config_name": ["ModelOptions"],
        "one": ["Root", "DataOptions"],
        "two": ["Base"],
        "train_file": ["DataOptions"],
    }
    assert s.bases("DataOptions") == ["Base", "Unknown"]
    assert s.field("DataOptions", "three") is s.field("DataOptions", "four") is None

"""codemods/engine/anchors.py: what the codemods' own tables don't show."""

from __future__ import annotations

import libcst as cst
import pytest
from codemods.engine.anchors import Anchors, dotted, own_nodes
from codemods.engine.source import Source

from codemods.engine.refusal import Refusal
from tests.codemods.helpers import BASES, OLD, dedent, render


def anchors(text):
    return Anchors(Source(text))


def script(base=OLD, **filled):
    return anchors(render(base, {name: dedent(text) for name, text in filled.items()}))


def refused(looked_for, find, *lines):
    with pytest.raises(Refusal) as caught:
        find()
    assert looked_for in str(caught.value)
    assert tuple(c.line for c in caught.value.nearest) == lines
    return caught.value


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("a", "a"),
        ("a.b.c", "a.b.c"),
        ("a().b", None),
        ("a[0].b", None),
        ("'a'", None),
        ("-a", None),
    ],
)
def test_dotted(code, name):
    assert dotted(cst.parse_expression(code)) == name


IMPORTS = {
    "import a": {"a": "a"},
    "import a.b.c": {"a": "a"},
    "import a.b as c": {"c": "a.b"},
    "import a, b as c": {"a": "a", "c": "b"},
    "from a import b": {"b": "a.b"},
    "from a.b import c as d, e": {"d": "a.b.c", "e": "a.b.e"},
    "from a import (\n    b,\n    c as d,  # e\n)": {"b": "a.b", "d": "a.c"},
    "from a import *": {},
    "from . import a": {"a": ".a"},
    "def f():\n    import a": {"a": "a"},
    "try:\n    import a\nexcept ImportError:\n    import b as a": {"a": "b"},
}


@pytest.mark.parametrize(("text", "names"), IMPORTS.items(), ids=IMPORTS)
def test_imports(text, names):
    assert anchors(text + "\n").imports == names


CALLS = {
    "a name": ("from t import T\nT()", 1),
    "by another name": ("from t import T as U\nU()", 1),
    "of the module": ("import t\nt.T()", 1),
    "of the module by another name": ("import t as u\nu.T()", 1),
    "inside a call": ("import t\nf(t.T())", 1),
    "twice": ("import t\nt.T(t.T())", 2),
    "not imported": ("T()", 0),
    "of something else": ("from u import T\nT()", 0),
    "a method of it": ("from t import T\nT.new()", 0),
    "of what a call gives": ("import t\nt().T()", 0),
    "named, not called": ("import t\nt.T", 0),
    "of a part of the module": ("import t.u\nt.u.T()", 0),
}


@pytest.mark.parametrize(("text", "count"), CALLS.values(), ids=CALLS)
def test_calls_to(text, count):
    assert len(anchors(text + "\n").calls_to("t.T")) == count


def test_method_calls():
    a = anchors("a.m()\nm()\na().m()\na[0].m(b.n())\na.m\n")
    assert [a.source.lines(c)[0] for c in a.method_calls("m")] == [1, 3, 4]
    assert len(a.method_calls("m", "n")) == 4


BOUND = {
    "a = b = 1": {"a", "b"},
    "a, (b, [c, *d]) = e": {"a", "b", "c", "d"},
    "a: int = 1": {"a"},
    "a += 1": {"a"},
    "a.b = c[0] = 1": set(),
    "(a := 1)": {"a"},
    "for a, b in c:\n    d = 1\nelse:\n    e = 1": {"a", "b", "d", "e"},
    "with a as b, c as (d, e):\n    f = 1": {"b", "d", "e", "f"},
    "try:\n    a = 1\nexcept E as b:\n    c = 1\nfinally:\n    d = 1": {"a", "b", "c", "d"},
    "def a(b):\n    c = 1": {"a"},
    "class A(b):\n    c = 1": {"A"},
    "if a:\n    def b():\n        c = 1": {"b"},
    "import a.b, c as d": {"a", "d"},
    "from a import b, c as d": {"b", "d"},
    "from a import *": set(),
    "[a for a in b]": set(),
    "f = lambda a: a": {"f"},
}


@pytest.mark.parametrize(("text", "names"), BOUND.items(), ids=BOUND)
def test_bound(text, names):
    a = anchors(text + "\n")
    node = a.source.module.body[0]
    assert a.bound(node) == names


READS = {
    "x": 1,
    "f(x)": 1,
    "f(x=1)": 0,
    "f(y=x)": 1,
    "f(*x, **x)": 2,
    "x.y": 1,
    "y.x": 0,
    "y[x]": 1,
    "x = 1": 0,
    "x = x": 1,
    "x += 1": 1,
    "x.y = 1": 1,
    "x[0] = 1": 1,
    "y, (x, *z) = 1": 0,
    "x: y = 1": 0,
    "y: x = 1": 1,
    "(x := 1)": 0,
    "for x in y: pass": 0,
    "for (x, y) in x: pass": 1,
    "[x for x in y]": 1,
    "{y: x for y in z}": 1,
    "def x(): pass": 0,
    "class x: pass": 0,
    "def f(x): pass": 0,
    "def f(y=x): pass": 1,
    "@x\ndef f(): return x": 2,
    "import x": 0,
    "from y import x": 0,
    "import y as x": 0,
    "lambda y: x": 1,
    "f'{x}'": 1,
    "del x": 1,
    "return_ = x if x else x": 3,
    "'x'  # x": 0,
}


@pytest.mark.parametrize(("text", "count"), READS.items(), ids=READS)
def test_reads(text, count):
    a = anchors(text + "\n")
    assert len(a.reads("x", a.source.module)) == count


def test_reads_within():
    a = anchors("x\nif y:\n    x\n    def f():\n        return x\n")
    assert len(a.reads("x", a.source.module)) == 3
    assert len(a.reads("x", a.source.module.body[1])) == 2
    assert a.reads("nothing", a.source.module) == []


def test_own_nodes_stop_at_definitions():
    node = cst.parse_module("a\ndef f(b=c):\n    d\nclass C:\n    e\nlambda g: h\n[i for j in k]\n")
    names = {n.value for n in own_nodes(node) if isinstance(n, cst.Name)}
    assert names == {"a"}
    function = node.body[1]
    names = {n.value for n in own_nodes(function) if isinstance(n, cst.Name)}
    assert {"f", "b", "c", "d"} <= names


@pytest.mark.parametrize("base", BASES)
def test_names_of_both_shapes(base):
    a = script(BASES[base])
    assert (a.model_args, a.data_args, a.training_args) == ("margs", "dargs", "targs")
    assert (a.config, a.tokenizer, a.model, a.trainer) == (
        "config",
        "tokenizer",
        "model",
        "trainer",
    )
    assert a.raw_datasets == "raw"
    assert a.main.name.value == "main"
    assert a.model_class.name.value == "ModelOptions"
    assert a.data_class.name.value == "DataOptions"
    assert a.first_argument_class is a.model_class


@pytest.mark.parametrize(
    "parse",
    [
        "margs, dargs, targs = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))"
        ".parse_args_into_dataclasses()",
        "parser = HfArgumentParser([ModelOptions, DataOptions, TrainingArguments])\n"
        "margs, dargs, targs, rest = parser.parse_args_into_dataclasses(None, True)",
        "parser = HfArgumentParser((TrainingArguments, DataOptions, ModelOptions))\n"
        "[targs, dargs, margs] = parser.parse_dict({})",
        "parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))\n"
        "if margs:\n    margs, dargs, targs = parser.parse_json_file('a')\n"
        "else:\n    parsed = parser.parse_dict({})\n    margs, dargs, targs = parsed",
        "parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))\n"
        "if margs:\n    margs, dargs, targs = parser.parse_json_file('a')\n"
        "else:\n    parsed = parser.parse_dict({})\n"
        "    margs = parsed[0]\n    dargs = parsed[1]\n    targs = parsed[2]",
        "parser = HfArgumentParser((DataOptions, ModelOptions, Seq2SeqTrainingArguments))\n"
        "if margs:\n    (dargs, margs, targs) = parser.parse_yaml_file('a')\n"
        "else:\n    dargs, margs, targs = parser.parse_json_file('a')\n",
    ],
)
def test_the_parsed_groups(parse):
    a = script(parse=parse)
    assert (a.model_args, a.data_args, a.training_args) == ("margs", "dargs", "targs")


@pytest.mark.parametrize(
    ("classes", "looked_for"),
    [
        ("ModelOptions, DataOptions", "not given exactly the model, data and training"),
        ("ModelOptions, DataOptions, A, B", "not given exactly the model, data and training"),
        (
            "ModelOptions, DataOptions, DataOptions",
            "not given exactly the model, data and training",
        ),
    ],
)
def test_other_than_three_groups(classes, looked_for):
    parse = f"margs, dargs, targs = HfArgumentParser(({classes})).parse_dict({{}})"
    a = script(parse=parse)
    line = render(OLD, {"parse": parse}).split("\n").index("    " + parse) + 1
    refused(looked_for, lambda: a.training_args, line)


def test_a_field_of_a_class():
    a = anchors("class A:\n    x: int\n    y = 1; z: str = ''\n    if x:\n        w: int = 1\n")
    cls = a.classes[0]
    assert a.field(cls, "x") is not None
    assert a.field(cls, "z") is not None
    assert a.field(cls, "y") is None
    assert a.field(cls, "w") is None


def test_a_class_inside_another_is_none_of_the_arguments():
    a = anchors("class A:\n    class B:\n        pass\ndef f():\n    class C:\n        pass\n")
    assert [c.name.value for c in a.classes] == ["A"]


TARGETS = {
    "x = f()": "x",
    "x: T = f()": "x",
    "x = y = f()": None,
    "x, y = f()": None,
    "x.y = f()": None,
    "x[0] = f()": None,
    "f()": None,
    "x = g(f())": None,
    "x = f() or 1": None,
    "x += f()": None,
    "return_(f())": None,
}


@pytest.mark.parametrize(("text", "name"), TARGETS.items(), ids=TARGETS)
def test_target_of(text, name):
    a = anchors(f"\n{text}\n")
    call = next(c for c in a.calls if dotted(c.func) == "f")
    if name:
        assert a.target_of(call, "thing") == name
    else:
        refused("the thing to be assigned to a plain name", lambda: a.target_of(call, "thing"), 2)


def test_a_step_is_a_statement_of_main():
    a = script(
        evaluate="if targs.do_eval:\n    for n in (1, 2):\n        print(trainer.evaluate())"
    )
    (call,) = a.method_calls("evaluate")
    assert isinstance(a.step(call), cst.If)
    assert a.step(call) in a.body
    assert a.step(a.step(call)) is a.step(call)


def test_a_step_outside_main_is_refused():
    a = script(helper="def helper():\n    z(1)")
    call = next(c for c in a.calls if dotted(c.func) == "z")
    line = a.source.text.split("\n").index("    z(1)") + 1
    refused("this to stand in the function that trains", lambda: a.step(call), line)


def test_a_place_is_not_a_definition():
    a = script(evaluate="def judge():\n    return trainer.evaluate()\nclass C:\n    x = judge.y()")
    for call in (*a.method_calls("evaluate"), *a.method_calls("y")):
        assert a.step(call)
        error = refused(
            "to stand in main() itself, not in a definition",
            lambda c=call: a.place(c),
            a.source.lines(call)[0],
        )
        assert error.hint


DICTS = {
    "a display": ("d = {'k': 1, \"x\": 2}", "f(**d)", "2"),
    "annotated": ("d: dict = {'x': 2}", "f(**d)", "2"),
    "in the call": ("pass", "f(**{'x': 2})", "2"),
    "a keyword": ("d = {'k': 1}", "f(x=2, **d)", "2"),
    "without it": ("d = {'k': 1}", "f(**d)", None),
    "another kind of key": ("d = {x: 2}", "f(**d)", None),
    "no keyword at all": ("pass", "f(x)", None),
}


@pytest.mark.parametrize(("first", "call", "value"), DICTS.values(), ids=DICTS)
def test_keyword(first, call, value):
    a = script(end=f"{first}\n{call}")
    found = a.keyword(next(c for c in a.calls if dotted(c.func) == "f"), "x")
    assert (found and a.source.code(found.value)) == value


UNKNOWN = {
    "not bound": ("pass", "f(**d)"),
    "bound twice": ("d = {}\nd = {'x': 1}", "f(**d)"),
    "a loop's": ("for d in ({}, {}):\n    pass", "f(**d)"),
    "a with's": ("with e as d:\n    pass", "f(**d)"),
    "a copy": ("c = {}\nd = c", "f(**d)"),
    "a call's": ("d = dict(x=1)", "f(**d)"),
    "one of two names of a tuple": ("d, e = {}, {}", "f(**d)"),
    "an attribute": ("d = {}", "f(**d.e)"),
    "put together": ("c = {}\nd = {**c}", "f(**d)"),
    "a function's": ("def d():\n    pass", "f(**d)"),
    "read elsewhere": ("d = {}\nprint(d)", "f(**d)"),
    "filled": ("d = {}\nd['x'] = 1", "f(**d)"),
    "deleted from": ("d = {'x': 1}\ndel d['x']", "f(**d)"),
    "given as an argument": ("d = {}", "f(d, **d)"),
    "given as a keyword": ("d = {}", "f(e=d, **d)"),
}


@pytest.mark.parametrize(("first", "call"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_dict_that_is_not_known_is_refused(first, call):
    a = script(end=f"{first}\n{call}")
    found = next(c for c in a.calls if dotted(c.func) == "f")
    with pytest.raises(Refusal) as caught:
        a.keyword(found, "x")
    lines = render(OLD, {"end": f"{first}\n{call}"}).split("\n")
    named = [lines[c.line - 1].strip() for c in caught.value.nearest]
    assert call in named


OTHERWISE = {
    "by another name": "Load = AutoConfig\nconfig = Load.from_pretrained('a')",
    "handed on": "config = load(AutoConfig)",
    "chosen": "config = (AutoConfig if margs else None).from_pretrained('a')",
    "another method": "config = AutoConfig.for_model('a')",
    "under the library's name": "import transformers\nLoad = transformers.AutoConfig",
    "its method by name": "load = AutoConfig.from_pretrained\nconfig = load('a')",
}


@pytest.mark.parametrize("config", OTHERWISE.values(), ids=OTHERWISE)
def test_a_class_used_otherwise_is_refused(config):
    a = script(config=f"{config}\n{OLD['config']}")
    with pytest.raises(
        Refusal, match=r"every use of transformers\.AutoConfig to be a call that lo"
    ):
        a.loads("AutoConfig")


NAMES = {
    "loaded twice": ("tokenizer", "tokenizer = AutoTokenizer.from_pretrained('b')"),
    "made of itself": ("tokenizer", "tokenizer = with_more_tokens(tokenizer)"),
    "made with another": ("model", "model, tokenizer = with_chat(model, tokenizer)"),
    "a function's own": ("tokenizer", "def f():\n    tokenizer = None"),
    "a comprehension's own": ("tokenizer", "names = [tokenizer for tokenizer in ()]"),
    "the model made of itself": ("model", "model = torch.compile(model)"),
    "arguments made of themselves": ("training_args", "targs = replace(targs, seed=1)"),
    "the Trainer made of itself": ("trainer", "trainer = accelerator.prepare(trainer)"),
}


@pytest.mark.parametrize(("name", "code"), NAMES.values(), ids=NAMES)
def test_a_name_that_stays_what_it_is(name, code):
    known = {"training_args": "targs"}
    assert getattr(script(end=code), name) == known.get(name, name)


OTHER_THINGS = {
    "a value": ("tokenizer", "tokenizer = None"),
    "a function": ("tokenizer", "def tokenizer(text):\n    pass"),
    "a function's, of main()'s name": (
        "tokenizer",
        "def f():\n    nonlocal tokenizer\n    tokenizer = None",
    ),
    "a loop's": ("tokenizer", "for tokenizer in ():\n    pass"),
    "another model": ("model", "model = load('b')"),
    "arguments swapped": ("data_args", "margs, dargs = dargs, margs"),
    "no arguments": ("training_args", "targs = None"),
    "another Trainer": ("trainer", "trainer = None"),
}


@pytest.mark.parametrize(("name", "code"), OTHER_THINGS.values(), ids=OTHER_THINGS)
def test_a_name_for_other_things_too_is_refused(name, code):
    a = script(end=code)
    lines = [line.strip() for line in render(OLD, {"end": code}).split("\n")]
    found = code.split("\n")[-1 if "nonlocal" in code else 0].strip()
    refused("and nothing else", lambda: getattr(a, name), lines.index(found) + 1)


def test_aliases():
    a = script(end="x = y = trainer\nz: T = x\nw = (v := z)\nu = f(w)\nt = trainer.model")
    assert set(a.aliases(["trainer"])) == {"trainer", "x", "y", "z", "v"}


def test_one():
    a = anchors("f()\ng()\n")
    f, g = a.calls
    assert a.one([f], "x", [g], "hint") is f
    assert refused("found no x", lambda: a.one([], "x", [g], "hint"), 2).hint == "hint"
    refused("found 2 places, expected one: x", lambda: a.one([f, g], "x", [], ""), 1, 2)

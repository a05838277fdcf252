"""codemods/engine/script.py: the finished script as every verify sees it."""

from __future__ import annotations

import ast

import pytest

from codemods.engine.refusal import Candidate, Refusal
from codemods.engine.script import Script, dotted
from tests.codemods.helpers import BASES, FINISHED, dedent, render


def script(base=FINISHED, **filled):
    return Script(render(base, {name: dedent(text) for name, text in filled.items()}))


def broken(promise):
    return pytest.raises(Refusal, match=f"^.*verify: .*{promise}")


def call_of(script, name):
    (call,) = script.calls(name)
    return call


@pytest.mark.parametrize(
    ("code", "name"),
    [("a", "a"), ("a.b.c", "a.b.c"), ("a().b", ".b"), ("a()", ""), ("'a'", "")],
)
def test_dotted(code, name):
    assert dotted(ast.parse(code, mode="eval").body) == name


@pytest.mark.parametrize("base", BASES)
def test_main_is_the_function_that_parses(base):
    assert script(BASES[base]).main.name == "main"
    text = render(BASES[base]).replace("main()", "train()")
    assert Script(text).main.name == "train"


@pytest.mark.parametrize(
    "filled",
    [
        {"parse": "margs = dargs = targs = None"},
        {"helper": "def other():\n    return HfArgumentParser((A, B, C))"},
        {"helper": "def other():\n    return LenientArgumentParser((A, B, C))"},
    ],
)
def test_one_function_parses(filled):
    with broken("one function that parses the arguments"):
        script(**filled)


def test_calls():
    s = script(end="a.f()\nf(1)\na.b.f(f(2))\ng().f()\nmy_f()\nf.g()\nf")
    assert [ast.unparse(c) for c in s.calls("f")] == [
        "a.f()",
        "f(1)",
        "a.b.f(f(2))",
        "f(2)",
        "g().f()",
    ]
    assert [ast.unparse(c) for c in s.calls("a.f")] == ["a.f()"]
    assert [ast.unparse(c) for c in s.calls("b.f")] == ["a.b.f(f(2))"]
    assert len(s.calls("run_main")) == 1
    assert s.calls("run_main", s.main) == []


def test_one_call():
    s = script(end="f(1)\ng(1)\ng(2)")
    assert ast.unparse(s.one_call("f")) == "f(1)"
    with broken(r"g is called once in main\(\)") as caught:
        s.one_call("g")
    assert [c.text for c in caught.value.nearest] == ["g(1)", "g(2)"]
    with broken(r"h is called once in main\(\)") as caught:
        s.one_call("h")
    assert caught.value.nearest is None


def test_require():
    s = script(end="x = (\n    1\n)")
    assert s.require(True, "all is well") is None
    node = s.main.body[-1]
    with broken("x is 2") as caught:
        s.require([], "x is 2", node)
    assert caught.value.nearest == [Candidate(node.lineno, "x = 1")]
    assert "\n" not in str(caught.value)


UNCONDITIONAL = {
    "f()": True,
    "x = f()": True,
    "x = y = f()": True,
    "if x:\n    f()": False,
    "x = f() or 1": False,
    "x = g(f())": False,
    "for x in f():\n    pass": False,
    "with f():\n    pass": False,
    "def g():\n    f()": False,
    "x = [f() for y in z]": False,
    "while f():\n    pass": False,
    "x = (f())": True,
}


@pytest.mark.parametrize(("end", "holds"), UNCONDITIONAL.items(), ids=UNCONDITIONAL)
def test_unconditional(end, holds):
    s = script(end=end)
    assert s.unconditional(call_of(s, "f")) is holds


ASSIGNED = {
    "x = f()": ["x"],
    "x = y = f()": ["x", "y"],
    "x: int = f()": ["x"],
    "if a:\n    x = f()": ["x"],
    "f()": [],
    "x.y = f()": [],
    "x, y = f()": [],
    "x = g(f())": [],
    "x += f()": [],
    "x.y: T = f()": [],
}


@pytest.mark.parametrize(("end", "names"), ASSIGNED.items(), ids=ASSIGNED)
def test_assigned(end, names):
    s = script(end=end)
    assert s.assigned(call_of(s, "f")) == names


BINDINGS = {
    "x = 1\nx = 2": 2,
    "x: int = 1": 1,
    "x += 1": 1,
    "x, (y, *z) = 1": 1,
    "for x in y:\n    pass": 1,
    "with a as x:\n    pass": 1,
    "(x := 1)": 1,
    "del x": 1,
    "y = [x for x in z]": 1,
    "print(x)": 0,
    "x.y = 1": 0,
    "x[0] = 1": 0,
}


@pytest.mark.parametrize(("end", "count"), BINDINGS.items(), ids=BINDINGS)
def test_bindings(end, count):
    assert len(script(end=end).bindings("x")) == count


KEYWORDS = {
    "f(a, b=1)": {"b": "1"},
    "f(*a, b=c.d)": {"b": "c.d"},
    "f(**{'b': 1, c: 2, **d})": {"b": "1"},
    "d = {'b': 1}\nf(**d)": {"b": "1"},
    "d = {'b': 1}\nf(a=2, **d)": {"a": "2", "b": "1"},
    "if a:\n    d = {'b': 1}\nelse:\n    d = {'b': 2}\nf(**d)": {},
    "d = dict(b=1)\nf(**d)": {},
    "f(**g())": {},
    "f(**undefined)": {},
}


@pytest.mark.parametrize(("end", "expected"), KEYWORDS.items(), ids=KEYWORDS)
def test_keywords(end, expected):
    s = script(end=end)
    found = s.keywords(call_of(s, "f"))
    assert {k: ast.unparse(v) for k, v in found.items()} == expected


NOT_KEYWORDS = {
    "d = {'b': 1}\nf(b=2, **d)": "b is given once",
    "f(**{'b': 1}, b=2)": "b is given once",
    "f(**{'b': 1}, **{'b': 2})": "b is given once",
    "f(**{'b': 1, 'b': 2})": "b is given once",
    "d = {'b': 1}\nd.clear()\nf(**d)": "d is written once and then only unpacked",
    "d = {'b': 1}\nf(**d)\nd['b'] = 2": "d is written once and then only unpacked",
    "d = {'b': 1}\ng(d)\nf(**d)": "d is written once and then only unpacked",
}


@pytest.mark.parametrize(("end", "promise"), NOT_KEYWORDS.items(), ids=NOT_KEYWORDS)
def test_keywords_that_nobody_can_know(end, promise):
    s = script(end=end)
    with broken(promise):
        s.keywords(call_of(s, "f"))


PARSERS = {
    "parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))\n"
    "margs, dargs, targs = parser.parse_dict({})": "margs dargs targs",
    "parser = HfArgumentParser([DataOptions, TrainingArguments, ModelOptions])\n"
    "d, t, m = parser.parse_args_into_dataclasses()": "m d t",
    "parser = HfArgumentParser(dataclass_types=(ModelOptions, DataOptions, T))\n"
    "if m:\n    m, d, t = parser.parse_dict({})\nelse:\n    (m, d, t) = parser.parse_json_file(1)": "m d t",
    "m, d, t, rest = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})": "m d t",
    "m, d, t = LenientArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})": "m d t",
    "m, d, t = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})\n"
    "all = parser.parse_json_file(1)\nm, d, t = all\nd = replace(d, x=1)\ndef f(rows):\n    d = rows\n    return d": "m d t",
}


@pytest.mark.parametrize(("parse", "names"), PARSERS.items(), ids=range(len(PARSERS)))
def test_groups(parse, names):
    groups = script(parse=parse).groups()
    assert [groups[role] for role in ("model", "data", "training")] == names.split()


NOT_GROUPS = {
    "parser = HfArgumentParser(GROUPS)\nm, d, t = parser.parse_dict({})": "classes are listed",
    "parser = HfArgumentParser()\nm, d, t = parser.parse_dict({})": "classes are listed",
    "parser = HfArgumentParser((ModelOptions, DataOptions, T))\nall = parser.parse_dict({})": "three names",
    "parser = HfArgumentParser((ModelOptions, DataOptions, T))\nm, d = parser.parse_dict({})": "three names",
    "parser = HfArgumentParser((ModelOptions, DataOptions, T))\nm, d, t = parser.parse_dict({})\n"
    "n, d, t = parser.parse_dict({})": "one name for model",
    "parser = HfArgumentParser((ModelOptions, T))": "one argument class defines train_file",
    "m, d, t = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})\n"
    "more = LenientArgumentParser((ModelOptions, DataOptions, T))": "one parser is made in main",
    "m, d, t = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})\n"
    "d = m": "d is the data arguments and nothing else",
    "m, d, t = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})\n"
    "for t in m:\n    pass": "t is the training arguments and nothing else",
    "m, d, t = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict({})\n"
    "if t:\n    m, x = t": "m is the model arguments and nothing else",
}


@pytest.mark.parametrize(("parse", "promise"), NOT_GROUPS.items(), ids=range(len(NOT_GROUPS)))
def test_groups_that_nobody_can_know(parse, promise):
    s = script(parse=parse)
    with broken(promise):
        s.groups()


def test_loaded():
    s = script(
        end="a = AutoTokenizer.from_pretrained('x')\nb = c = t.AutoTokenizer.from_pretrained('x')"
    )
    assert s.loaded("AutoTokenizer") == {"tokenizer", "a", "b", "c"}
    assert s.loaded("AutoProcessor") == set()


def test_loaded_data():
    s = script(
        load="a = load_dataset('x')\nb: Data = datasets.load_dataset('x')\nc = d = dargs.load_files('x')\n"
        "e['x'] = load_dataset('x')\nf = g.load('x')",
        helper="def other():\n    h = load_dataset('x')",
    )
    assert s.loaded_data() == {"a", "b", "c", "d"}


def test_model_loads():
    s = script(
        helper="def other():\n    return AutoModelForCausalLM.from_pretrained('x')",
        model="a = AutoModel.from_config(c)\nb = t.AutoModel.from_pretrained('x')\nPeftModel.from_pretrained('x')",
    )
    assert {ast.unparse(c) for c in s.model_loads()} == {
        "AutoModelForCausalLM.from_pretrained('x')",
        "AutoModel.from_config(c)",
        "t.AutoModel.from_pretrained('x')",
    }


GIVEN = {
    "f(a, b.c)": True,
    "f(z, b.c)": True,
    "f(b.c, a)": False,
    "f(a)": False,
    "f()": False,
    "f(a, b.c, d)": False,
    "f(a, b.c, d=1)": False,
    "f(a, c=b.c)": False,
    "f(*a, b.c)": False,
    "f(a, b)": False,
    "f(a(), b.c)": False,
}


@pytest.mark.parametrize(("end", "holds"), GIVEN.items(), ids=GIVEN)
def test_given(end, holds):
    s = script(end=end)
    if holds:
        s.given(call_of(s, "f"), "it is so", {"a", "z"}, "b.c")
    else:
        with broken("it is so"):
            s.given(call_of(s, "f"), "it is so", {"a", "z"}, "b.c")


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
    "in a try": ("try:\n    x = 1\nfinally:\n    a()\nf(x)", True),
    "by a walrus": ("a(x := 1)\nf(x)", True),
    "deleted": ("x = 1\ndel x\nf(x)", False),
    "deleted in a branch": ("x = 1\nif a:\n    del x\nf(x)", False),
    "deleted later": ("x = 1\nf(x)\ndel x", True),
    "a function's own": ("def g():\n    x = 1\nf(x)", False),
    "by a function": ("def g():\n    nonlocal x\n    x = 1\ng()\nf(x)\nx = 2", True),
    "within a function": ("x = 1\ndef g():\n    f(x)", True),
}


@pytest.mark.parametrize(("end", "holds"), BOUND.values(), ids=BOUND)
def test_is_bound(end, holds):
    s = script(end=end)
    assert s.is_bound("x", call_of(s, "f")) is holds


def test_what_is_given_must_be_bound():
    s = script(end="f(z)\nz = 1")
    with broken("z is bound wherever f is given it"):
        s.given(call_of(s, "f"), "it is so", "z")


def test_aliases():
    s = script(end="x = y = trainer\nz: T = x\nw = (v := z)\nu = f(w)\nt = trainer.model")
    assert s.aliases(["trainer"]) == {"trainer", "x", "y", "z", "v"}


def test_sets():
    s = script(end="a.x = 1\na.b.x += 1\nsetattr(a, 'x', 1)\na.y = a.x\nsetattr(a, n, 1)\nx = 1")
    assert [n.lineno - s.main.end_lineno for n in s.sets("x")] == [-5, -4, -3]


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
    arguments = s.arguments()
    assert list(arguments) == ["model_name_or_path", "config_name", "one", "two", "train_file"]
    assert "Constant(value=1)" in arguments["one"]
    assert s.definitions() == {
        "model_name_or_path": ["ModelOptions"],
        "config_name": ["ModelOptions"],
        "train_file": ["DataOptions"],
        "one": ["DataOptions", "Root"],
        "two": ["Base"],
    }
    assert s.bases("DataOptions") == ["Base", "Unknown"]
    assert s.field("DataOptions", "one").value.value == 1
    assert s.field("DataOptions", "three") is None
    assert s.field("DataOptions", "four") is None


@pytest.mark.parametrize(
    "change",
    [
        ("one: int = 1", "one: int = 2"),
        ("one: int = 1", "one: str = 1"),
        ("two: int = 2", "two: int = field(default=2)"),
    ],
)
def test_an_argument_that_is_changed_shows(change):
    before, after = script(data_class=CLASSES), script(data_class=CLASSES.replace(*change))
    assert before.arguments() != after.arguments()


def test_an_argument_that_is_laid_out_otherwise_is_the_same():
    other = CLASSES.replace("one: int = 1", "one: int = (\n        1  # so\n    )")
    assert script(data_class=CLASSES).arguments() == script(data_class=other).arguments()


def test_argument_class():
    assert script().argument_class("train_file") == "DataOptions"
    with broken("one argument class defines files"):
        script().argument_class("files")
    both = "class DataOptions:\n    train_file: str\n    model_name_or_path: str"
    with broken("one argument class defines model_name_or_path"):
        script(data_class=both).argument_class("model_name_or_path")


def test_a_step_is_a_statement_of_main():
    s = script(end="if a:\n    for b in c:\n        f()")
    assert s.step(call_of(s, "f")) is s.main.body[-1]


def test_mains_own_nodes_are_not_those_of_its_functions():
    s = script(end="a\ndef g():\n    return b\nclass C:\n    d = 1\ne = lambda: h\n")
    names = {n.id for n in s.main_own if isinstance(n, ast.Name)}
    assert {"a", "e"} <= names
    assert not {"b", "d", "h"} & names
    assert {"a", "b", "d", "e", "h"} <= {n.id for n in s.main_nodes if isinstance(n, ast.Name)}

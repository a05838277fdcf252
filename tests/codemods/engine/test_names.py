"""codemods/engine/names.py"""

from __future__ import annotations

import pytest

from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from tests.codemods.helpers import BASES, OLD, each, render

ROLES = (
    "model_args",
    "data_args",
    "training_args",
    "config",
    "tokenizer",
    "model",
    "data",
    "trainer",
)


def script(**filled):
    return Script(render(OLD, filled))


@pytest.mark.parametrize("base", BASES)
def test_names_of_both_shapes(base):
    s = Script(render(BASES[base]))
    found = [s.name(role, s.main) for role in ROLES]
    assert found == ["margs", "dargs", "targs", "config", "tokenizer", "model", "raw", "trainer"]


CLASSES = "(ModelOptions, DataOptions, TrainingArguments)"
PARSER = f"parser = HfArgumentParser({CLASSES})"
PARSES = {
    "at once": f"margs, dargs, targs = HfArgumentParser({CLASSES}).parse_dict(1)",
    "in a list": f"{PARSER.replace('((', '([').replace('))', '])')}\n[margs, dargs, targs] = parser.parse_dict(1)",
    "by keyword": f"{PARSER.replace('((', '(dataclass_types=(')}\nmargs, dargs, targs = parser.parse_dict(1)",
    "what is left is taken, too": f"{PARSER}\nmargs, dargs, targs, rest = parser.parse_args_into_dataclasses(1)",
    "another order": "parser = HfArgumentParser((TrainingArguments, DataOptions, ModelOptions))\n"
    "(targs, dargs, margs) = parser.parse_yaml_file(1)",
    "another kind": "from transformers import Seq2SeqTrainingArguments as T\n"
    "margs, dargs, targs = HfArgumentParser((ModelOptions, DataOptions, T)).parse_dict(1)",
    "the classes have a name": f"groups = {CLASSES}\nmargs, dargs, targs = HfArgumentParser(groups).parse_dict(1)",
    "by way of a tuple": f"{PARSER}\nif a:\n    margs, dargs, targs = parser.parse_json_file(1)\n"
    "else:\n    all = parser.parse_dict({})\n    margs, dargs, targs = all",
    "one by one": f"{PARSER}\nall = parser.parse_dict({{}})\nmargs = all[0]\ndargs = all[1]\ntargs = all[2]",
    "none at first": f"margs = dargs = targs = None\n{PARSER}\nmargs, dargs, targs = parser.parse_dict(1)",
    "made of themselves": f"{OLD['parse']}\ntargs = replace(targs, seed=1)\ndargs += 1",
    "a function's own": f"{OLD['parse']}\ndef f(rows):\n    dargs = rows\n    return dargs",
}


@pytest.mark.parametrize("parse", PARSES.values(), ids=PARSES)
def test_the_parsed_groups(parse):
    s = script(parse=parse)
    assert [s.name(role, s.main) for role in ROLES[:3]] == ["margs", "dargs", "targs"]


GROUPS = "HfArgumentParser to be given model, data and training arguments, one each"
BAD = {
    "two": (GROUPS, "margs, dargs = HfArgumentParser((ModelOptions, DataOptions)).parse_dict(1)"),
    "no training": (GROUPS, f"margs, dargs, x = {PARSER[9:].replace('TrainingArguments', 'X')}.parse_dict(1)"),
    "twice": ("found 2 places, expected one", f"a, b, c = {PARSER[9:].replace('ModelOptions', 'ModelOptions, ModelOptions')}.parse_dict(1)"),
    "no tuple": ("to be a tuple written out", "a, b, c = HfArgumentParser(*all).parse_dict(1)"),
    "one name": ("one name for the model arguments in main(), not 0", f"{PARSER}\nall = parser.parse_dict(1)"),
    "two names": (
        "one name for the model arguments in main(), not 2 (m, margs)",
        f"{PARSER}\nm, dargs, targs = parser.parse_dict(1)\nmargs, dargs, targs = parser.parse_dict(2)",
    ),
    "swapped later": ("'margs' to be the model arguments and nothing else", f"{OLD['parse']}\nmargs = f()"),
}  # fmt: skip


@each("looked_for, parse", BAD)
def test_groups_that_nobody_can_know(looked_for, parse):
    s = script(parse=parse)
    with pytest.raises(Refusal) as caught:
        s.name("model_args", s.main)
    assert looked_for in caught.value.looked_for


STAYS = {
    "none first": ("tokenizer", {"tokenizer": f"tokenizer = None\n{OLD['tokenizer']}"}),
    "loaded twice": ("tokenizer", {"end": OLD["tokenizer"]}),
    "another class": ("tokenizer", {"end": "tokenizer = ByteTokenizer.from_pretrained('b')"}),
    "a class of its own": ("tokenizer", {"end": "tokenizer = lib.ByteTokenizer('b')"}),
    "one or the other": ("tokenizer", {"tokenizer": "tokenizer = AutoTokenizer.from_pretrained(1) if a else None"}),
    "made of itself": ("tokenizer", {"end": "tokenizer = with_more(tokenizer)"}),
    "made with another": ("model", {"end": "model, tokenizer = chatty(model, tokenizer)"}),
    "moved": ("model", {"end": "model = model.to('cuda')"}),
    "moved at once": ("model", {"model": OLD["model"] + ".half().to('cuda')"}),
    "a function's own": ("model", {"end": "def f():\n    model = None"}),
    "a Trainer prepared": ("trainer", {"end": "trainer = accelerator.prepare(trainer)"}),
    "any model class": ("model", {"model": "import transformers as t\nmodel = t.LlamaForCausalLM.from_pretrained(1)"}),
}  # fmt: skip


@each("role, filled", STAYS)
def test_a_name_that_stays_what_it_is(role, filled):
    s = script(**filled)
    assert s.name(role, s.main) == role


OTHERS = {
    "a value": ("tokenizer", "tokenizer = 'a'"),
    "a function": ("tokenizer", "def tokenizer(text): pass"),
    "a function's, of main()'s name": (
        "tokenizer",
        "def f():\n    nonlocal tokenizer\n    tokenizer = 1",
    ),
    "a loop's": ("tokenizer", "for tokenizer in (): pass"),
    "an import": ("tokenizer", "import tokenizer"),
    "another model": ("model", "model = load('b')"),
    "arguments swapped": ("data_args", "margs, dargs = dargs, margs"),
    "another Trainer": ("trainer", "trainer = Loop()"),
}


@each("role, end", OTHERS)
def test_a_name_for_other_things_too_is_refused(role, end):
    s = script(end=end)
    with pytest.raises(Refusal, match=r"to be the .* and nothing else|one name for the .*, not 2"):
        s.name(role, s.main)


FLOWS = {
    "a parameter": ("def f(net, words): pass", "f(model, tokenizer)", "net words"),
    "by keyword": ("def f(words, net): pass", "f(net=model, words=tokenizer)", "net words"),
    "of a function it calls": (
        "def g(net): pass\ndef f(a, words):\n    g(a)",
        "f(model, tokenizer)",
        "a words",
    ),
    "what it makes": (
        "def f(words):\n    net = AutoModelForCausalLM.from_pretrained(1)",
        "f(tokenizer)",
        "net words",
    ),
    "what another returns": (
        "def g():\n    return AutoModelForCausalLM.from_pretrained(1), AutoTokenizer.from_pretrained(1)\n"
        "def f():\n    net, words = g()",
        "f()",
        "net words",
    ),
    "what another returns of its own": (
        "def g():\n    m = AutoModelForCausalLM.from_pretrained(1)\n    t = AutoTokenizer.from_pretrained(1)\n"
        "    return t, None, m\ndef f():\n    words, other, net = g()",
        "f()",
        "net words",
    ),
    "a part of it": (
        "def g():\n    return AutoModelForCausalLM.from_pretrained(1), 1\n"
        "def f(words):\n    both = g()\n    net = both[0]",
        "f(tokenizer)",
        "net words",
    ),
    "stars are not followed": ("def f(net, words): pass", "f(*all)", "None None"),
}


@each("helper, call, wanted", FLOWS)
def test_roles_flow_through_functions(helper, call, wanted):
    s = script(helper=helper, end=call)
    found = [s.names.all(role, s.functions["f"]) for role in ("model", "tokenizer")]
    assert " ".join(n[0] if n else "None" for n in found) == wanted


def test_the_data_is_what_is_mapped():
    s = script(load=f"{OLD['load']}\nmore = load_dataset('b')\nraw['test'] = load_dataset('c')")
    assert s.name("data", s.main) == "raw"
    assert set(s.names.all("data", s.main)) == {"raw", "more"}


def test_a_name_that_is_missing_is_looked_for_where_its_kind_is_made():
    s = script(helper="def f(): pass")
    with pytest.raises(Refusal) as caught:
        s.name("tokenizer", s.functions["f"])
    assert caught.value.looked_for == "one name for the tokenizer in f(), not 0"
    assert [c.text for c in caught.value.nearest] == [OLD["tokenizer"].partition(" = ")[2]]

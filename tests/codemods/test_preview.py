"""codemods/preview.py"""

from __future__ import annotations

import pytest

from codemods import preview
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    check_unverified,
    render,
)

SHOW = "show_preview(raw, encode_pair, tokenizer, dargs, targs)"
LOAD = "model = AutoModelForCausalLM.from_pretrained('there')"

TRANSFORMED = {
    "one line": LOAD,
    "in a branch": (
        "if margs.model_name_or_path:\n"
        "    model = AutoModelForCausalLM.from_pretrained('there')\n"
        "else:\n"
        "    model = AutoModelForCausalLM.from_config(config)"
    ),
    "after a comment": f"# It is big.\n{LOAD}",
    "under the library's name": LOAD.replace("Auto", "transformers.Auto"),
    "of two the first": f"{LOAD}\nprint('once more')\n{LOAD}",
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("before", TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, newline, base):
    imports = BASES[base]["imports"] + "\nimport transformers"
    check_transformed(
        preview,
        before,
        f"{SHOW}\n{before}",
        slot="model",
        also={"imports": (imports, imports)},
        base=BASES[base],
        newline=newline,
    )


def test_other_names():
    names = {"raw": "rows_of", "tokenizer": "words", "dargs": "the_data", "targs": "run"}
    said = {
        "load": 'rows_of = load_dataset("json", data_files=the_data.train_file)',
        "parse": OLD["parse"].replace("dargs, targs", "the_data, run"),
        "tokenizer": OLD["tokenizer"].replace("tokenizer =", "words ="),
        "mapping": "chunks = rows_of.map(words)",
        "splits": OLD["splits"].replace("targs", "run"),
        "trainer": "trainer = Trainer(\n"
        "    model=model, args=run, train_dataset=train_rows, eval_dataset=eval_rows)",
    }
    check_transformed(
        preview,
        OLD["model"],
        f"show_preview({', '.join(names.get(n, n) for n in ARGUMENTS)})\n{OLD['model']}",
        slot="model",
        also={slot: (text, text) for slot, text in said.items()},
    )


ARGUMENTS = ("raw", "encode_pair", "tokenizer", "dargs", "targs")


def test_the_record():
    _, patch = apply(render(OLD), preview)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [("added before", "main", SHOW)]
    assert patch.graft_before.name.value == "main"


def test_no_model_is_refused():
    check_refused(
        preview,
        "found no call of transformers.AutoModelForCausalLM.from_pretrained",
        nearest=(OLD["config"], OLD["tokenizer"]),
        hint="The model is expected",
        model="model = None",
    )


def test_loaded_in_a_definition_is_refused():
    check_refused(
        preview,
        "to stand in main() itself, not in a definition",
        nearest=("return AutoModelForCausalLM.from_pretrained('there')",),
        hint="What is to follow it",
        model=(
            "def load():\n    return AutoModelForCausalLM.from_pretrained('there')\nmodel = load()"
        ),
    )


@pytest.mark.parametrize("late", ["load", "tokenizer"])
def test_verify_catches_what_is_there_only_later(late):
    """Upstream would have to load the model first; there is no place for a preview then."""
    name = OLD[late].partition(" ")[0]
    check_unverified(
        preview,
        f"{name} is bound wherever show_preview is given it",
        **{late: "pass", "model": f"{OLD['model']}\n{OLD[late]}"},
    )


RIGHT = FINISHED["model"]
WITHOUT = RIGHT.replace(f"{SHOW}\n", "")
PROMISE = "the data may be looked at before any weight is loaded"


def given(*names):
    return RIGHT.replace(SHOW, f"show_preview({', '.join(names)})")


CAUGHT = {
    "nothing shown": (WITHOUT, "show_preview is called once in main()"),
    "twice": (f"{SHOW}\n{RIGHT}", "show_preview is called once in main()"),
    "too late": (f"{WITHOUT}\n{SHOW}", PROMISE),
    "on a condition": (RIGHT.replace(SHOW, f"if dargs.preview:\n    {SHOW}"), PROMISE),
    "in a definition": (RIGHT.replace(SHOW, f"def show():\n    {SHOW}"), PROMISE),
    "in an expression": (RIGHT.replace(SHOW, f"dargs.preview and {SHOW}"), PROMISE),
    "no model": (f"{SHOW}\nmodel = None", PROMISE),
    "without arguments": (given(), PROMISE),
    "by keyword": (RIGHT.replace("targs)\nmodel", "training_args=targs)\nmodel"), PROMISE),
    "other arguments": (given("raw", "encode_pair", "tokenizer", "margs", "targs"), PROMISE),
    "arguments swapped": (given("raw", "encode_pair", "tokenizer", "targs", "dargs"), PROMISE),
    "prompts encoded": (given("raw", "encode_prompt", "tokenizer", "dargs", "targs"), PROMISE),
    "another tokenizer": (given("raw", "encode_pair", "config", "dargs", "targs"), PROMISE),
    "other data": (given("config", "encode_pair", "tokenizer", "dargs", "targs"), PROMISE),
}


@pytest.mark.parametrize(("model", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(model, promise):
    check_caught(preview, promise, model=model)


EARLY = {
    "in main()": {"config": f"draft = AutoModel.from_pretrained('there')\n{FINISHED['config']}"},
    "from a config": {"resize": "pass", "tokenizer": f"draft = AutoModel.from_config(config)\n{FINISHED['tokenizer']}"},
    "in a helper": {"helper": "def helper():\n    return AutoModel.from_pretrained('there')"},
}  # fmt: skip


@pytest.mark.parametrize("spoilt", EARLY.values(), ids=EARLY)
def test_verify_catches_a_load_before(spoilt):
    check_caught(preview, PROMISE, **spoilt)


@pytest.mark.parametrize(
    "model",
    [
        RIGHT,
        RIGHT.replace(SHOW, f"{SHOW}\nprint('loading')"),
        RIGHT.replace("AutoModel", "AutoModelForCausalLM"),
        f"if margs.config_name:\n    pass\n{RIGHT}",
    ],
)
def test_verify_accepts(model):
    check_accepted(preview, model=model)

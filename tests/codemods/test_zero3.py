"""codemods/zero3.py"""

from __future__ import annotations

import pytest

from codemods import zero3
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

MORE = "**zero3_model_kwargs(config, margs)"

TRANSFORMED = {
    "one line": (
        "model = AutoModelForCausalLM.from_pretrained('there')",
        f"model = AutoModelForCausalLM.from_pretrained('there', {MORE})",
    ),
    "no arguments": (
        "model = AutoModelForCausalLM.from_pretrained()",
        f"model = AutoModelForCausalLM.from_pretrained({MORE})",
    ),
    "a comma at the end": (
        "model = AutoModelForCausalLM.from_pretrained('there', dtype='auto', )",
        f"model = AutoModelForCausalLM.from_pretrained('there', dtype='auto', {MORE})",
    ),
    "several lines, comments": (
        """
        model = AutoModelForCausalLM.from_pretrained(  # big
            "there",  # or here
            # As it was.
            config=config,
            dtype="auto",
        )
        """,
        f"""
        model = AutoModelForCausalLM.from_pretrained(  # big
            "there",  # or here
            # As it was.
            config=config,
            dtype="auto",
            {MORE},
        )
        """,
    ),
    "a dict beside it": (
        "kwargs = {'dtype': 'auto'}\nmodel = AutoModelForCausalLM.from_pretrained('there', **kwargs)",
        "kwargs = {'dtype': 'auto'}\n"
        f"model = AutoModelForCausalLM.from_pretrained('there', **kwargs, {MORE})",
    ),
    "a model from its config stays": (
        """
        if margs.model_name_or_path:
            model = AutoModelForCausalLM.from_pretrained("there")
        else:
            model = AutoModelForCausalLM.from_config(config)  # new
        """,
        f"""
        if margs.model_name_or_path:
            model = AutoModelForCausalLM.from_pretrained("there", {MORE})
        else:
            model = AutoModelForCausalLM.from_config(config)  # new
        """,
    ),
    "each of two": (
        """
        if margs.config_name:
            model = AutoModelForCausalLM.from_pretrained("there")
        else:
            model = AutoModelForCausalLM.from_pretrained("here", force_download=True)
        """,
        f"""
        if margs.config_name:
            model = AutoModelForCausalLM.from_pretrained("there", {MORE})
        else:
            model = AutoModelForCausalLM.from_pretrained("here", force_download=True, {MORE})
        """,
    ),
    "config and tokenizer stay": (
        "draft = AutoConfig.from_pretrained('a')\nmodel = "
        "AutoModelForCausalLM.from_pretrained('there')\nconfig = draft",
        "draft = AutoConfig.from_pretrained('a')\nmodel = "
        f"AutoModelForCausalLM.from_pretrained('there', {MORE.replace('config', 'draft')})\n"
        "config = draft",
    ),
    "under the library's name": (
        "model = transformers.AutoModelForCausalLM.from_pretrained('there')",
        f"model = transformers.AutoModelForCausalLM.from_pretrained('there', {MORE})",
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, newline, base):
    base = BASES[base]
    same = {"imports": base["imports"] + "\nimport transformers"}
    if "draft" in before:
        same["config"] = "print('no config yet')"
        if base is not OLD:
            same["tokenizer"] = OLD["tokenizer"]
    check_transformed(
        zero3,
        before,
        after,
        slot="model",
        also={slot: (text, text) for slot, text in same.items()},
        base=base,
        newline=newline,
    )


@pytest.mark.parametrize("base", BASES)
def test_the_record(base):
    _, patch = apply(render(BASES[base]), zero3)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [("changed", "main", MORE)]
    assert patch.graft_before.name.value == "main"


def test_the_config_by_another_name():
    config = "shape = AutoConfig.from_pretrained('there')"
    before = "model = AutoModelForCausalLM.from_pretrained('there', config=shape)"
    check_transformed(
        zero3,
        before,
        f"{before[:-1]}, {MORE.replace('config,', 'shape,')})",
        slot="model",
        also={"config": (config, config)},
    )


REFUSED = {
    "no config": (
        {"config": "config = None"},
        "found no name that the model's config is bound to",
        (OLD["tokenizer"], OLD["model"]),
        "",
    ),
    "two configs": (
        {
            "config": "first = AutoConfig.from_pretrained('a')\nconfig = AutoConfig.from_pretrained('b')"
        },
        "found more than one name that the model's config is bound to",
        ("first = AutoConfig.from_pretrained('a')", "config = AutoConfig.from_pretrained('b')"),
        "",
    ),
    "a config that is handed on at once": (
        {"config": "config = quiet(AutoConfig.from_pretrained('a'))"},
        "the model's config to be assigned to a plain name",
        ("config = quiet(AutoConfig.from_pretrained('a'))",),
        "",
    ),
    "upstream says so itself": (
        {"model": "model = AutoModelForCausalLM.from_pretrained('there', empty_init=True)"},
        "a model loaded without empty_init of upstream's own",
        ("model = AutoModelForCausalLM.from_pretrained('there', empty_init=True)",),
        "",
    ),
    "upstream says so itself, in a dict": (
        {
            "model": "more = {'empty_init': False}\n"
            "model = AutoModelForCausalLM.from_pretrained('there', **more)"
        },
        "a model loaded without empty_init of upstream's own",
        ("model = AutoModelForCausalLM.from_pretrained('there', **more)",),
        "",
    ),
    "no model": (
        {"model": "model = load('there')"},
        "found no call of transformers.AutoModelForCausalLM.from_pretrained",
        (OLD["config"], OLD["tokenizer"]),
        "The model is expected to be loaded through that class by name",
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(zero3, looked_for, nearest=nearest, hint=hint, **filled)


def test_verify_refuses_another_model_that_is_loaded():
    check_unverified(
        zero3,
        "the model's loading knows ZeRO-3",
        end="draft = AutoModel.from_pretrained('a draft')",
    )


def test_verify_refuses_a_model_that_is_loaded_before_its_config():
    check_unverified(
        zero3,
        "config is bound wherever zero3_model_kwargs is given it",
        tokenizer=OLD["tokenizer"] + "\n" + OLD["model"].replace("config=config", "dtype='auto'"),
        config="print('no config yet')",
        model=OLD["config"],
    )


RIGHT = FINISHED["model"]
PLAIN = RIGHT.replace(f", {MORE}", "")
CAUGHT = {
    "not given": PLAIN,
    "under the library's name": PLAIN.replace("AutoModel.", "transformers.AutoModel."),
    "one of two": f"{RIGHT}\n{PLAIN}",
    "another's": RIGHT.replace("zero3_model_kwargs", "model_kwargs"),
    "not called": RIGHT.replace("(config, margs)", ""),
    "twice": f"{RIGHT[:-1]}, {MORE})",
    "empty_init besides": RIGHT.replace(MORE, f"empty_init=True, {MORE}"),
    "no stars": RIGHT.replace("**zero3", "more=zero3"),
    "nothing loads a model": "model = None",
    "no arguments": RIGHT.replace("(config, margs)", "()"),
    "arguments swapped": RIGHT.replace("(config, margs)", "(margs, config)"),
}


@pytest.mark.parametrize(
    "spoilt",
    [pytest.param(v, id=k) for k, v in CAUGHT.items()],
)
def test_verify_catches(spoilt):
    check_caught(zero3, "the model's loading knows ZeRO-3", model=spoilt)


@pytest.mark.parametrize(
    "model",
    [
        RIGHT,
        RIGHT.replace(MORE, f"**kwargs, {MORE}"),
        f"{RIGHT}\nmodel = AutoModel.from_config(config, trust_remote_code=True)",
    ],
)
def test_verify_accepts(model):
    check_accepted(zero3, model=model)

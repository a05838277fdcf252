"""codemods/zero3.py"""

from __future__ import annotations

from codemods import zero3
from tests.codemods.helpers import FINISHED, LOAD, OLD, Tables, gets_more, more_for_the_model

of = Tables(zero3, "model")

MORE = "**zero3_model_kwargs(config, margs)"

TRANSFORMED = {
    **more_for_the_model(MORE),
    "no arguments": (LOAD.replace("'there'", ""), LOAD.replace("'there'", MORE)),
    "a comma at the end": (f"{LOAD[:-1]}, a=1, )", f"{LOAD[:-1]}, a=1, {MORE})"),
    "moved at once": gets_more(f"{LOAD[:-1]}, HERE).to('cuda')", MORE),
}
test_transformed = of.transforms(TRANSFORMED)

test_record = of.records("main", both=[("changed", "main", MORE)])


def test_the_config_by_another_name():
    config = "shape = AutoConfig.from_pretrained('there')"
    after = f"{LOAD[:-1]}, {MORE.replace('config,', 'shape,')})"
    of.transformed({"model": (LOAD, after), "config": (config, config)})


def test_loaded_in_a_function_that_calls_them_otherwise():
    helper = "def load(shape, m):\n    return AutoModelForCausalLM.from_pretrained(m.where{})"
    load = "model = load(config, margs)"
    after = helper.format(", **zero3_model_kwargs(shape, m)")
    of.transformed({"helper": (helper.format(""), after), "model": (load, load)})


OWN = "a model loaded without empty_init of upstream's own"
ONE = "one name for the model's config in main(), not "
TWO = "first = AutoConfig.from_pretrained('a')\nconfig = AutoConfig.from_pretrained('b')"
INIT = f"{LOAD[:-1]}, empty_init=True)"
HANDED = "config = quiet(AutoConfig.from_pretrained('a'))"
REFUSED = {
    "no config": (
        f"{ONE}0",
        f"{OLD['tokenizer']}\n{OLD['model']}",
        {"config": "config = None"},
    ),
    "two configs": (f"{ONE}2 (first, config)", TWO, {"config": TWO}),
    "a config that is handed on at once": (f"{ONE}0", HANDED, {"config": HANDED}),
    "upstream says so itself": (OWN, INIT, INIT),
    "in a dict": (
        OWN,
        f"{LOAD[:-1]}, **more)",
        f"more = {{'empty_init': False}}\n{LOAD[:-1]}, **more)",
    ),
    "sometimes": (
        OWN,
        f"{LOAD[:-1]}, **more)",
        f"more = {{}}\nif margs:\n    more['empty_init'] = False\n{LOAD[:-1]}, **more)",
    ),
}
test_refused = of.refuses(REFUSED)

VERIFY_REFUSES = {
    "loaded before its config": (
        "config is bound wherever zero3_model_kwargs is given it",
        {
            "tokenizer": f"{OLD['tokenizer']}\n{LOAD}",
            "config": "print('no config yet')",
            "model": OLD["config"],
        },
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES)

RIGHT = FINISHED["model"]
PLAIN = RIGHT.replace(f", {MORE}", "")
PROMISE = "the model's loading knows ZeRO-3"
CAUGHT = {
    "not given": PLAIN,
    "under the library's name": PLAIN.replace("AutoModel.", "transformers.AutoModel."),
    "one of two": f"{RIGHT}\n{PLAIN}",
    "another model": f"{RIGHT}\ndraft = AutoModel.from_pretrained('a draft')",
    "twice": f"{RIGHT[:-1]}, {MORE})",
    "empty_init besides": RIGHT.replace(MORE, f"empty_init=True, {MORE}"),
    "no stars": RIGHT.replace("**zero3", "more=zero3"),
    "no arguments": RIGHT.replace("(config, margs)", "()"),
    "arguments swapped": RIGHT.replace("(config, margs)", "(margs, config)"),
}
VERIFY_CATCHES = {
    **{name: (PROMISE, model) for name, model in CAUGHT.items()},
    "another's": ("dict written out", RIGHT.replace("zero3_model_kwargs", "model_kwargs")),
    "nothing loads a model": ("found no call of from_pretrained", "model = None"),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    RIGHT.replace(MORE, f"**{{'a': 1}}, {MORE}"),
    f"{RIGHT}\nmodel = AutoModel.from_config(config, trust_remote_code=True)",
)

"""codemods/quantization.py"""

from __future__ import annotations

from codemods import quantization
from tests.codemods.helpers import FINISHED, LOAD, Tables, more_for_the_model

of = Tables(quantization, "model")

MORE = "**quantized(margs)"

test_transformed = of.transforms(more_for_the_model(MORE))


def test_loaded_in_a_function_that_calls_them_otherwise():
    helper = "def load(shape, m):\n    return AutoModelForCausalLM.from_pretrained(m.where{})"
    load = "model = load(config, margs)"
    after = helper.format(", **quantized(m)")
    of.transformed({"helper": (helper.format(""), after), "model": (load, load)})


test_record = of.records(None, both=[("changed", "main", MORE)])

OWN = "a model loaded without quantisation of upstream's own"
CONFIGURED = f"{LOAD[:-1]}, quantization_config=four_bits)"
PLACED = f"{LOAD[:-1]}, **rest)"
REFUSED = {
    "upstream quantises": (OWN, CONFIGURED, CONFIGURED),
    "upstream places it, in a dict": (
        OWN,
        "rest = {'device_map': 'auto'}",
        f"rest = {{'device_map': 'auto'}}\n{PLACED}",
    ),
}
test_refused = of.refuses(REFUSED)

RIGHT = FINISHED["model"]
PLAIN = RIGHT.replace(f", {MORE}", "")
PROMISE = "the model's loading knows --quantization"
CAUGHT = {
    "not given": PLAIN,
    "one of two": f"{RIGHT}\n{PLAIN}",
    "twice": f"{RIGHT[:-1]}, {MORE})",
    "its own besides": RIGHT.replace(MORE, f"device_map='auto', {MORE}"),
    "no stars": RIGHT.replace("**quantized", "more=quantized"),
    "no arguments": RIGHT.replace("quantized(margs)", "quantized()"),
    "others": RIGHT.replace("quantized(margs)", "quantized(targs)"),
}
VERIFY_CATCHES = {
    **{name: (PROMISE, model) for name, model in CAUGHT.items()},
    "another's value": ("quantization is not replaced", f"margs.quantization = None\n{RIGHT}"),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    RIGHT.replace(MORE, f"**{{'a': 1}}, {MORE}"),
    f"{RIGHT}\nmodel = AutoModel.from_config(config, trust_remote_code=True)",
)

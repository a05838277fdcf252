"""codemods/pair_collator.py"""

from __future__ import annotations

import pytest

from codemods import pair_collator
from tests.codemods.helpers import BASES, FINISHED, OLD, Tables

of = Tables(pair_collator, "trainer")

# What a Trainer needs besides, for the other codemods' sake.
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows, compute_metrics=score"
OURS = "PairCollator(tokenizer, dargs)"
GIVEN = f"data_collator={OURS}"


def trainer(before: str, after: str, first: str = "") -> tuple[str, str]:
    """What the Trainer is given besides, before and after; ``first`` stands before it."""
    return f"{first}trainer = Trainer({REST}{before})", f"{first}trainer = Trainer({REST}{after})"


def replaced(text: str, old: str) -> tuple[str, str]:
    return text.replace("HERE", old), text.replace("HERE", OURS)


TRANSFORMED = {
    "given": trainer(", data_collator=default_data_collator", f", {GIVEN}"),
    "given over several lines, with comments": replaced(
        f"""
        trainer = Trainer(  # at last
            {REST},
            # It would pad.
            data_collator = HERE,  # so not
            tokenizer=tokenizer
        )
        """,
        "default_data_collator",
    ),
    "given as an expression": trainer(
        ", data_collator=(\n    default_data_collator if b else None\n)", f", {GIVEN}"
    ),
    "in a dict": replaced(
        f'rest = {{"data_collator": HERE, "tokenizer": 1}}\ntrainer = Trainer({REST}, **rest)',
        "default_data_collator",
    ),
    "in a dict in the call": trainer(
        ", **{'data_collator': None}", f", **{{'data_collator': {OURS}}}"
    ),
    "in a call of dict": replaced(
        f"trainer = Trainer(**dict({REST}, data_collator=HERE))", "default_data_collator"
    ),
    "in a dict that is filled": replaced(
        f"rest = {{}}\nrest['data_collator'] = HERE\ntrainer = Trainer({REST}, **rest)",
        "default_data_collator",
    ),
    "not given, one line": trainer("", f", {GIVEN}"),
    "not given, one line, a comma at its end": trainer(",", f", {GIVEN}"),
    "not given, several lines": (
        f"trainer = Trainer(\n    {REST},\n    args=targs,  # its own\n)",
        f"trainer = Trainer(\n    {REST},\n    args=targs,  # its own\n    {GIVEN},\n)",
    ),
    "not given, and a dict without it": trainer(
        ", **rest", f", **rest, {GIVEN}", 'rest = {"args": targs}\n'
    ),
}
test_transformed = of.transforms(TRANSFORMED)


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    after = before.replace("=default_data_collator", f"={OURS}")
    of.transformed({"trainer": (before, after)}, BASES[base])


def test_a_function_has_names_of_its_own():
    helper = (
        "def make(net, words, m, d, t, rows, more):\n"
        "    return Trainer(net, t, train_dataset=rows, eval_dataset=more{})"
    )
    after = helper.format(", data_collator=PairCollator(words, d)")
    made = "trainer = make(model, tokenizer, margs, dargs, targs, train_rows, eval_rows)"
    rows = {"helper": (helper.format(""), after), "trainer": (made, made), "metric": ("", "")}
    of.transformed(rows)


test_record = of.records(None, both=[("changed", "main", OURS)])

LOADED = f"{OLD['config']}\ntokenizer = toks.load('there')\n{OLD['model']}"
TWO = "fast = AutoTokenizer.from_pretrained('a')\nslow = AutoTokenizer.from_pretrained('b')"
REFUSED = {
    "keywords nobody knows": (
        "every ** of this call to be one dict written out in its function"
        " … Its keywords can't be known otherwise",
        "trainer = Trainer(model=model, **options())",
        "trainer = Trainer(model=model, **options())",
    ),
    "a dict that others may fill": (
        "'more' to be written, filled and unpacked, and nothing else",
        "fill(more)\ntrainer = Trainer(model=model, **more)",
        "more = {}\nfill(more)\ntrainer = Trainer(model=model, **more)",
    ),
    "given on a condition": (
        "data_collator to be given to this call always or never",
        "trainer = Trainer(model, **more)\nmore['data_collator'] = default_data_collator",
        "more = {}\nif dargs:\n    more['data_collator'] = default_data_collator\ntrainer = Trainer(model, **more)",
    ),
    "one of upstream's own": (
        "a data_collator of transformers' own … What it does besides padding would be lost",
        "trainer = Trainer(model=model, data_collator=mix)",
        "def mix(rows):\n    return shuffled(rows)\n"
        "trainer = Trainer(model=model, data_collator=mix)",
    ),
    "by position": (
        "the Trainer's data_collator to be given by name … Only the model and its arguments",
        "trainer = Trainer(model, targs, default_data_collator)",
        "trainer = Trainer(model, targs, default_data_collator)",
    ),
    "no tokenizer": (
        "one name for the tokenizer in main(), not 0",
        f"{OLD['config']}\n{OLD['model']}",
        {"tokenizer": "tokenizer = toks.load('there')"},
    ),
    "two tokenizers": (
        "one name for the tokenizer in main(), not 2 (fast, slow)",
        TWO,
        {"tokenizer": TWO},
    ),
    "a tokenizer that is something else, too": (
        "'tokenizer' to be the tokenizer and nothing else",
        "tokenizer = 'there'",
        {"tokenizer": f"{OLD['tokenizer']}\ntokenizer = 'there'"},
    ),
}
test_refused = of.refuses(REFUSED)

RIGHT = FINISHED["trainer"]
PROMISE, ONCE = "the Trainer pads with PairCollator", "PairCollator is called once"
CAUGHT = {
    "none": (ONCE, "max_steps=1"),
    "upstream's": (ONCE, "data_collator=default_data_collator"),
    "not made": (ONCE, "data_collator=PairCollator"),
    "wrapped": (PROMISE, f"data_collator=wrap({OURS})"),
    "for something else": (PROMISE, f"compute_metrics_too={OURS}"),
    "arguments swapped": (PROMISE, "data_collator=PairCollator(dargs, tokenizer)"),
    "no arguments": (PROMISE, "data_collator=PairCollator()"),
    "on a condition": (PROMISE, f"data_collator=plain if dargs else {OURS}"),
}
VERIFY_CATCHES = {n: (p, RIGHT.replace(GIVEN, made)) for n, (p, made) in CAUGHT.items()}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    f"more = {{'data_collator': {OURS}}}\ntrainer = AdapterTrainer(**more)",
    f"trainer = AdapterTrainer(**{{'data_collator': {OURS}}})",
)

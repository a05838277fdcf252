"""codemods/early_stopping.py"""

from __future__ import annotations

import pytest

from codemods import early_stopping
from tests.codemods.helpers import BASES, FINISHED, Tables

of = Tables(early_stopping, "trainer")

CALL = "make_callbacks(dargs, targs)"
MADE = f"callbacks={CALL}"
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows, compute_metrics=score"


def with_base(base):
    before = base["data_class"]
    return {"data_class": (before, before.replace("Options:", "Options(EarlyStoppingArguments):"))}


def given(before: str, after: str = "", first: str = "") -> tuple[str, str]:
    """What the Trainer is given besides, before and after; ``first`` stands before it."""
    return tuple(f"{first}trainer = Trainer({REST}{n})" for n in (before, after))


TRANSFORMED = {
    "one line": given("", f", {MADE}"),
    "upstream's own": given(", callbacks=[a, B()]", f", callbacks=[a, B(), *{CALL}]"),
    "several lines": (
        f"trainer = Trainer(\n    {REST},\n    args=targs,  # its own\n)",
        f"trainer = Trainer(\n    {REST},\n    args=targs,  # its own\n    {MADE},\n)",
    ),
    "upstream's own on several lines": (
        f"trainer = Trainer(\n    {REST},\n    callbacks=[\n        a,  # first\n        B(),\n    ],\n)",
        f"trainer = Trainer(\n    {REST},\n    callbacks=[\n        a,  # first\n        B(), *{CALL},\n    ],\n)",
    ),
    "an empty list": given(", callbacks=[]", f", callbacks=[*{CALL}]"),
    "a name": given(", callbacks=chosen", f", callbacks=[*(chosen or ()), *{CALL}]"),
    "a call": given(", callbacks=f(1)", f", callbacks=[*(f(1) or ()), *{CALL}]"),
    "on a condition": given(
        ", callbacks=[a] if dargs else None",
        f", callbacks=[*(([a] if dargs else None) or ()), *{CALL}]",
    ),
    "in a dict": (
        f'x = {{"callbacks": [a]}}\ntrainer = Trainer({REST}, **x)',
        f'x = {{"callbacks": [a, *{CALL}]}}\ntrainer = Trainer({REST}, **x)',
    ),
    "in a dict made in the call": given(
        ", **dict(callbacks=[a])", f", **dict(callbacks=[a, *{CALL}])"
    ),
    "a dict without": given(", **x", f", **x, {MADE}", 'x = {"args": targs}\n'),
    "a dict that is filled": (
        f"x = dict({REST})\nx['callbacks'] = [a]\ntrainer = Trainer(**x)",
        f"x = dict({REST})\nx['callbacks'] = [a, *{CALL}]\ntrainer = Trainer(**x)",
    ),
    "a dict that is updated": (
        f"x = {{}}\nx.update(callbacks=[a], args=targs)\ntrainer = Trainer({REST}, **x)",
        f"x = {{}}\nx.update(callbacks=[a, *{CALL}], args=targs)\ntrainer = Trainer({REST}, **x)",
    ),
}
test_transformed = of.transforms(TRANSFORMED, also=with_base)


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    after = before.removesuffix(")") + f"    {MADE},\n)"
    rows = {"trainer": (before, after), **with_base(BASES[base])}
    of.transformed(rows, BASES[base])


test_record = of.records(
    "ModelOptions",
    both=[("changed", "DataOptions", "(EarlyStoppingArguments)"), ("changed", "main", MADE)],
)

SOMETIMES = "callbacks to be given to this call always or never"
REFUSED = {
    "no Trainer": ("found no call of transformers.Trainer", "", "trainer = None"),
    "given on a condition": (
        SOMETIMES,
        "trainer = Trainer(model, **x)\nx['callbacks'] = [a]",
        "x = {}\nif dargs:\n    x['callbacks'] = [a]\ntrainer = Trainer(model, **x)",
    ),
    "in one of two dicts": (
        SOMETIMES,
        "trainer = Trainer(model, **x)",
        "x = dict(callbacks=[a])\nif dargs:\n    x = {}\ntrainer = Trainer(model, **x)",
    ),
}
test_refused = of.refuses(REFUSED)

VERIFY_REFUSES = {
    "one of two dicts, whichever it is": (
        "make_callbacks is called once",
        "if dargs:\n    x = dict(callbacks=[a])\nelse:\n    x = dict(callbacks=b)\n"
        f"trainer = Trainer({REST}, **x)",
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES)

RIGHT = FINISHED["trainer"]
PROMISE = "the Trainer gets the callbacks asked for"
ONCE = "make_callbacks is called once"
VERIFY_CATCHES = {
    "none": (ONCE, RIGHT.replace(f"    {MADE},\n", "")),
    "others": (ONCE, RIGHT.replace(MADE, "callbacks=[]")),
    "made for nobody": (PROMISE, RIGHT.replace(MADE, "args=1") + f"\nprint({CALL})"),
    "a list in the list": (PROMISE, RIGHT.replace(MADE, f"callbacks=[{CALL}]")),
    "not the last": (PROMISE, RIGHT.replace(MADE, f"callbacks=[*{CALL}, *other]")),
    "on a condition": (PROMISE, RIGHT.replace(MADE, f"callbacks={CALL} if dargs else None")),
    "swapped": (PROMISE, RIGHT.replace(MADE, "callbacks=make_callbacks(targs, dargs)")),
    "no base class": (
        "DataOptions has the base class EarlyStoppingArguments",
        {"data_class": FINISHED["data_class"].replace(", EarlyStoppingArguments", "")},
    ),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    f"trainer = AdapterTrainer({REST}, {MADE})", RIGHT.replace(MADE, f"callbacks=[a, *{CALL}]")
)

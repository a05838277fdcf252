"""codemods/early_stopping.py"""

from __future__ import annotations

import pytest

from codemods import early_stopping
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    render,
)

MADE = "callbacks=make_callbacks(dargs, targs)"
# What a Trainer needs besides, for the other codemods' sake.
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows"

TRANSFORMED = {
    "one line": (f"trainer = Trainer({REST})", f"trainer = Trainer({REST}, {MADE})"),
    "several lines": (
        f"""
        trainer = Trainer(
            {REST},
            tokenizer=tokenizer,  # its own
        )
        """,
        f"""
        trainer = Trainer(
            {REST},
            tokenizer=tokenizer,  # its own
            {MADE},
        )
        """,
    ),
    "callbacks of upstream's": (
        f"trainer = Trainer({REST}, callbacks=[ours, Theirs()])",
        f"trainer = Trainer({REST}, callbacks=[ours, Theirs(), *make_callbacks(dargs, targs)])",
    ),
    "callbacks on several lines": (
        f"""
        trainer = Trainer(
            {REST},
            callbacks=[
                ours,  # the first
                Theirs(),
            ],
        )
        """,
        f"""
        trainer = Trainer(
            {REST},
            callbacks=[
                ours,  # the first
                Theirs(), *make_callbacks(dargs, targs),
            ],
        )
        """,
    ),
    "no callbacks yet": (
        f"trainer = Trainer({REST}, callbacks=[])",
        f"trainer = Trainer({REST}, callbacks=[*make_callbacks(dargs, targs)])",
    ),
    "callbacks by a name": (
        f"trainer = Trainer({REST}, callbacks=chosen)",
        f"trainer = Trainer({REST}, callbacks=[*(chosen or ()), *make_callbacks(dargs, targs)])",
    ),
    "callbacks on a condition": (
        f"trainer = Trainer({REST}, callbacks=[ours] if targs.do_eval else None)",
        f"trainer = Trainer({REST}, callbacks=[*(([ours] if targs.do_eval else None) or ()), "
        "*make_callbacks(dargs, targs)])",
    ),
    "callbacks in a dict": (
        f"""
        rest = {{"callbacks": [ours]}}
        trainer = Trainer({REST}, **rest)
        """,
        f"""
        rest = {{"callbacks": [ours, *make_callbacks(dargs, targs)]}}
        trainer = Trainer({REST}, **rest)
        """,
    ),
    "a dict without callbacks": (
        f"""
        rest = {{"processing_class": tokenizer}}
        trainer = Trainer({REST}, **rest)
        """,
        f"""
        rest = {{"processing_class": tokenizer}}
        trainer = Trainer({REST}, **rest, {MADE})
        """,
    ),
}


def with_base(base: dict[str, str]) -> dict[str, tuple[str, str]]:
    before = base["data_class"]
    return {"data_class": (before, before.replace("Options:", "Options(EarlyStoppingArguments):"))}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, base, newline):
    base = BASES[base]
    check_transformed(
        early_stopping,
        before,
        after,
        slot="trainer",
        also=with_base(base),
        base=base,
        newline=newline,
    )


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    after = before.removesuffix(")") + f"    {MADE},\n)"
    also = with_base(BASES[base])
    check_transformed(early_stopping, before, after, slot="trainer", also=also, base=BASES[base])


def test_other_bases_are_kept():
    before = "@dataclass\nclass DataOptions(Shared):\n    train_file: str = None\n    block_size: int = 1"
    check_transformed(
        early_stopping,
        before,
        before.replace("(Shared)", "(Shared, EarlyStoppingArguments)"),
        slot="data_class",
        also={
            "helper": ("class Shared:\n    pass",) * 2,
            "trainer": (OLD["trainer"], OLD["trainer"].removesuffix(")") + f"    {MADE},\n)"),
        },
    )


@pytest.mark.parametrize("base", BASES)
def test_the_record(base):
    _, patch = apply(render(BASES[base]), early_stopping)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "DataOptions", "(EarlyStoppingArguments)"),
        ("changed", "main", MADE),
    ]
    assert patch.graft_before.name.value == "ModelOptions"


REFUSED = {
    "no Trainer": ({"trainer": "trainer = None"}, "found no call of transformers.Trainer", (), ""),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(early_stopping, looked_for, nearest=nearest, hint=hint, **filled)


PROMISE = "the Trainer gets the callbacks asked for"
CAUGHT = {
    "none": ({"trainer": FINISHED["trainer"].replace(f"    {MADE},\n", "")}, PROMISE),
    "others": ({"trainer": FINISHED["trainer"].replace(MADE, "callbacks=[]")}, PROMISE),
    "not in the list": (
        {"trainer": FINISHED["trainer"].replace(MADE, "callbacks=[make_callbacks(dargs, targs)]")},
        PROMISE,
    ),
    "swapped": (
        {"trainer": FINISHED["trainer"].replace(MADE, "callbacks=make_callbacks(targs, dargs)")},
        PROMISE,
    ),
    "no base class": (
        {"data_class": FINISHED["data_class"].replace(", EarlyStoppingArguments", "")},
        "DataOptions has the base class EarlyStoppingArguments",
    ),
}


@pytest.mark.parametrize(("spoilt", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(spoilt, promise):
    check_caught(early_stopping, promise, **spoilt)


def test_verify_accepts():
    check_accepted(early_stopping, trainer=f"trainer = AdapterTrainer({REST}, {MADE})")

"""codemods/pair_collator.py"""

from __future__ import annotations

import pytest

from codemods import pair_collator
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

# What a Trainer needs besides, for the other codemods' sake.
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows"

TRANSFORMED = {
    "given": (
        f"trainer = Trainer({REST}, data_collator=default_data_collator)",
        f"trainer = Trainer({REST}, data_collator=PairCollator(tokenizer, dargs))",
    ),
    "given, over several lines, with comments": (
        f"""
        trainer = Trainer(  # at last
            {REST},
            # It would pad.
            data_collator = default_data_collator,  # so not
            tokenizer=tokenizer
        )
        """,
        f"""
        trainer = Trainer(  # at last
            {REST},
            # It would pad.
            data_collator = PairCollator(tokenizer, dargs),  # so not
            tokenizer=tokenizer
        )
        """,
    ),
    "given as an expression": (
        f"""
        trainer = Trainer({REST}, data_collator=(
            default_data_collator if targs.do_train else DataCollatorWithPadding(tokenizer)
        ), processing_class=tokenizer)
        """,
        f"""
        trainer = Trainer({REST}, data_collator=PairCollator(tokenizer, dargs), processing_class=tokenizer)
        """,
    ),
    "in a dict": (
        f"""
        rest = {{"data_collator": default_data_collator, "tokenizer": tokenizer}}
        trainer = Trainer({REST}, **rest)
        """,
        f"""
        rest = {{"data_collator": PairCollator(tokenizer, dargs), "tokenizer": tokenizer}}
        trainer = Trainer({REST}, **rest)
        """,
    ),
    "in a dict in the call": (
        f"trainer = Trainer({REST}, **{{'data_collator': None}})",
        f"trainer = Trainer({REST}, **{{'data_collator': PairCollator(tokenizer, dargs)}})",
    ),
    "not given, one line": (
        f"trainer = Trainer({REST})",
        f"trainer = Trainer({REST}, data_collator=PairCollator(tokenizer, dargs))",
    ),
    "not given, one line, a comma at its end": (
        f"trainer = Trainer({REST},)",
        f"trainer = Trainer({REST}, data_collator=PairCollator(tokenizer, dargs))",
    ),
    "not given, several lines": (
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
            data_collator=PairCollator(tokenizer, dargs),
        )
        """,
    ),
    "not given, and a dict without it": (
        f"""
        rest = {{"processing_class": tokenizer}}
        trainer = Trainer({REST}, **rest)
        """,
        f"""
        rest = {{"processing_class": tokenizer}}
        trainer = Trainer({REST}, **rest, data_collator=PairCollator(tokenizer, dargs))
        """,
    ),
    "under the library's name": (
        f"trainer = transformers.Trainer({REST}, data_collator=None)",
        f"trainer = transformers.Trainer({REST}, data_collator=PairCollator(tokenizer, dargs))",
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, base):
    base = BASES[base]
    also = {"imports": (base["imports"] + "\nimport transformers",) * 2}
    check_transformed(pair_collator, before, after, slot="trainer", also=also, base=base)


@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_crlf(before, after):
    also = {"imports": (OLD["imports"] + "\nimport transformers",) * 2}
    check_transformed(pair_collator, before, after, slot="trainer", also=also, newline="\r\n")


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    check_transformed(
        pair_collator,
        before,
        before.replace("=default_data_collator", "=PairCollator(tokenizer, dargs)"),
        slot="trainer",
        base=BASES[base],
    )


def test_other_names():
    check_transformed(
        pair_collator,
        f"coach = T({REST})",
        f"coach = T({REST}, data_collator=PairCollator(words, data_args))",
        slot="trainer",
        also={
            slot: (text, text)
            for slot, text in {
                "imports": OLD["imports"].replace("Trainer,", "Trainer as T,", 1),
                "parse": OLD["parse"].replace("dargs", "data_args"),
                "load": OLD["load"].replace("dargs", "data_args"),
                "tokenizer": OLD["tokenizer"].replace("tokenizer =", "words ="),
                "mapping": OLD["mapping"].replace("dargs", "data_args"),
                "train": OLD["train"].replace("trainer", "coach"),
                "evaluate": OLD["evaluate"].replace("trainer", "coach"),
            }.items()
        },
    )


def test_the_record():
    _, patch = apply(render(OLD), pair_collator)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "main", "PairCollator(tokenizer, dargs)")
    ]
    assert patch.graft_before is None


TWO = f"trainer = Trainer({REST})\nreferee = Trainer(model=model)"
REFUSED = {
    "no Trainer": (
        {"trainer": "trainer = SftTrainer(model=model)"},
        "found no call of transformers.Trainer",
        ("trainer = SftTrainer(model=model)",),
        "",
    ),
    "a Trainer of the script's own": (
        {"helper": "class MyTrainer(Trainer):\n    pass", "trainer": "trainer = MyTrainer(model)"},
        "found no call of transformers.Trainer",
        ("trainer = MyTrainer(model)",),
        "",
    ),
    "nothing like a Trainer": (
        {"trainer": "trainer = train_loop(model)"},
        "found no call of transformers.Trainer",
        (),
        "",
    ),
    "already another's": (
        {"trainer": "trainer = AdapterTrainer(model=model)"},
        "found no call of transformers.Trainer",
        ("trainer = AdapterTrainer(model=model)",),
        "",
    ),
    "two Trainers": (
        {"trainer": TWO},
        "found 2 places, expected one: call of transformers.Trainer",
        tuple(TWO.split("\n")),
        "",
    ),
    "keywords nobody knows": (
        {"trainer": "trainer = Trainer(model=model, **options())"},
        "every ** of this call to be one dict written out in main(), with all its keys",
        ("trainer = Trainer(model=model, **options())",),
        "Its keywords can't be known otherwise",
    ),
    "a dict that is filled afterwards": (
        {"trainer": "more = {}\nmore['args'] = targs\ntrainer = Trainer(model=model, **more)"},
        "'more' to be written once and then only unpacked with **",
        ("more['args'] = targs", "trainer = Trainer(model=model, **more)"),
        "",
    ),
    "no tokenizer": (
        {"tokenizer": "tokenizer = Tok.from_pretrained('there')"},
        "found no name that the tokenizer is bound to",
        (OLD["config"], "tokenizer = Tok.from_pretrained('there')", OLD["model"]),
        "",
    ),
    "two tokenizers": (
        {
            "tokenizer": "fast = AutoTokenizer.from_pretrained('a')\nslow = "
            "AutoTokenizer.from_pretrained('b')"
        },
        "found more than one name that the tokenizer is bound to",
        ("fast = AutoTokenizer.from_pretrained('a')", "slow = AutoTokenizer.from_pretrained('b')"),
        "",
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(pair_collator, looked_for, nearest=nearest, hint=hint, **filled)


def test_refuses_a_collator_given_by_position():
    check_refused(
        pair_collator,
        "data_collator",
        nearest=("trainer = Trainer(model, targs, default_data_collator)",),
        hint="Only the model and its arguments",
        trainer="trainer = Trainer(model, targs, default_data_collator)",
    )


def collator(made):
    right = "data_collator=PairCollator(tokenizer, dargs)"
    assert right in FINISHED["trainer"]
    return FINISHED["trainer"].replace(right, made)


CAUGHT = {
    "none": collator("max_steps=1"),
    "upstream's": collator("data_collator=default_data_collator"),
    "not made": collator("data_collator=PairCollator"),
    "made elsewhere": collator("data_collator=collate")
    + "\ncollate = PairCollator(tokenizer, dargs)",
    "wrapped": collator("data_collator=wrap(PairCollator(tokenizer, dargs))"),
    "for something else": collator("compute_metrics_too=PairCollator(tokenizer, dargs)"),
    "arguments swapped": collator("data_collator=PairCollator(dargs, tokenizer)"),
    "no arguments": collator("data_collator=PairCollator()"),
}


@pytest.mark.parametrize(
    "spoilt",
    [pytest.param(v, id=k) for k, v in CAUGHT.items()],
)
def test_verify_catches(spoilt):
    check_caught(pair_collator, "the Trainer pads with PairCollator", trainer=spoilt)


@pytest.mark.parametrize(
    ("trainer", "promise"),
    [
        (
            "trainer = Trainer(data_collator=PairCollator(tokenizer, dargs))",
            "AdapterTrainer is called once",
        ),
        (FINISHED["trainer"] + "\nother = AdapterTrainer(model)", "AdapterTrainer is called once"),
    ],
)
def test_verify_wants_one_trainer(trainer, promise):
    check_caught(pair_collator, promise, trainer=trainer)


@pytest.mark.parametrize(
    "trainer",
    [
        "more = {'data_collator': PairCollator(tokenizer, dargs)}\ntrainer = AdapterTrainer(**more)",
        "trainer = AdapterTrainer(**{'data_collator': PairCollator(tokenizer, dargs)})",
    ],
)
def test_verify_accepts(trainer):
    check_accepted(pair_collator, trainer=trainer)

"""codemods/adapter_trainer.py"""

from __future__ import annotations

import pytest

from codemods import adapter_trainer
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    OLD,
    PAYLOAD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    check_unverified,
    render,
)

# What a Trainer needs besides, for the other codemods' sake.
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows"

TRANSFORMED = {
    "one line": (f"trainer = Trainer({REST})", f"trainer = AdapterTrainer({REST})"),
    "with comments, tokenizer": (
        f"""
        trainer = Trainer(  # at last
            {REST},
            tokenizer=tokenizer,  # saved with it
        )
        """,
        f"""
        trainer = AdapterTrainer(  # at last
            {REST},
            tokenizer=tokenizer,  # saved with it
        )
        """,
    ),
    "with processing_class, no last comma": (
        f"""
        trainer = Trainer(
            {REST},
            processing_class=tokenizer
        )
        """,
        f"""
        trainer = AdapterTrainer(
            {REST},
            processing_class=tokenizer
        )
        """,
    ),
    "annotated": (
        f"trainer: Trainer = Trainer({REST})",
        f"trainer: Trainer = AdapterTrainer({REST})",
    ),
    "under the library's name": (
        f"trainer = transformers.Trainer({REST})",
        f"trainer = AdapterTrainer({REST})",
    ),
    "by another name": (f"trainer = T({REST})", f"trainer = AdapterTrainer({REST})"),
    "in brackets": (f"trainer = (Trainer)({REST})", f"trainer = AdapterTrainer({REST})"),
    "by another name of the library": (
        f"trainer = hf.Trainer({REST})",
        f"trainer = AdapterTrainer({REST})",
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, newline, base):
    base = BASES[base]
    imports = base["imports"] + "\nimport transformers\nimport transformers as hf"
    imports += "\nfrom transformers import Trainer as T"
    check_transformed(
        adapter_trainer,
        before,
        after,
        slot="trainer",
        also={"imports": (imports, imports)},
        base=base,
        newline=newline,
    )


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    after = before.replace("Trainer(", "AdapterTrainer(")
    check_transformed(adapter_trainer, before, after, slot="trainer", base=BASES[base])


@pytest.mark.parametrize("base", BASES)
def test_the_record(base):
    _, patch = apply(render(BASES[base]), adapter_trainer)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "main", "AdapterTrainer")
    ]
    assert patch.graft_before.name.value == "main"


TWO = "trainer = Trainer(model)\nreferee = Trainer(draft)"
REFUSED = {
    "two": (
        {"trainer": TWO},
        "found 2 places, expected one: call of transformers.Trainer",
        tuple(TWO.split("\n")),
    ),
    "one in each branch": (
        {
            "trainer": "if targs.do_eval:\n    trainer = Trainer(model, compute_metrics=score)\n"
            "else:\n    trainer = Trainer(model)"
        },
        "found 2 places, expected one: call of transformers.Trainer",
        ("trainer = Trainer(model, compute_metrics=score)", "trainer = Trainer(model)"),
    ),
    "none": ({"trainer": "trainer = None"}, "found no call of transformers.Trainer", ()),
    "already done": (
        {"trainer": FINISHED["trainer"]},
        "found no call of transformers.Trainer",
        ("trainer = AdapterTrainer(",),
    ),
    "another of the library's": (
        {"trainer": "trainer = transformers.Seq2SeqTrainer(model)"},
        "found no call of transformers.Trainer",
        ("trainer = transformers.Seq2SeqTrainer(model)",),
    ),
    "another library's": (
        {"imports": OLD["imports"] + "\nfrom trl import Trainer"},
        "found no call of transformers.Trainer",
        ("trainer = Trainer(",),
    ),
    "made in a helper": (
        {
            "helper": "def make(model):\n    return Trainer(model)",
            "trainer": "trainer = make(model)",
        },
        "one function that both parses the arguments and makes the Trainer",
        (OLD["parse"].splitlines()[0], "return Trainer(model)"),
    ),
    "made by a function of a class": (
        {
            "helper": "class Job:\n    def make(self, model):\n        return Trainer(model)",
            "trainer": "trainer = Job().make(model)",
        },
        "one function that both parses the arguments and makes the Trainer",
        (OLD["parse"].splitlines()[0], "return Trainer(model)"),
    ),
}
SPLIT = "Upstream may have split main(); the edits need re-anchoring"


@pytest.mark.parametrize(("filled", "looked_for", "nearest"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest):
    hint = SPLIT if looked_for.startswith("one function") else ""
    check_refused(adapter_trainer, looked_for, nearest=nearest, hint=hint, **filled)


def test_verify_refuses_a_class_that_is_called_the_same():
    check_unverified(
        adapter_trainer,
        "no other Trainer is made",
        end='from trl import Trainer as SftTrainer\nother = trl.Trainer("more")',
    )


CAUGHT = {
    "upstream's": (OLD["trainer"], "AdapterTrainer is called once in main()"),
    "under the library's name": (
        "trainer = transformers.Trainer(model)",
        "AdapterTrainer is called once in main()",
    ),
    "both": (FINISHED["trainer"] + "\nmore = Trainer(model)", "no other Trainer is made"),
    "both, under the library's name": (
        FINISHED["trainer"] + "\nmore = transformers.Trainer(model)",
        "no other Trainer is made",
    ),
    "twice": (
        FINISHED["trainer"] + "\nmore = AdapterTrainer(model)",
        "AdapterTrainer is called once in main()",
    ),
    "its collator is replaced": (
        FINISHED["trainer"] + "\ntrainer.data_collator = default_data_collator",
        "nothing replaces what the Trainer was given",
    ),
    "its data is replaced": (
        FINISHED["trainer"] + "\nif targs.do_eval:\n    trainer.eval_dataset = raw",
        "nothing replaces what the Trainer was given",
    ),
    "its data is replaced under another name": (
        FINISHED["trainer"] + "\ncoach = trainer\ncoach.train_dataset = raw",
        "nothing replaces what the Trainer was given",
    ),
    "its callbacks are replaced": (
        FINISHED["trainer"] + "\ntrainer.callback_handler = None",
        "nothing replaces what the Trainer was given",
    ),
    "named, not called": ("trainer = AdapterTrainer", "AdapterTrainer is called once in main()"),
}


@pytest.mark.parametrize(("spoilt", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(spoilt, promise):
    check_caught(adapter_trainer, promise, trainer=spoilt)


@pytest.mark.parametrize(
    "bases", ["", "(object)", "(Seq2SeqTrainer)", "(AdapterTrainer2)"], ids=lambda b: b or "none"
)
def test_verify_wants_a_trainer(bases):
    payload = PAYLOAD.replace("AdapterTrainer(Trainer)", f"AdapterTrainer{bases}")
    check_caught(adapter_trainer, "AdapterTrainer is a Trainer", payload=payload)


def test_verify_wants_the_class():
    payload = PAYLOAD.replace("AdapterTrainer(Trainer)", "Other(Trainer)")
    check_caught(adapter_trainer, "AdapterTrainer is a Trainer", payload=payload)


@pytest.mark.parametrize(
    "trainer",
    [
        "trainer = AdapterTrainer(model)",
        "trainer: Trainer = AdapterTrainer(model=model)",
        "trainer = AdapterTrainer(model)\ntrainer.label_names = []",
    ],
)
def test_verify_accepts(trainer):
    check_accepted(adapter_trainer, trainer=trainer)

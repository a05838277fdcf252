"""codemods/adapter_trainer.py"""

from __future__ import annotations

import pytest

from codemods import adapter_trainer
from tests.codemods.helpers import BASES, FINISHED, OLD, PAYLOAD, Tables

of = Tables(adapter_trainer, "trainer")

# What a Trainer needs besides, for the other codemods' sake.
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows"
NO_METRIC = {"metric": ("", "")}
IMPORTED = """
import transformers
import transformers as hf
from transformers import Trainer as T
from transformers.trainer import Trainer as Deep"""


def becomes_ours(call: str) -> tuple[str, str]:
    return f"trainer = {call}({REST})", f"trainer = AdapterTrainer({REST})"


TRANSFORMED = {
    "by its name": becomes_ours("Trainer"),
    "in brackets": becomes_ours("(Trainer)"),
    "by another name": becomes_ours("T"),
    "of a submodule": becomes_ours("Deep"),
    "under the library's name": becomes_ours("transformers.Trainer"),
    "under another name of the library": becomes_ours("hf.Trainer"),
    "under its submodule's name": becomes_ours("transformers.trainer.Trainer"),
    "annotated, with comments": (
        f"""
        trainer: Trainer = Trainer(  # at last
            {REST},
            tokenizer=tokenizer,  # saved with it
        )
        """,
        f"""
        trainer: Trainer = AdapterTrainer(  # at last
            {REST},
            tokenizer=tokenizer,  # saved with it
        )
        """,
    ),
}
test_transformed = of.transforms(
    TRANSFORMED, also=lambda base: {"imports": base["imports"] + IMPORTED, **NO_METRIC}
)


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    after = before.replace("Trainer(", "AdapterTrainer(")
    of.transformed({"trainer": (before, after)}, BASES[base])


KNOWN = "model, tokenizer, margs, dargs, targs, train_rows, eval_rows"


def test_made_in_a_function_that_returns_it():
    helper = f"def make({KNOWN}):\n    return {{}}({REST})"
    call = f"trainer = make({KNOWN})"
    rows = {"helper": (helper.format("Trainer"), helper.format("AdapterTrainer"))}
    of.transformed({"trainer": (call, call), **NO_METRIC, **rows})


test_record = of.records("main", both=[("changed", "main", "AdapterTrainer")])

MISSING = "found no call of transformers.Trainer"
TWO = "found 2 places, expected one: call of transformers.Trainer"
BOTH = "trainer = Trainer(model)\nreferee = Trainer(draft)"
REFUSED = {
    "two": (TWO, BOTH, BOTH),
    "none": (MISSING, "", "trainer = None"),
    "another of the library's": (
        MISSING,
        "trainer = hf.Seq2SeqTrainer(model)",
        {
            "imports": OLD["imports"] + IMPORTED,
            "trainer": "trainer = hf.Seq2SeqTrainer(model)",
        },
    ),
    "a Trainer of the script's own": (
        MISSING,
        "trainer = MyTrainer(model)",
        {
            "helper": "class MyTrainer(Trainer):\n    pass",
            "trainer": "trainer = MyTrainer(model)",
        },
    ),
    "another library's": (
        MISSING,
        "trainer = Trainer(",
        {"imports": OLD["imports"] + "\nfrom trl import Trainer"},
    ),
    "made by a method": (
        "the Trainer to be made in a function",
        "return Trainer(model)",
        {
            "helper": "class Job:\n    def make(self, model):\n        return Trainer(model)",
            "trainer": "trainer = Job().make(model)",
        },
    ),
    "made in the module": (
        "the Trainer to be made in a function",
        "trainer = Trainer(None)",
        {"helper": "trainer = Trainer(None)", "trainer": "pass"},
    ),
}
test_refused = of.refuses(REFUSED)


def test_the_nearest_says_what_it_is_instead():
    imports = OLD["imports"] + "\nfrom optimum.habana.transformers import GaudiTrainer"
    filled = {"imports": imports, "trainer": "trainer = GaudiTrainer(model)"}
    error = of.refused(MISSING, "trainer = GaudiTrainer(model)", **filled)
    assert str(error).endswith("(is optimum.habana.transformers.GaudiTrainer)")
    error = of.refused(
        MISSING,
        "trainer = trainer_class(model)",
        trainer="trainer = trainer_class(model)",
    )
    assert str(error).endswith("(is no import that is seen here)")


RIGHT = FINISHED["trainer"]
ONCE, PLAIN = "AdapterTrainer is called once", "no other Trainer is made"
REPLACED = "nothing replaces what the Trainer was given"
VERIFY_CATCHES = {
    "upstream's": (ONCE, OLD["trainer"]),
    "twice": (ONCE, RIGHT + "\nmore = AdapterTrainer(model)"),
    "named, not called": (ONCE, "trainer = AdapterTrainer"),
    "both": (PLAIN, RIGHT + "\nmore = Trainer(model)"),
    "both, under the library's name": (PLAIN, RIGHT + "\nmore = transformers.Trainer(model)"),
    "another library's": (PLAIN, RIGHT + "\nmore = trl.Trainer(model)"),
    "its collator is replaced": (REPLACED, RIGHT + "\ntrainer.data_collator = plain"),
    "its data is replaced": (REPLACED, RIGHT + "\nif raw:\n    trainer.eval_dataset = raw"),
    "its data, by another name": (REPLACED, RIGHT + "\na = trainer\na.train_dataset = raw"),
    "its callbacks are replaced": (REPLACED, RIGHT + "\ntrainer.callback_handler = None"),
}
test_verify_catches = of.catches(VERIFY_CATCHES)


@pytest.mark.parametrize("head", ["AdapterTrainer", "AdapterTrainer(Other)", "Other(Trainer)"])
def test_verify_wants_a_trainer(head):
    payload = PAYLOAD.replace("AdapterTrainer(Trainer)", head)
    of.caught("AdapterTrainer is a Trainer", payload=payload)


test_verify_accepts = of.accepts(
    "trainer: Trainer = AdapterTrainer(model=model)",
    "trainer = AdapterTrainer(model)\ntrainer.label_names = []",
)

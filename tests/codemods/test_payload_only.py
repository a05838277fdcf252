"""codemods/payload_only.py"""

from __future__ import annotations

import pytest

from codemods import payload_only
from tests.codemods.helpers import OLD, PAYLOAD, Tables, apply, render

of = Tables(payload_only, "end")

test_record = of.records("main")
test_verify_accepts = of.accepts(OLD["end"])


def test_nothing_changes():
    of.transformed({"end": (OLD["end"], OLD["end"])})


def placed(text: str) -> str:
    return apply(text, payload_only)[1].graft_before.name


def test_main_by_another_name_and_not_the_last_function():
    assert (
        placed(render(OLD).replace("main()", "train()") + "\n\ndef main():\n    train()\n")
        == "train"
    )


MAKE = "def make(model):\n    return Trainer(model)"
MADE = "trainer = make(model)"


def test_main_calls_what_makes_the_trainer():
    assert placed(render(OLD, {"helper": MAKE, "trainer": MADE})) == "main"


def test_what_is_called_from_two_functions_is_main_itself():
    helper = f"{MAKE}\n\ndef other():\n    make(None)"
    assert placed(render(OLD, {"helper": helper, "trainer": MADE})) == "make"


REFUSED = {
    "no Trainer": ("found no call of transformers.Trainer", "", "trainer = None"),
    "made in the module": (
        "the Trainer to be made in a function",
        "trainer = Trainer(None)",
        {"helper": "trainer = Trainer(None)", "trainer": "pass"},
    ),
    "made in a method": (
        "the Trainer to be made in a function",
        "self.trainer = Trainer(None)",
        {
            "helper": "class Job:\n    def make(self):\n        self.trainer = Trainer(None)",
            "trainer": "trainer = Job().trainer",
        },
    ),
}
test_refused = of.refuses(REFUSED, slot="trainer")


@pytest.mark.parametrize("name", ["encode_prompt", "stop_ids", "lead_ids", "encode_pair"])
def test_verify_catches(name):
    promise = f"the series says what {name} is"
    of.caught(promise, payload=PAYLOAD.replace(f"def {name}(", "def other("))
    inside = PAYLOAD.replace(f"def {name}(", f"class Inside:\n  def {name}(")
    of.caught(promise, payload=inside)

"""codemods/payload_only.py"""

from __future__ import annotations

import pytest

from codemods import payload_only
from tests.codemods.helpers import (
    BASES,
    OLD,
    PAYLOAD,
    apply,
    check_accepted,
    check_caught,
    check_noop,
    check_refused,
    render,
)


@pytest.mark.parametrize("base", BASES)
def test_noop(base):
    check_noop(payload_only, base=BASES[base])


@pytest.mark.parametrize("base", BASES)
def test_the_payload_stands_before_main(base):
    _, patch = apply(render(BASES[base]), payload_only)
    assert patch.graft_before.name.value == "main"


def test_main_by_another_name_and_not_the_last_function():
    text = render(OLD).replace("main()", "train()") + "\n\ndef main():\n    train()\n"
    _, patch = apply(text, payload_only)
    assert patch.graft_before.name.value == "train"


SPLIT = "Upstream may have split main(); the edits need re-anchoring"
MAKES = "return Trainer(model)"
REFUSED = {
    "no parser": (
        {"parse": "margs = dargs = targs = None"},
        "found no call of transformers.HfArgumentParser",
        (),
        "",
    ),
    "two parsers": (
        {"parse": OLD["parse"] + "\nmore = HfArgumentParser((ModelOptions, DataOptions))"},
        "found 2 places, expected one: call of transformers.HfArgumentParser",
        (OLD["parse"].splitlines()[0], "more = HfArgumentParser((ModelOptions, DataOptions))"),
        "",
    ),
    "no Trainer": (
        {"trainer": "trainer = None"},
        "found no call of transformers.Trainer",
        (),
        "",
    ),
    "made elsewhere": (
        {"helper": f"def make(model):\n    {MAKES}", "trainer": "trainer = make(model)"},
        "one function that both parses the arguments and makes the Trainer",
        (OLD["parse"].splitlines()[0], MAKES),
        SPLIT,
    ),
    "made in the module": (
        {"helper": "trainer = Trainer(None)", "trainer": "pass"},
        "one function that both parses the arguments and makes the Trainer",
        (OLD["parse"].splitlines()[0], "trainer = Trainer(None)"),
        SPLIT,
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(payload_only, looked_for, nearest=nearest, hint=hint, **filled)


def test_all_in_a_method_is_refused():
    text = render(OLD).replace("def main():", "def make():").splitlines()
    start = text.index("def make():")
    inside = ["    " + n if n else n for n in text[start:]]
    lines = [*text[:start], "class Job:", *inside]
    slots = {"helper": "\n".join(lines)}
    with pytest.raises(Exception, match="one function that both parses the arguments"):
        apply(slots["helper"].replace("    if __name__", "if __name__"), payload_only)


CAUGHT = {
    name: (PAYLOAD.replace(f"def {name}(", f"def other_{name}("), f"the series says what {name} is")
    for name in ("encode_prompt", "stop_ids", "lead_ids", "encode_pair")
}


@pytest.mark.parametrize(("payload", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(payload, promise):
    check_caught(payload_only, promise, payload=payload)


def test_verify_wants_a_function_of_the_module():
    payload = PAYLOAD.replace("def encode_prompt", "class Inside:\n    def encode_prompt").replace(
        "encode_prompt():\n    pass", "encode_prompt():\n        pass"
    )
    check_caught(payload_only, "the series says what encode_prompt is", payload=payload)


def test_verify_accepts():
    check_accepted(payload_only)

"""codemods/argument_parser.py"""

from __future__ import annotations

import pytest

from codemods import argument_parser
from tests.codemods.helpers import FINISHED, PAYLOAD, Tables

of = Tables(argument_parser, "parse")

CLASSES = "(ModelOptions, DataOptions, TrainingArguments)"
PARSED = "margs, dargs, targs = parser.parse_args_into_dataclasses()"
IMPORTED = """
import transformers
from transformers import HfArgumentParser as Parser
from transformers.hf_argparser import HfArgumentParser as Deep"""


def becomes_ours(text: str) -> tuple[str, str]:
    return text.replace("HERE", "HfArgumentParser"), text.replace("HERE", "LenientArgumentParser")


def by(name: str) -> tuple[str, str]:
    return tuple(f"parser = {n}({CLASSES})\n{PARSED}" for n in (name, "LenientArgumentParser"))


TRANSFORMED = {
    "by its name": by("HfArgumentParser"),
    "by another name": by("Parser"),
    "of a submodule": by("Deep"),
    "under the library's name": by("transformers.HfArgumentParser"),
    "at once": becomes_ours(f"margs, dargs, targs = HERE({CLASSES}).parse_args_into_dataclasses()"),
    "by keyword, over several lines": becomes_ours(
        f"""
        # What there is to say.
        parser = HERE(  # all of it
            dataclass_types={CLASSES},
            description="It trains.",
        )
        {PARSED}
        """
    ),
    "parsed in two branches": becomes_ours(
        f"""
        parser = HERE({CLASSES})
        if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
            margs, dargs, targs = parser.parse_json_file(json_file=sys.argv[1])
        else:
            {PARSED}
        """
    ),
    "the classes have a name": becomes_ours(f"groups = {CLASSES}\nparser = HERE(groups)\n{PARSED}"),
    "a group of upstream's own": (
        *becomes_ours(
            "parser = HERE((ModelOptions, DataOptions, Extra, TrainingArguments))\n"
            "margs, dargs, extra, targs = parser.parse_args_into_dataclasses()"
        ),
        {"helper": "@dataclass\nclass Extra:\n    seed: int = 1"},
    ),
    "parsed in a function": (
        *("margs, dargs, targs = read()",) * 2,
        {
            "helper": becomes_ours(
                f"def read():\n    parser = HERE({CLASSES})\n"
                "    return parser.parse_args_into_dataclasses()"
            )
        },
    ),
    "parsed in a function that gives them names": (
        *("margs, dargs, targs = read()",) * 2,
        {
            "helper": becomes_ours(
                f"def read():\n    parser = HERE({CLASSES})\n"
                "    m, d, t = parser.parse_args_into_dataclasses()\n    return m, d, t"
            )
        },
    ),
}
test_transformed = of.transforms(
    TRANSFORMED, also=lambda base: {"imports": base["imports"] + IMPORTED}
)

test_record = of.records("ModelOptions", both=[("changed", "main", "LenientArgumentParser")])

TWO = f"parser = HfArgumentParser({CLASSES})\nother = HfArgumentParser({CLASSES})"
ONE_EACH = "HfArgumentParser to be given model, data and training arguments, one each"
REFUSED = {
    "no parser": (
        "found no call of transformers.HfArgumentParser",
        "parser = OtherParser(here)",
        f"parser = OtherParser(here)\n{PARSED}",
    ),
    "two parsers": (
        "found 2 places, expected one: call of transformers.HfArgumentParser",
        TWO,
        f"{TWO}\n{PARSED}",
    ),
}
test_refused = of.refuses(REFUSED)

RIGHT = FINISHED["parse"]
FIRST = RIGHT.splitlines()[0]
PLAIN = FIRST.replace("Lenient", "Hf")
ONCE, OTHER = "LenientArgumentParser is called once", "no other parser is made"
VERIFY_CATCHES = {
    "the plain one": (ONCE, RIGHT.replace("Lenient", "Hf")),
    "twice": (ONCE, f"{FIRST}\n{RIGHT}"),
    "both": (OTHER, f"{PLAIN}\n{RIGHT}"),
    "another under the library's name": (
        OTHER,
        f"import transformers\nmore = transformers.HfArgumentParser(Other)\n{RIGHT}",
    ),
}
test_verify_catches = of.catches(VERIFY_CATCHES)


@pytest.mark.parametrize("head", ["LenientArgumentParser(Other)", "Other(HfArgumentParser)"])
def test_verify_wants_a_parser(head):
    payload = PAYLOAD.replace("LenientArgumentParser(HfArgumentParser)", head)
    of.caught("LenientArgumentParser is a HfArgumentParser", payload=payload)


test_verify_accepts = of.accepts(RIGHT.replace("((", "(dataclass_types=("), RIGHT)

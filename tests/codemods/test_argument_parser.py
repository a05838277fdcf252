"""codemods/argument_parser.py"""

from __future__ import annotations

import pytest

from codemods import argument_parser
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
    render,
)

CLASSES = "(ModelOptions, DataOptions, TrainingArguments)"
PARSED = "margs, dargs, targs = parser.parse_args_into_dataclasses()"

TRANSFORMED = {
    "one line": (
        f"parser = HfArgumentParser({CLASSES})\n{PARSED}",
        f"parser = LenientArgumentParser({CLASSES})\n{PARSED}",
    ),
    "by keyword": (
        f"parser = HfArgumentParser(dataclass_types={CLASSES})\n{PARSED}",
        f"parser = LenientArgumentParser(dataclass_types={CLASSES})\n{PARSED}",
    ),
    "with a comment, over several lines": (
        f"""
        # What there is to say.
        parser = HfArgumentParser(  # all of it
            {CLASSES},
            description="It trains.",
        )
        {PARSED}
        """,
        f"""
        # What there is to say.
        parser = LenientArgumentParser(  # all of it
            {CLASSES},
            description="It trains.",
        )
        {PARSED}
        """,
    ),
    "under the library's name": (
        f"parser = transformers.HfArgumentParser({CLASSES})\n{PARSED}",
        f"parser = LenientArgumentParser({CLASSES})\n{PARSED}",
    ),
    "under a name of its own": (
        f"parser = Parser({CLASSES})\n{PARSED}",
        f"parser = LenientArgumentParser({CLASSES})\n{PARSED}",
    ),
    "in three branches": (
        f"""
        parser = HfArgumentParser({CLASSES})
        if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
            margs, dargs, targs = parser.parse_json_file(json_file=sys.argv[1])
        else:
            {PARSED}
        """,
        f"""
        parser = LenientArgumentParser({CLASSES})
        if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
            margs, dargs, targs = parser.parse_json_file(json_file=sys.argv[1])
        else:
            {PARSED}
        """,
    ),
    "at once": (
        f"margs, dargs, targs = HfArgumentParser({CLASSES}).parse_args_into_dataclasses()",
        f"margs, dargs, targs = LenientArgumentParser({CLASSES}).parse_args_into_dataclasses()",
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, newline, base):
    imports = BASES[base]["imports"] + "\nimport transformers"
    imports += "\nfrom transformers import HfArgumentParser as Parser"
    check_transformed(
        argument_parser,
        before,
        after,
        slot="parse",
        also={"imports": (imports, imports)},
        base=BASES[base],
        newline=newline,
    )


def test_the_record():
    _, patch = apply(render(OLD), argument_parser)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "main", "LenientArgumentParser")
    ]
    assert patch.graft_before.name.value == "ModelOptions"


def test_no_parser_is_refused():
    parse = "parser = OtherParser(here)\nmargs, dargs, targs = parser.parse()"
    check_refused(
        argument_parser,
        "found no call of transformers.HfArgumentParser",
        nearest=("parser = OtherParser(here)",),
        parse=parse,
    )


def test_two_parsers_are_refused():
    first, second = (f"{name} = HfArgumentParser({CLASSES})" for name in ("parser", "other"))
    check_refused(
        argument_parser,
        "found 2 places, expected one: call of transformers.HfArgumentParser",
        nearest=(first, second),
        parse=f"{first}\n{second}\n{PARSED}",
    )


RIGHT = FINISHED["parse"]
PLAIN = RIGHT.replace("Lenient", "Hf")
CAUGHT = {
    "the plain one": (PLAIN, "LenientArgumentParser is called once in main()"),
    "both": (f"{PLAIN.splitlines()[0]}\n{RIGHT}", "no other parser is made"),
    "another under the library's name": (
        f"more = transformers.HfArgumentParser(Other)\n{RIGHT}",
        "no other parser is made",
    ),
    "twice": (
        f"{RIGHT.splitlines()[0]}\n{RIGHT}",
        "LenientArgumentParser is called once in main()",
    ),
}


@pytest.mark.parametrize(("parse", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(parse, promise):
    check_caught(argument_parser, promise, parse=parse)


@pytest.mark.parametrize(
    "payload",
    [
        PAYLOAD.replace("LenientArgumentParser(HfArgumentParser)", "LenientArgumentParser(Other)"),
        PAYLOAD.replace("class LenientArgumentParser(", "class Other("),
    ],
    ids=["another base", "not grafted"],
)
def test_verify_catches_a_parser_of_another_kind(payload):
    promise = "LenientArgumentParser is a HfArgumentParser"
    check_caught(argument_parser, promise, payload=payload)


def test_verify_accepts_a_parser_by_keyword():
    check_accepted(argument_parser, parse=RIGHT.replace("((", "(dataclass_types=("))

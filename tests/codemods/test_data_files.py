"""codemods/jsonl.py"""

from __future__ import annotations

import pytest

from codemods import jsonl
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_noop,
    check_refused,
    check_transformed,
    render,
)

CHECKS = """\
@dataclass
class DataOptions:
    train_file: str = None
    block_size: int = None

    def __post_init__(self):
        {}
"""
ENDINGS = {
    "two assertions, as upstream has them": (
        """
        if self.train_file is not None:
            extension = self.train_file.split(".")[-1]
            assert extension in ["csv", "json", "txt"], "a csv, a json or a txt file."
        if self.more is not None:
            extension = self.more.split(".")[-1]
            assert extension in ["csv", "json", "txt"], "a csv, a json or a txt file."
        """,
        """
        if self.train_file is not None:
            extension = self.train_file.split(".")[-1]
            assert extension in ["csv", "json", "txt", "jsonl"], "a csv, a json or a txt file."
        if self.more is not None:
            extension = self.more.split(".")[-1]
            assert extension in ["csv", "json", "txt", "jsonl"], "a csv, a json or a txt file."
        """,
    ),
    "a tuple, and not in": (
        """
        if self.train_file[-4:] not in ("csv", "json"):
            raise ValueError("csv or json")
        """,
        """
        if self.train_file[-4:] not in ("csv", "json", "jsonl"):
            raise ValueError("csv or json")
        """,
    ),
    "a set over several lines": (
        """
        assert self.train_file[-4:] in {
            # These.
            "csv",
            "json",  # this too
        }
        """,
        """
        assert self.train_file[-4:] in {
            # These.
            "csv",
            "json", "jsonl",  # this too
        }
        """,
    ),
    "accepted already": (
        'assert self.train_file.split(".")[-1] in ["csv", "json", "jsonl"]',
        'assert self.train_file.split(".")[-1] in ["csv", "json", "jsonl"]',
    ),
}


def indented(text):
    lines = [line.removeprefix("        ") for line in text.strip("\n").rstrip().split("\n")]
    return CHECKS.format("\n        ".join(lines))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("before", "after"), ENDINGS.values(), ids=ENDINGS)
def test_endings(before, after, base):
    check_transformed(jsonl, indented(before), indented(after), slot="data_class", base=BASES[base])


READ = {
    "as upstream has it": (
        """
        if dargs.name is not None:
            raw = load_dataset(dargs.name)
        else:
            files = {}
            reader = dargs.train_file.split(".")[-1]
            if reader == "txt":
                reader = "text"
            # The files.
            raw = load_dataset(
                reader,
                data_files=files,
            )
            if "validation" not in raw:
                raw["validation"] = load_dataset(reader, data_files=files, split="train[:5%]")
        """,
        """
        if dargs.name is not None:
            raw = load_dataset(dargs.name)
        else:
            files = {}
            reader = dargs.train_file.split(".")[-1]
            if reader == "txt":
                reader = "text"
            if reader == "jsonl":
                reader = "json"
            # The files.
            raw = load_dataset(
                reader,
                data_files=files,
            )
            if "validation" not in raw:
                raw["validation"] = load_dataset(reader, data_files=files, split="train[:5%]")
        """,
    ),
    "one name for data sets and files": (
        """
        source = dargs.name or dargs.train_file[-4:]
        raw = load_dataset(source, **dargs.more)
        for part in ("train", "validation"):
            raw[part] = load_dataset(source, split=part)
        """,
        """
        source = dargs.name or dargs.train_file[-4:]
        if source == "jsonl":
            source = "json"
        raw = load_dataset(source, **dargs.more)
        for part in ("train", "validation"):
            raw[part] = load_dataset(source, split=part)
        """,
    ),
    "by keyword, in two branches": (
        """
        source = dargs.train_file[-4:]
        if dargs.more:
            raw = load_dataset(path=source, streaming=True)
        else:
            raw = load_dataset(path=source)
        """,
        """
        source = dargs.train_file[-4:]
        if source == "jsonl":
            source = "json"
        if dargs.more:
            raw = load_dataset(path=source, streaming=True)
        else:
            raw = load_dataset(path=source)
        """,
    ),
    "two names": (
        """
        name, reader = dargs.name, dargs.train_file[-4:]
        if name:
            raw = load_dataset(name)
        else:
            raw = load_dataset(reader)
        """,
        """
        name, reader = dargs.name, dargs.train_file[-4:]
        if name:
            if name == "jsonl":
                name = "json"
            raw = load_dataset(name)
        else:
            if reader == "jsonl":
                reader = "json"
            raw = load_dataset(reader)
        """,
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("before", "after"), READ.values(), ids=READ)
def test_read(before, after, base):
    check_transformed(jsonl, before, after, slot="load", base=BASES[base])


@pytest.mark.parametrize(("before", "after"), READ.values(), ids=READ)
def test_crlf(before, after):
    check_transformed(jsonl, before, after, slot="load", newline="\r\n")


@pytest.mark.parametrize("base", BASES)
def test_noop(base):
    check_noop(jsonl, base=BASES[base])


def test_the_record():
    _, patch = apply(render(OLD | {"load": "kind = 'x'\nraw = load_dataset(kind)"}), jsonl)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("added before", "main", 'if kind == "jsonl":\n    kind = "json"')
    ]
    assert patch.graft_before is None


NAMED = "to be bound in main() and before all loads"
LOAD = "raw = load_dataset(kind)"
REFUSED = {
    "by another name": (
        f"kind = 1\n{LOAD}\nagain = load_dataset\nmore = again(kind)",
        "every use of datasets.load_dataset to be a call of it",
        ("again = load_dataset",),
    ),
    "no load": ("raw = read(dargs.train_file)", "found no name that load_dataset is told", ()),
    "no name": (
        "raw = load_dataset(find(dargs))",
        "found no name that load_dataset is told",
        ("raw = load_dataset(find(dargs))",),
    ),
    "bound later": (
        f"kind = 1\n{LOAD}\nkind = 'jsonl'\nmore = load_dataset(kind)",
        NAMED,
        ("kind = 'jsonl'",),
    ),
    "bound between, in a loop": (
        "kind = 1\nfor part in parts:\n    raw = load_dataset(kind)\n    kind = part",
        NAMED,
        ("kind = part",),
    ),
    "not bound here": (LOAD, NAMED, (LOAD,)),
    "loaded in a definition": (
        f"kind = 1\ndef load():\n    {LOAD}\n    return raw\nraw = load()",
        "the data to be loaded outside of definitions",
        (LOAD,),
    ),
}


def test_a_load_in_a_helper_is_refused():
    helper = "def fetch(kind):\n    return load_dataset(kind)"
    check_refused(
        jsonl,
        "the data to be loaded in main() alone",
        nearest=("return load_dataset(kind)",),
        helper=helper,
        load=f"kind = 1\n{LOAD}\nmore = fetch(kind)",
    )


@pytest.mark.parametrize(("load", "looked_for", "nearest"), REFUSED.values(), ids=REFUSED)
def test_refused(load, looked_for, nearest):
    check_refused(jsonl, looked_for, nearest=nearest, load=load)


@pytest.mark.parametrize(
    "check",
    [
        'assert self.train_file.endswith((".csv", ".json"))',
        'assert self.train_file == "json"',
        'accepted = ["csv", "json"]',
        'assert self.train_file[-4:] in ["json", "txt"]',
    ],
)
def test_refuses_endings_checked_otherwise(check):
    check_refused(
        jsonl,
        "the accepted endings of data files to be lists that an ending is looked up in",
        nearest=(check,),
        hint="jsonl can't be accepted otherwise",
        data_class=indented(check),
    )


READER = "never 'jsonl' where the data is loaded"
MAPPED = 'if kind == "jsonl":\n    kind = "json"'
CAUGHT = {
    "not mapped": f"kind = 1\n{LOAD}",
    "mapped too late": f"kind = 1\n{LOAD}\n{MAPPED}",
    "bound again": f"kind = 1\n{MAPPED}\nkind = 2\n{LOAD}",
    "bound again, later": f"kind = 1\n{MAPPED}\n{LOAD}\nkind = 2",
    "to something else": "kind = 1\n" + MAPPED.replace('= "json"', '= "text"') + f"\n{LOAD}",
    "another name": f"kind = 1\n{MAPPED.replace('kind', 'sort')}\n{LOAD}",
    "not on the way": (
        "kind = 1\nif dargs.more:\n    " + MAPPED.replace("\n", "\n    ") + f"\nelse:\n    {LOAD}"
    ),
}


@pytest.mark.parametrize("load", CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(load):
    check_caught(jsonl, READER, load=load)


def test_verify_catches_endings():
    spoilt = indented('assert self.train_file[-4:] in ["csv", "json"]')
    spoilt = spoilt.replace("DataOptions", "DataOptions(PromptResponseArguments)")
    check_caught(jsonl, "jsonl files are accepted where json ones are", data_class=spoilt)


@pytest.mark.parametrize(
    "load",
    [
        FINISHED["load"],
        f"kind = 1\n{MAPPED}\nif dargs.more:\n    {LOAD}\nelse:\n    {LOAD}",
        f"kind = 1\nkind = 2\n{MAPPED}\nwith here:\n    {LOAD}",
    ],
)
def test_verify_accepts(load):
    check_accepted(jsonl, load=load)


def test_verify_catches_another_name():
    load = f"kind = 1\n{MAPPED}\n{LOAD}\nagain = load_dataset"
    check_caught(jsonl, "load_dataset goes by no other name", load=load)

"""codemods/data_files.py"""

from __future__ import annotations

import pytest

from codemods import data_files
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
            assert extension in ["csv", "json", "txt", *DATA_FILE_ENDINGS], "a csv, a json or a txt file."
        if self.more is not None:
            extension = self.more.split(".")[-1]
            assert extension in ["csv", "json", "txt", *DATA_FILE_ENDINGS], "a csv, a json or a txt file."
        """,
    ),
    "a tuple, and not in": (
        """
        if self.train_file[-4:] not in ("csv", "json"):
            raise ValueError("csv or json")
        """,
        """
        if self.train_file[-4:] not in ("csv", "json", *DATA_FILE_ENDINGS):
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
            "json", *DATA_FILE_ENDINGS,  # this too
        }
        """,
    ),
    "jsonl is accepted already": (
        'assert self.train_file.split(".")[-1] in ["csv", "json", "jsonl"]',
        'assert self.train_file.split(".")[-1] in ["csv", "json", "jsonl", *DATA_FILE_ENDINGS]',
    ),
    "any ending": ("self.checked = True", "self.checked = True"),
}


def indented(text):
    lines = [line.removeprefix("        ") for line in text.strip("\n").rstrip().split("\n")]
    return CHECKS.format("\n        ".join(lines))


def read(base):
    """The load, before and after, where the endings are what a table is about."""
    before = base["load"]
    head, _, tail = before.rpartition("load_dataset(")
    assert "data_files" in tail
    return {"load": (before, f"{head}dargs.load_files({tail}")}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), ENDINGS.values(), ids=ENDINGS)
def test_endings(before, after, newline, base):
    check_transformed(
        data_files,
        indented(before),
        indented(after),
        slot="data_class",
        also=read(BASES[base]),
        base=BASES[base],
        newline=newline,
    )


READ = {
    "as upstream has it": (
        """
        if dargs.name is not None:
            raw = load_dataset(dargs.name, dargs.config, cache_dir=margs.cache_dir)
            if "validation" not in raw:
                raw["validation"] = load_dataset(dargs.name, split="train[:5%]")
        else:
            files = {}
            extra = {}
            reader = dargs.train_file.split(".")[-1]
            if reader == "txt":
                reader = "text"
                extra["keep_linebreaks"] = True
            # The files.
            raw = load_dataset(
                reader,
                data_files=files,
                **extra,
            )
            if "validation" not in raw:
                raw["validation"] = load_dataset(reader, data_files=files, split="train[:5%]", **extra)
        """,
        """
        if dargs.name is not None:
            raw = load_dataset(dargs.name, dargs.config, cache_dir=margs.cache_dir)
            if "validation" not in raw:
                raw["validation"] = load_dataset(dargs.name, split="train[:5%]")
        else:
            files = {}
            extra = {}
            reader = dargs.train_file.split(".")[-1]
            if reader == "txt":
                reader = "text"
                extra["keep_linebreaks"] = True
            # The files.
            raw = dargs.load_files(
                reader,
                data_files=files,
                **extra,
            )
            if "validation" not in raw:
                raw["validation"] = dargs.load_files(reader, data_files=files, split="train[:5%]", **extra)
        """,
    ),
    "by keyword, in two branches": (
        """
        if dargs.more:
            raw = load_dataset(path="json", data_files=dargs.files, streaming=True)
        else:
            raw = load_dataset(data_files=dargs.files, path="json")
        """,
        """
        if dargs.more:
            raw = dargs.load_files(path="json", data_files=dargs.files, streaming=True)
        else:
            raw = dargs.load_files(data_files=dargs.files, path="json")
        """,
    ),
    "out of a dict": (
        """
        how = {"data_files": dargs.files, "cache_dir": margs.cache_dir}
        raw = load_dataset("json", **how)
        """,
        """
        how = {"data_files": dargs.files, "cache_dir": margs.cache_dir}
        raw = dargs.load_files("json", **how)
        """,
    ),
    "out of a dict that nobody can know": (
        """
        how = make(dargs)
        how["cache_dir"] = margs.cache_dir
        raw = load_dataset(dargs.name or "json", **how)
        raw["validation"] = load_dataset("json", split="train[:5%]", **dict(data_files=dargs.files))
        """,
        """
        how = make(dargs)
        how["cache_dir"] = margs.cache_dir
        raw = dargs.load_files(dargs.name or "json", **how)
        raw["validation"] = dargs.load_files("json", split="train[:5%]", **dict(data_files=dargs.files))
        """,
    ),
    "under the library's name": (
        "raw = datasets.load_dataset('json', data_files=dargs.files)",
        "raw = dargs.load_files('json', data_files=dargs.files)",
    ),
    "under a name of its own": (
        "raw = load('json', data_files=dargs.files)",
        "raw = dargs.load_files('json', data_files=dargs.files)",
    ),
    "in a definition of main()": (
        """
        def fetch(split):
            return load_dataset("json", data_files=dargs.files, split=split)
        raw = load_dataset("json", data_files=dargs.files)
        raw["validation"] = fetch("train[:5%]")
        """,
        """
        def fetch(split):
            return dargs.load_files("json", data_files=dargs.files, split=split)
        raw = dargs.load_files("json", data_files=dargs.files)
        raw["validation"] = fetch("train[:5%]")
        """,
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), READ.values(), ids=READ)
def test_read(before, after, newline, base):
    imports = BASES[base]["imports"] + "\nimport datasets"
    imports += "\nfrom datasets import load_dataset as load"
    check_transformed(
        data_files,
        before,
        after,
        slot="load",
        also={"imports": (imports, imports)},
        base=BASES[base],
        newline=newline,
    )


def test_other_names():
    parse = OLD["parse"].replace("dargs", "the_data")
    text, _ = apply(
        render(OLD, {"parse": parse, "load": OLD["load"].replace("dargs", "the_data")}), data_files
    )
    assert '    raw = the_data.load_files("json", data_files=the_data.train_file)\n' in text


def test_a_load_of_a_data_set_stays_in_a_helper_too():
    helper = "def fetch(name):\n    return load_dataset(name, 'plain', streaming=True)"
    check_transformed(data_files, helper, helper, slot="helper", also=read(OLD))


def test_the_record():
    _, patch = apply(
        render(OLD | {"data_class": indented(ENDINGS["a tuple, and not in"][0])}), data_files
    )
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "DataOptions.__post_init__", "*DATA_FILE_ENDINGS"),
        ("changed", "main", "dargs.load_files"),
    ]
    assert patch.graft_before.name.value == "ModelOptions"


LOAD = OLD["load"]
NONE = "found no call of load_dataset that is given data_files"
REFUSED = {
    "by another name": (
        f"{LOAD}\nagain = load_dataset\nmore = again('json', data_files={{}})",
        "every use of datasets.load_dataset to be a call of it",
        ("again = load_dataset",),
        "",
    ),
    "no load": ("raw = read(dargs.train_file)", NONE, (), ""),
    "no files": ("raw = load_dataset(dargs.name)", NONE, ("raw = load_dataset(dargs.name)",), ""),
    "done already": (FINISHED["load"], NONE, (), ""),
    "given in place": (
        "raw = load_dataset('json', None, None, dargs.files)",
        NONE,
        ("raw = load_dataset('json', None, None, dargs.files)",),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("load", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(load, looked_for, nearest, hint):
    check_refused(data_files, looked_for, nearest=nearest, hint=hint, load=load)


def test_a_load_of_files_in_a_helper_is_refused():
    check_refused(
        data_files,
        "the data to be loaded in main() alone",
        nearest=("return load_dataset(kind, data_files=files)",),
        helper="def fetch(kind, files):\n    return load_dataset(kind, data_files=files)",
        load=f"{LOAD}\nmore = fetch(dargs.kind, dargs.files)",
    )


@pytest.mark.parametrize(
    "check",
    [
        'assert self.train_file.endswith((".csv", ".json"))',
        'assert self.train_file == "json"',
        'accepted = ["csv", "json"]',
        'assert self.kinds == ["csv", "json"]',
        'assert self.train_file[-4:] in ["json", "txt"]',
    ],
)
def test_refuses_endings_checked_otherwise(check):
    check_refused(
        data_files,
        "the accepted endings of data files to be lists that an ending is looked up in",
        nearest=(check,),
        hint="Other files can't be accepted otherwise",
        data_class=indented(check),
    )


@pytest.mark.parametrize(
    "load",
    [
        f"{LOAD}\nraw['validation'] = load_dataset('json', None, None, dargs.files)",
        f"if dargs.name:\n    raw = load_dataset('json', *dargs.all)\nelse:\n    {LOAD}",
    ],
    ids=["files in place", "unknown arguments"],
)
def test_verify_refuses(load):
    check_unverified(data_files, PROMISE, load=load)


PROMISE = "files are read by the data arguments"
RIGHT = FINISHED["load"]
MAIN = {
    "as upstream loads them": LOAD,
    "one of two": f"{RIGHT}\nmore = {LOAD}",
    "under the library's name": f"{RIGHT}\nmore = datasets.{LOAD.partition(' = ')[2]}",
    "under a name of its own": f"{RIGHT}\nmore = load('json', data_files=dargs.files)",
    "by another reader": f"{RIGHT}\nmore = read('json', data_files=dargs.files)",
    "out of a dict": f"{RIGHT}\nhow = {{'data_files': 1}}\nmore = load_dataset('json', **how)",
    "in place": f"{RIGHT}\nmore = load_dataset('json', None, None, dargs.files)",
    "in place, by the reader": "raw = dargs.load_files('json', None, None, dargs.files)",
    "in a list": f"{RIGHT}\nmore = load_dataset(*dargs.all)",
    "in a dict that nobody knows": f"{RIGHT}\nmore = load_dataset('json', **dargs.all)",
    "a data set only": "raw = load_dataset('a')",
    "by other arguments": RIGHT.replace("dargs.load", "margs.load"),
    "by nobody": RIGHT.replace("dargs.load", "load"),
    "by what is made on the way": RIGHT.replace("dargs.load", "DataOptions().load"),
}


@pytest.mark.parametrize("load", MAIN.values(), ids=MAIN)
def test_verify_catches(load):
    check_caught(data_files, PROMISE, load=load)


ELSEWHERE = {
    "before the arguments are there": {"parse": f"{RIGHT}\n{FINISHED['parse']}", "load": "pass"},
    "in a helper": {"helper": "def helper(rows):\n    return load_dataset('a', data_files=rows)"},
    "in another class": {
        "helper": "class Other:\n    def read(self):\n        return load_dataset('a', data_files=1)"
    },
    "at module level": {"helper": "read = load_dataset('a', data_files={})"},
    "nobody reads typed files": {
        "payload": PAYLOAD.replace("class PromptResponseArg", "class Arg")
    },
}


@pytest.mark.parametrize("spoilt", ELSEWHERE.values(), ids=ELSEWHERE)
def test_verify_catches_elsewhere(spoilt):
    check_caught(data_files, PROMISE, **spoilt)


@pytest.mark.parametrize("slot", ["load", "helper"])
def test_verify_catches_another_name(slot):
    spoilt = {"load": RIGHT, "helper": FINISHED["helper"]}
    spoilt[slot] += "\nagain = load_dataset"
    check_caught(data_files, "load_dataset goes by no other name", **spoilt)


def test_verify_catches_endings():
    spoilt = indented('assert self.train_file[-4:] in ["csv", "json"]')
    spoilt = spoilt.replace("DataOptions", "DataOptions(PromptResponseArguments)")
    check_caught(data_files, "jsonl files are accepted where json ones are", data_class=spoilt)


@pytest.mark.parametrize(
    "load",
    [
        RIGHT,
        f"if dargs.name:\n    raw = load_dataset(dargs.name, 'plain')\nelse:\n    {RIGHT}",
        "how = {'data_files': 1}\nraw = dargs.load_files('json', **how)",
        f"with here:\n    {RIGHT}\nraw['more'] = {RIGHT.partition(' = ')[2]}",
    ],
)
def test_verify_accepts(load):
    check_accepted(data_files, load=load)

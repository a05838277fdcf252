"""codemods/data_files.py"""

from __future__ import annotations

import textwrap

import pytest

from codemods import data_files
from tests.codemods.helpers import BASES, FINISHED, OLD, Tables

of = Tables(data_files, "load")

CHECKS = """\
@dataclass
class DataOptions{}:
    train_file: str = None
    block_size: int = None

    def __post_init__(self):
"""
LISTS = {
    "a list, with a message": 'assert extension in ["csv", "json", "txt"HERE], "a csv or a json file."',
    "a tuple, and not in": 'if self.train_file[-4:] not in ("csv", "json"HERE):\n    raise ValueError("no")',
    "a set over several lines": 'assert self.end in {\n    # These.\n    "csv",\n    "json"HERE,  # this too\n}',
    "jsonl is accepted already": 'assert self.end in ["csv", "json", "jsonl"HERE]',
    "twice": 'assert self.end in ["csv", "json"HERE]\nassert self.more in ["csv", "json"HERE]',
    "any ending": "self.checked = True",
}


def checks(text: str, bases: str = "") -> str:
    return CHECKS.format(bases) + textwrap.indent(text, " " * 8)


def read(base):
    """The load, before and after, where the endings are what a table is about."""
    before = base["load"]
    head, _, tail = before.rpartition("load_dataset(")
    assert "data_files" in tail
    return {"load": (before, f"{head}dargs.load_files({tail}")}


ENDINGS = {
    name: tuple(checks(text.replace("HERE", n)) for n in ("", ", *DATA_FILE_ENDINGS"))
    for name, text in LISTS.items()
}
test_endings = of.transforms(ENDINGS, also=read, slot="data_class")


def becomes_ours(text: str, before: str = "load_dataset") -> tuple[str, str]:
    return text.replace("HERE", before), text.replace("HERE", "dargs.load_files")


READ_ROWS = {
    "as upstream has it": becomes_ours(
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
            raw = HERE(
                reader,
                data_files=files,
                **extra,
            )
            if "validation" not in raw:
                raw["validation"] = HERE(reader, data_files=files, split="train[:5%]", **extra)
        """
    ),
    "by keyword, in two branches": becomes_ours(
        "if dargs.more:\n    raw = HERE(path='json', data_files=dargs.files, streaming=True)\n"
        "else:\n    raw = HERE(data_files=dargs.files, path='json')"
    ),
    "out of a dict": becomes_ours("how = {'data_files': dargs.files}\nraw = HERE('json', **how)"),
    "out of a dict that nobody can know": becomes_ours(
        "how = make(dargs)\nhow['cache_dir'] = 1\nraw = HERE(dargs.name or 'json', **how)\n"
        "raw['validation'] = HERE('json', split='train[:5%]', **dict(data_files=dargs.files))"
    ),
    "under the library's name": becomes_ours(
        "raw = HERE('json', data_files=dargs.files)", "datasets.load_dataset"
    ),
    "under a name of its own": becomes_ours("raw = HERE('json', data_files=dargs.files)", "load"),
    "of a submodule": becomes_ours("raw = HERE('json', data_files=dargs.files)", "deep"),
    "in a definition of main()": becomes_ours(
        "def fetch(split):\n    return HERE('json', data_files=dargs.files, split=split)\n"
        "raw = HERE('json', data_files=dargs.files)\nraw['validation'] = fetch('train[:5%]')"
    ),
    "a data set stays in a helper": (
        *becomes_ours("raw = HERE('json', data_files=dargs.files)"),
        {"helper": "def fetch(name):\n    return load_dataset(name, 'plain', streaming=True)"},
    ),
    "in a function that knows the arguments by another name": (
        *("raw = fetch(margs, dargs)",) * 2,
        {
            "helper": (
                "def fetch(m, d):\n    return load_dataset('json', data_files=d.files)",
                "def fetch(m, d):\n    return d.load_files('json', data_files=d.files)",
            )
        },
    ),
}
test_read = of.transforms(
    READ_ROWS,
    also=lambda base: {
        "imports": base["imports"]
        + "\nimport datasets\nfrom datasets import load_dataset as load"
        + "\nfrom datasets.load import load_dataset as deep"
    },
)


@pytest.mark.parametrize("base", BASES)
def test_other_names(base):
    parse = OLD["parse"].replace("dargs", "the_data")
    load = "raw = load_dataset('json', data_files=the_data.train_file)"
    rows = {"parse": (parse, parse), "mapping": ("chunks = raw.map(tokenizer)",) * 2}
    rows["load"] = (load, load.replace("load_dataset", "the_data.load_files"))
    rows["splits"] = (OLD["splits"], OLD["splits"])
    of.transformed(rows, BASES[base])


READ = ("changed", "main", "dargs.load_files")
test_record = of.records("ModelOptions", both=[READ])

LOAD = OLD["load"]
NONE = "found no call of load_dataset that is given data_files"
IN_PLACE = "raw = load_dataset('json', None, None, dargs.files)"
FETCH = "return load_dataset(kind, data_files=files)"
REFUSED = {
    "by another name": (
        "every use of datasets.load_dataset to be a call of it",
        "again = load_dataset",
        f"{LOAD}\nagain = load_dataset\nmore = again('json', data_files={{}})",
    ),
    "by code of upstream's own": (
        "files to be read with one of csv, json, text, parquet, arrow",
        "raw = load_dataset('build/rows.py', data_files=dargs.train_file)",
        "raw = load_dataset('build/rows.py', data_files=dargs.train_file)",
    ),
    "no load": (NONE, "", "raw = read(dargs.train_file)"),
    "no files": (NONE, "raw = load_dataset(dargs.name)", "raw = load_dataset(dargs.name)"),
    "done already": (NONE, "", FINISHED["load"]),
    "given in place": (NONE, IN_PLACE, IN_PLACE),
    "in a function that does not know the arguments": (
        "one name for the data arguments in fetch(), not 0",
        OLD["parse"].splitlines()[-1],
        {
            "helper": f"def fetch(kind, files):\n    {FETCH}",
            "load": f"{LOAD}\nmore = fetch(dargs.kind, dargs.files)",
        },
    ),
}
test_refused = of.refuses(REFUSED)


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
    looked_for = "the accepted endings of data files to be lists that an ending is looked up in"
    hint = " … Other files can't be accepted otherwise"
    of.refused(looked_for + hint, check, data_class=checks(check))


PROMISE, OTHER_NAME = "files are read by the data arguments", "load_dataset goes by no other name"
UNKNOWN = {
    "files in place": f"{LOAD}\nraw['validation'] = {IN_PLACE.partition(' = ')[2]}",
    "unknown arguments": f"if dargs.name:\n    raw = load_dataset('a', *dargs.all)\nelse:\n    {LOAD}",
}
test_verify_refuses = of.unverifies({name: (PROMISE, load) for name, load in UNKNOWN.items()})

RIGHT = FINISHED["load"]
MORE = {
    "as upstream loads them": "load_dataset('json', data_files=1)",
    "under the library's name": "datasets.load_dataset('json', data_files=1)",
    "in place": "load_dataset('json', None, None, dargs.files)",
    "in a list": "load_dataset(*dargs.all)",
    "in a dict that nobody knows": "load_dataset('json', **dargs.all)",
}
HELPER = "def helper(rows):\n    return load_dataset('a', data_files=rows)"
VERIFY_CATCHES = {
    **{n: (PROMISE, f"import datasets\n{RIGHT}\nmore = {load}") for n, load in MORE.items()},
    "none by the reader": (PROMISE, LOAD),
    "a data set only": (PROMISE, "raw = load_dataset('a')"),
    "in place, by the reader": (PROMISE, "raw = dargs.load_files('json', None, None, 1)"),
    "by other arguments": (PROMISE, RIGHT.replace("dargs.load", "margs.load")),
    "by nobody": (PROMISE, RIGHT.replace("dargs.load", "load")),
    "by what is made on the way": (PROMISE, RIGHT.replace("dargs.load", "DataOptions().load")),
    "before the arguments are there": (
        PROMISE,
        {"parse": f"{RIGHT}\n{FINISHED['parse']}", "load": "pass"},
    ),
    "in a helper": (PROMISE, {"helper": HELPER}),
    "in a method": (PROMISE, {"helper": "class A:\n" + textwrap.indent(HELPER, "    ")}),
    "at module level": (PROMISE, {"helper": "read = load_dataset('a', data_files={})"}),
    "by another name": (OTHER_NAME, f"{RIGHT}\nagain = load_dataset"),
    "by another name in a helper": (OTHER_NAME, {"helper": "again = load_dataset"}),
    "endings": (
        "jsonl files are accepted where json ones are",
        {"data_class": checks('assert self.end in ["csv", "json"]', "(PromptResponseArguments)")},
    ),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    f"if dargs.name:\n    raw = load_dataset(dargs.name, 'plain')\nelse:\n    {RIGHT}",
    "how = {'data_files': 1}\nraw = dargs.load_files('json', **how)",
    f"with here:\n    {RIGHT}\nraw['more'] = {RIGHT.partition(' = ')[2]}",
)

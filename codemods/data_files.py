"""Data files are read as they are spelled: csv, json and jsonl, one or many, packed or not.

    assert extension in ["csv", "json", "txt"], …
                        →  assert extension in ["csv", "json", "txt", *DATA_FILE_ENDINGS], …
    raw_datasets = load_dataset(extension, data_files=data_files, …)
                        →  raw_datasets = data_args.load_files(extension, data_files=data_files, …)

The first is every list of accepted endings in the data arguments' class, whose base has looked at
the files before. The second is every call of load_dataset that is given data files, or unpacks what
may hold some: load_files hands on what has none. That of a named data set stays.
"""

from __future__ import annotations

import ast

from .engine.flow import is_bound
from .engine.nodes import dotted, string
from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_element

ENDINGS = {"csv", "json"}
MORE = "*DATA_FILE_ENDINGS"
FILES = "data_files"
BEFORE_FILES = 3  # arguments that load_dataset takes before them
READERS = (None, "csv", "json", "text", "parquet", "arrow")  # None: told by a file's name
READER = "load_files"
LOAD = "datasets.load_dataset"
DISPLAYS = (ast.List, ast.Tuple, ast.Set)


def apply(patch: Patch) -> None:
    patch.graft(before=patch.script.first_argument_class)
    _accept(patch)
    _read(patch)


def _accept(patch: Patch) -> None:
    """The endings that the data arguments accept get those that are read here."""
    script = patch.script
    methods = [n for n in script.data_class.body if isinstance(n, ast.FunctionDef)]
    inside = sorted(
        (n for m in methods for n in ast.walk(m) if hasattr(n, "lineno")),
        key=lambda n: (n.lineno, n.col_offset),
    )
    lists = [n for n in inside if isinstance(n, DISPLAYS) and _strings(n) >= ENDINGS]
    lists = [n for n in lists if _is_looked_up_in(script.parent(n))]
    for listed in lists:
        patch.change(listed, add_element(MORE), "more kinds of files are accepted", MORE)
    known = {id(e) for listed in lists for e in listed.elts}
    others = [n for n in inside if string(n) in ("json", ".json") and id(n) not in known]
    if others:
        raise patch.refuse(
            "the accepted endings of data files to be lists that an ending is looked up in",
            others,
            "Other files can't be accepted otherwise",
        )


def _is_looked_up_in(above: ast.AST) -> bool:
    """``in`` or ``not in`` before the list?"""
    return isinstance(above, ast.Compare) and isinstance(above.ops[-1], (ast.In, ast.NotIn))


def _strings(display: ast.List | ast.Tuple | ast.Set) -> set[str | None]:
    return {string(e) for e in display.elts}


def _read(patch: Patch) -> None:
    """What loads data files is a method of the data arguments."""
    script = patch.script
    loads = script.only_called(LOAD)
    of_files = [c for c in loads if any(k.arg in (None, FILES) for k in c.keywords)]
    if not of_files:
        near = loads or script.method_calls("load_dataset")
        raise patch.refuse(f"found no call of load_dataset that is given {FILES}", near)
    odd = [c for c in of_files if _reader(c) not in READERS]
    if odd := [c for c in odd if script.keyword(c, FILES)]:
        hint = "What upstream reads them with would be passed over"
        raise patch.refuse(f"files to be read with one of {', '.join(READERS[1:])}", odd, hint)
    for call in of_files:
        reader = f"{script.name('data_args', script.scope(call))}.{READER}"
        patch.replace(call.func, reader, "files are read as they are spelled")


def _reader(load: ast.Call) -> str | None:
    """What the files are read with, where that is written out."""
    named = [k.value for k in load.keywords if k.arg == "path"]
    return string([*load.args, *named, None][0])


def verify(script: Script) -> None:
    for node in ast.walk(script.data_class):
        if isinstance(node, DISPLAYS):
            accepted = not _strings(node) >= ENDINGS or MORE in map(ast.unparse, node.elts)
            script.require(accepted, "jsonl files are accepted where json ones are", node)
    promise = "files are read by the data arguments"
    reads = script.method_calls(READER)
    script.require(reads, promise)
    for read in reads:
        reader = dotted(read.func.value)
        known = script.names.all("data_args", script.scope(read))
        script.require(reader in known and is_bound(script, reader, read), promise, read)
    loads = script.calls_to(LOAD)
    called = [c.func for c in loads]
    others = [n for n in script.uses(LOAD) if n not in called]
    script.require(not others, "load_dataset goes by no other name", *others)
    files = [c for c in loads if any(k.arg in (None, FILES) for k in c.keywords)]
    files += [c for c in [*loads, *reads] if _may_be_in_place(c)]
    script.require(not files, promise, *files)


def _may_be_in_place(load: ast.Call) -> bool:
    """Are there so many arguments before the keywords that the files may be among them?"""
    starred = any(isinstance(a, ast.Starred) for a in load.args)
    return starred or len(load.args) > BEFORE_FILES

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

import libcst as cst

from .engine.patch import Patch
from .engine.script import Script, dotted
from .engine.syntax import add_element, expression, string

ENDINGS = {"csv", "json"}
MORE = "*DATA_FILE_ENDINGS"
FILES = "data_files"
BEFORE_FILES = 3  # arguments that load_dataset takes before them
READER = "PromptResponseArguments"  # whose load_files hands on files that have types of their own
DISPLAYS = (cst.List, cst.Tuple, cst.Set)


def apply(patch: Patch) -> None:
    patch.graft(before=patch.anchors.first_argument_class)
    _accept(patch)
    _read(patch)


def _accept(patch: Patch) -> None:
    """The endings that the data arguments accept get those that are read here."""
    a, source = patch.anchors, patch.source
    methods = [n for n in a.data_class.body.body if isinstance(n, cst.FunctionDef)]
    inside = [n for m in methods for n in source.below(m)]
    lists = [n for n in inside if isinstance(n, DISPLAYS) and _strings(n) >= ENDINGS]
    lists = [n for n in lists if _is_looked_up_in(source.parent(n))]
    for listed in lists:
        patch.change(listed, add_element(MORE), "more kinds of files are accepted", MORE)
    known = {id(e.value) for listed in lists for e in listed.elements}
    others = [n for n in inside if string(n) in ("json", ".json") and id(n) not in known]
    if others:
        raise patch.refuse(
            "the accepted endings of data files to be lists that an ending is looked up in",
            others,
            "Other files can't be accepted otherwise",
        )


def _is_looked_up_in(above: cst.CSTNode) -> bool:
    """``in`` or ``not in`` before the list?"""
    return isinstance(getattr(above, "operator", None), (cst.In, cst.NotIn))


def _strings(display: cst.BaseExpression) -> set[str | None]:
    return {string(e.value) for e in display.elements}


def _read(patch: Patch) -> None:
    """What loads data files is a method of the data arguments."""
    a = patch.anchors
    loads = a.only_called("datasets.load_dataset")
    of_files = [c for c in loads if any(_may_give_files(arg) for arg in c.args)]
    if not of_files:
        raise patch.refuse(
            f"found no call of load_dataset that is given {FILES}",
            loads or a.method_calls("load_dataset"),
        )
    if outside := [c for c in of_files if not patch.source.inside(c, a.main)]:
        raise patch.refuse(f"the data to be loaded in {a.main.name.value}() alone", outside)
    reader = f"{a.data_args}.load_files"
    for call in of_files:
        patch.replace(call.func, expression(reader), "files are read as they are spelled")


def _may_give_files(arg: cst.Arg) -> bool:
    return arg.star == "**" or (arg.keyword is not None and arg.keyword.value == FILES)


def verify(script: Script) -> None:
    cls = script.classes[script.argument_class("train_file")]
    for node in ast.walk(cls):
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            listed = {e.value for e in node.elts if isinstance(e, ast.Constant)}
            accepted = not listed >= ENDINGS or MORE in {ast.unparse(e) for e in node.elts}
            script.require(accepted, "jsonl files are accepted where json ones are", node)
    promise, data = "files are read by the data arguments", script.groups()["data"]
    reads = script.calls("load_files", script.main)
    script.require(reads, promise)
    for read in reads:
        script.require(dotted(read.func) == f"{data}.load_files", promise, read)
        script.require(script.is_bound(data, read), promise, read)
    script.require(READER in script.classes, promise)
    own = {id(n) for n in ast.walk(script.classes[READER])}
    loads = [c for c in script.calls("load_dataset") if id(c) not in own]
    called = {id(c.func) for c in loads}
    others = [n for n in script.all if _is_load_dataset(n) and id(n) not in called | own]
    script.require(not others, "load_dataset goes by no other name", *others)
    takers = [*script.calls("load_files"), *script.calls("dict")]  # what unpacks one is a load
    told = {id(k) for c in takers for k in c.keywords}
    files = [n for n in script.all if isinstance(n, ast.keyword) and n.arg == FILES]
    files = [n for n in files if id(n) not in told | own]
    files += [c for c in loads if any(k.arg is None for k in c.keywords)]
    files += [c for c in [*loads, *reads] if _may_be_in_place(c)]
    script.require(not files, promise, *files)


def _may_be_in_place(load: ast.Call) -> bool:
    """Are there so many arguments before the keywords that the files may be among them?"""
    starred = any(isinstance(a, ast.Starred) for a in load.args)
    return starred or len(load.args) > BEFORE_FILES


def _is_load_dataset(node: ast.AST) -> bool:
    named = isinstance(node, (ast.Name, ast.Attribute))
    return named and dotted(node).split(".")[-1] == "load_dataset"

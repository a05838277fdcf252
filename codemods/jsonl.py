"""Files that end in .jsonl are read as those that end in .json: both may hold one row a line.

    assert extension in ["csv", "json", "txt"], …
                                →  assert extension in ["csv", "json", "txt", "jsonl"], …
                                →  if extension == "jsonl":
                                →      extension = "json"
    raw_datasets = load_dataset(extension, data_files=data_files, …)

The first is every list of accepted endings in the data arguments' class. The second stands before
the first load that the name of a reader is given to.
"""

from __future__ import annotations

import ast
import itertools

import libcst as cst

from .engine.anchors import Anchors
from .engine.patch import Patch
from .engine.script import Script
from .engine.script import dotted as dotted_name
from .engine.syntax import add_element, string

ENDINGS = {"csv", "json"}
DISPLAYS = (cst.List, cst.Tuple, cst.Set)
DEFINITIONS = (cst.FunctionDef, cst.ClassDef, cst.Lambda)


def apply(patch: Patch) -> None:
    _accept(patch, patch.anchors)
    _read(patch, patch.anchors)


def _accept(patch: Patch, a: Anchors) -> None:
    """The endings that the data arguments accept get one more."""
    methods = [n for n in a.data_class.body.body if isinstance(n, cst.FunctionDef)]
    inside = [n for m in methods for n in patch.source.below(m)]
    lists = [n for n in inside if _is_list_of_endings(patch, n)]
    for listed in lists:
        if "jsonl" not in _strings(listed):
            patch.change(listed, add_element('"jsonl"'), "jsonl is accepted too", '"jsonl"')
    known = {id(e.value) for listed in lists for e in listed.elements}
    others = [n for n in inside if string(n) in ("json", ".json") and id(n) not in known]
    if others:
        raise patch.refuse(
            "the accepted endings of data files to be lists that an ending is looked up in",
            others,
            "jsonl can't be accepted otherwise",
        )


def _strings(display: cst.BaseExpression) -> list[str | None]:
    return [string(e.value) for e in display.elements]


def _is_list_of_endings(patch: Patch, node: cst.CSTNode) -> bool:
    """``["csv", "json", …]`` after ``in`` or ``not in``?"""
    target = patch.source.parent(node)
    return (
        isinstance(node, DISPLAYS)
        and isinstance(target, cst.ComparisonTarget)
        and isinstance(target.operator, (cst.In, cst.NotIn))
        and set(_strings(node)) >= ENDINGS
    )


def _read(patch: Patch, a: Anchors) -> None:
    """Where a name says what reads the data files, "jsonl" becomes "json" first."""
    loads = a.only_called("datasets.load_dataset")
    named = [c for c in loads if isinstance(_reader(c), cst.Name)]
    if outside := [c for c in named if not patch.source.inside(c, a.main)]:
        raise patch.refuse(f"the data to be loaded in {a.main.name.value}() alone", outside)
    readers: dict[str, list[cst.Call]] = {}
    literal = False
    for call in loads:
        given = _reader(call)
        if isinstance(given, cst.Name):
            readers.setdefault(given.value, []).append(call)
        literal |= string(given) is not None
    if not readers and not literal:
        raise patch.refuse(
            "found no name that load_dataset is told by what reads the data files",
            loads or a.method_calls("load_dataset"),
        )
    for name, calls in readers.items():
        statement = _before_all(patch, a, name, calls)
        patch.insert_before(
            statement, f'if {name} == "jsonl":\n    {name} = "json"', "jsonl is read as json"
        )


def _reader(call: cst.Call) -> cst.BaseExpression | None:
    for arg in call.args:
        if arg.star == "" and (arg.keyword is None or arg.keyword.value == "path"):
            return arg.value
    return None


def _before_all(patch: Patch, a: Anchors, name: str, calls: list[cst.Call]) -> cst.BaseStatement:
    """The statement that holds the first of the calls, in the block that holds them all."""
    source, first = patch.source, calls[0]
    if hidden := [c for c in calls if _in_definition(patch, a, c)]:
        raise patch.refuse("the data to be loaded outside of definitions", hidden)
    chain = [first, *source.ancestors(first)]
    statement = next(
        n
        for n, above in itertools.pairwise(chain)
        if isinstance(above, cst.IndentedBlock) and all(source.inside(c, above) for c in calls)
    )
    bound = a.bindings(name)
    late = [n for n in bound if not source.before(n, statement)]
    if late or not bound or any(_in_definition(patch, a, n) for n in bound):
        raise patch.refuse(
            f"{name!r}, by which load_dataset is told what reads the data files, to be bound in "
            f"{a.main.name.value}() and before all loads",
            late or bound or calls,
        )
    return statement


def _in_definition(patch: Patch, a: Anchors, node: cst.CSTNode) -> bool:
    above = list(patch.source.ancestors(node))
    return any(isinstance(n, DEFINITIONS) for n in above[: above.index(a.main)])


def verify(script: Script) -> None:
    cls = script.classes[script.argument_class("train_file")]
    for node in ast.walk(cls):
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            listed = {e.value for e in node.elts if isinstance(e, ast.Constant)}
            accepted = not listed >= ENDINGS or "jsonl" in listed
            script.require(accepted, "jsonl files are accepted where json ones are", node)
    calls = script.calls("load_dataset")
    called = {id(c.func) for c in calls}
    others = [
        n
        for n in script.main_nodes
        if isinstance(n, (ast.Name, ast.Attribute))
        and dotted_name(n).split(".")[-1] == "load_dataset"
        and id(n) not in called
    ]
    script.require(not others, "load_dataset goes by no other name", *others)
    for call in calls:
        paths = [k.value for k in call.keywords if k.arg == "path"]
        name = dotted_name((call.args or paths or [call])[0])
        if name and "." not in name:
            inside = call in script.calls("load_dataset", script.main)
            script.require(inside, f"data is loaded in {script.main.name}() alone", call)
            _verify_reader(script, call, name)


def _verify_reader(script: Script, call: ast.Call, name: str) -> None:
    """Straight on the way to the call, and after all else that binds the name, jsonl becomes json."""
    promise = f"{name} is never 'jsonl' where the data is loaded"
    wanted = ast.dump(ast.parse(f"if {name} == 'jsonl':\n    {name} = 'json'").body[0])
    blocks = [
        block
        for node in [*script.main_own, script.main]
        for part in ("body", "orelse", "finalbody")
        if isinstance(block := getattr(node, part, None), list)
    ]
    found = [
        step
        for block in blocks
        for place, step in enumerate(block)
        if isinstance(step, ast.If)
        and isinstance(step.test, ast.Compare)
        and dotted_name(step.test.left) == name
        and ast.dump(step) == wanted
        and any(s.lineno <= call.lineno <= s.end_lineno for s in block[place + 1 :])
    ]
    script.require(len(found) == 1, promise, call)
    late = [b for b in script.bindings(name) if b.lineno > found[0].end_lineno]
    script.require(not late, promise, *late)

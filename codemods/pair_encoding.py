"""Prompt/response encoding takes the place of tokenising and chunking running text.

    tokenized_datasets = raw_datasets.map(tokenize_function, …)      (and all that only
    block_size = …                                                    they need)
    lm_datasets = tokenized_datasets.map(group_texts, …)
        →  tokenized_datasets = lm_datasets = encode_datasets(raw_datasets, encode_pair, …)

What goes is found by a backward slice: the statements of main() that map the data, and then every
earlier statement whose names are read by those alone. A statement that does anything else stays.
``block_size`` goes with the chunks it measured. The names that the rest of main() reads stay
bound, so that upstream's choice of splits, sample limits and streaming need no edit.
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.anchors import Anchors, dotted, own_nodes
from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import statements, string

ASKS = (
    "map",
    "keys",
    "get",
    "len",
    "list",
    "hasattr",
    "getattr",
    "isinstance",
    "type",
    "next",
    "iter",
)
CHANGES = ("pop", "popitem", "update", "setdefault", "clear")
SPLITS = {"train": "do_train", "validation": "do_eval"}  # what encode_datasets encodes, and when
MORE_THAN_BINDS = (
    cst.Return,
    cst.Raise,
    cst.Assert,
    cst.Del,
    cst.Global,
    cst.Nonlocal,
    cst.Await,
    cst.Yield,
)
LOGS = ("debug", "info", "warning", "warning_once", "warn", "error")


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    seeds = _mapping_steps(patch, a)
    doomed = _slice(a, seeds)
    outputs = _outputs(patch, a, seeds, doomed)
    for step in doomed:
        if step is not seeds[-1]:
            names = ", ".join(sorted(a.bound(step)))
            patch.remove(step, f"text chunking: {names}")
    call = (
        f"{' = '.join(outputs)} = encode_datasets("
        f"{a.raw_datasets}, encode_pair, {a.tokenizer}, {a.model}, {a.data_args}, {a.training_args})"
    )
    if len(call) > 115:
        call = call.replace("encode_datasets(", "encode_datasets(\n    ").removesuffix(")") + "\n)"
    patch.replace(seeds[-1], statements(call, blank_line=True)[0], "mapping becomes pair encoding")
    size = a.field(a.data_class, "block_size")
    if size is None:
        raise patch.refuse("found no field 'block_size' among the data arguments", [a.data_class])
    _remove_field(patch, size)


def _remove_field(patch: Patch, field: cst.AnnAssign) -> None:
    line, what = patch.source.parent(field), "the argument block_size, which measured the chunks"
    if len(line.body) == 1:
        patch.remove(line, what)
        return

    def edit(updated: cst.SimpleStatementLine) -> cst.SimpleStatementLine:
        rest = [s for s in updated.body if s is not field]
        rest[-1] = rest[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return updated.with_changes(body=rest)

    patch.change(line, edit, what)


def _mapping_steps(patch: Patch, a: Anchors) -> list[cst.BaseStatement]:
    """Statements of main() that map the raw data or what was mapped from it."""
    derived, steps = {a.raw_datasets}, []
    for step in a.body:
        maps = [c for c in a.method_calls("map") if patch.source.inside(c, step)]
        if any(dotted(c.func.value) in derived for c in maps):
            for c in maps:
                derived.add(a.target_of(c, "mapped data"))
            steps.append(step)
    if not steps:
        raise patch.refuse(
            f"{a.raw_datasets!r} to be mapped in {a.main.name.value}()", a.method_calls("map")
        )
    between = a.body[a.body.index(steps[0]) : a.body.index(steps[-1])]
    if a.raw_datasets in {n for s in [*steps, *between] for n in a.bound(s)}:
        raise patch.refuse(f"{a.raw_datasets!r} to stay as loaded while it is mapped", steps)
    late = [n for n in a.other_bindings(a.raw_datasets, []) if patch.source.before(steps[0], n)]
    if late:
        raise patch.refuse(f"{a.raw_datasets!r} to stay the loaded data, for prediction", late)
    changed = [n for s in [*between, *steps[-1:]] for n in patch.source.below(s) if _sets(a, n)]
    if changed:
        raise patch.refuse(f"{a.raw_datasets!r} to stay as loaded while it is mapped", changed)
    return steps


def _sets(a: Anchors, node: cst.CSTNode) -> bool:
    """``raw["x"] = …``, ``del raw["x"]``, ``raw.pop("x")`` and the like?"""
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        return dotted(node.func.value) == a.raw_datasets and node.func.attr.value in CHANGES
    if isinstance(node, (cst.AssignTarget, cst.AugAssign, cst.AnnAssign)):
        return _is_part(a, node.target)
    return isinstance(node, cst.Del) and _is_part(a, node.target)


def _is_part(a: Anchors, node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Subscript) and dotted(node.value) == a.raw_datasets


def _slice(a: Anchors, seeds: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """The seeds and all earlier steps that serve them only, in source order."""
    body = a.body
    keep = {a.raw_datasets, a.tokenizer, a.model, a.config, a.trainer}
    keep |= {a.model_args, a.data_args, a.training_args}
    doomed = list(seeds)
    reads = {id(s): _read_names(a, s) for s in body}
    binds = {id(s): a.bound(s) for s in body}
    candidates = body[: body.index(seeds[-1])]
    grew = True
    while grew:
        grew = False
        for step in reversed(candidates):
            if any(step is d for d in doomed):
                continue
            bound = binds[id(step)]
            inside = set().union(*(reads[id(d)] for d in doomed))
            outside = set().union(
                *(reads[id(s)] for s in body if s is not step and not any(s is d for d in doomed))
            )
            if bound & inside and not bound & (outside | keep) and _only_binds(a, step):
                doomed.append(step)
                grew = True
    return sorted(doomed, key=body.index)


def _read_names(a: Anchors, step: cst.BaseStatement) -> set[str]:
    return {n.value for n in a.source.below(step) if isinstance(n, cst.Name) and a.is_read(n)}


def _only_binds(a: Anchors, step: cst.BaseStatement) -> bool:
    """Does running the statement do nothing but bind names (and log)?"""
    if isinstance(step, cst.FunctionDef):
        return not step.decorators
    for node in own_nodes(step):
        if isinstance(node, MORE_THAN_BINDS):
            return False
        if isinstance(node, cst.Expr) and not _is_log(node.value):
            return False
        if isinstance(node, cst.Call) and (_may_change(a, node) or _loads(a, node)):
            return False
        if isinstance(node, cst.AssignTarget) and not isinstance(
            node.target, (cst.Name, cst.Tuple)
        ):
            return False
        if isinstance(node, (cst.AugAssign, cst.AnnAssign)) and not isinstance(
            node.target, cst.Name
        ):
            return False
    return True


def _may_change(a: Anchors, call: cst.Call) -> bool:
    """Might the call change the model, the tokenizer or the data, rather than only ask them?"""
    known = {a.raw_datasets, a.tokenizer, a.model, a.config}
    if isinstance(call.func, cst.Attribute):
        node = call.func.value
        while isinstance(node, (cst.Attribute, cst.Subscript)):
            node = node.value
        if dotted(node) in known:
            return call.func.attr.value not in ASKS
        return False
    handed = any(dotted(arg.value) in known for arg in call.args)
    return handed and dotted(call.func) not in ASKS


def _loads(a: Anchors, call: cst.Call) -> bool:
    """Does the call load something that others may use?"""
    is_method = isinstance(call.func, cst.Attribute)
    return call in a.calls_to("datasets.load_dataset") or (
        is_method and call.func.attr.value in ("from_pretrained", "from_config")
    )


def _is_log(node: cst.BaseExpression) -> bool:
    if isinstance(node, (cst.SimpleString, cst.ConcatenatedString, cst.Ellipsis)):
        return True
    return isinstance(node, cst.Call) and (dotted(node.func) or "").split(".")[-1] in LOGS


def _outputs(patch: Patch, a: Anchors, seeds: list, doomed: list) -> list[str]:
    """Names the slice binds that the rest of main() reads: they must all be mapped data."""
    mapped = []
    for seed in seeds:
        if not _only_binds(a, seed):
            raise patch.refuse("statements that map the data and do nothing else", [seed])
        for c in a.method_calls("map"):
            if patch.source.inside(c, seed):
                name = a.target_of(c, "mapped data")
                if name not in mapped:
                    mapped.append(name)
    _only_from_map(patch, a, mapped, doomed)
    _silent_afterwards(patch, a, seeds[-1])
    last = patch.source
    bound = set().union(*(a.bound(d) for d in doomed))
    read = set()
    for step in a.body:
        if any(step is d for d in doomed):
            continue
        used = _read_names(a, step) & bound
        if used and last.before(step, seeds[-1]):
            raise patch.refuse(
                f"what reads {', '.join(sorted(used))} to come after the data is mapped", [step]
            )
        read |= used
    if read - set(mapped) or not read:
        raise patch.refuse(
            f"only mapped data ({', '.join(mapped)}) to be read after the mapping; "
            f"read are: {', '.join(sorted(read)) or 'none'}",
            seeds,
            "Something besides the data comes out of the statements that chunk the text",
        )
    outputs = [n for n in mapped if n in read]
    _only_encoded_splits(patch, a, outputs, doomed)
    return outputs


def _silent_afterwards(patch: Patch, a: Anchors, last: cst.BaseStatement) -> None:
    """Refuse a message once the data is mapped: it tells of the outcome, and would be lost."""
    source = patch.source
    maps = [c for c in a.method_calls("map") if source.inside(c, last)]
    said = [n for n in own_nodes(last) if isinstance(n, cst.Expr) and source.before(maps[0], n)]
    if said:
        raise patch.refuse("the statements that map the data to end with that", said)


def _only_from_map(patch: Patch, a: Anchors, mapped: list[str], doomed: list) -> None:
    """Refuse mapped data that is shuffled, filtered or so on the way: that would be lost."""
    steps = [d for d in doomed if not isinstance(d, (cst.FunctionDef, cst.ClassDef))]
    own = {id(n) for step in steps for n in own_nodes(step)}
    others = [
        n
        for name in mapped
        for n in a.bindings(name)
        if id(n) in own
        and not (
            isinstance(n, (cst.Assign, cst.AnnAssign))
            and isinstance(n.value, cst.Call)
            and n.value in a.method_calls("map")
        )
    ]
    if others:
        raise patch.refuse(
            f"the mapped data ({', '.join(mapped)}) to come from map() and from nothing else",
            others,
            "What else is done to it would be lost with the chunking",
        )


def _only_encoded_splits(patch: Patch, a: Anchors, outputs: list[str], doomed: list) -> None:
    """Refuse a later ``encoded["test"]``: no such split is encoded."""
    for read in (r for name in a.aliases(outputs) for r in a.reads(name, a.main)):
        above = patch.source.parent(read)
        if any(patch.source.inside(read, d) for d in doomed) or isinstance(above, cst.Assign):
            continue  # what it is assigned to is looked at in its turn
        split = _split(patch, read, above)
        if split not in SPLITS:
            raise patch.refuse(
                f"the mapped data to be asked for its splits {' and '.join(SPLITS)} only",
                [above],
                "Teach encode_datasets in patches/prompt_response.py to encode that split too",
            )
        if not _asked_for(patch, above, SPLITS[split]):
            raise patch.refuse(
                f"the split {split!r} of the mapped data to be used under {SPLITS[split]} only",
                [above],
                "No other split is encoded than those the run is asked to use",
            )


def _split(patch: Patch, read: cst.Name, above: cst.CSTNode) -> str | None:
    """Which split a read of the mapped data asks for: ``data["x"]`` or ``"x" in data``."""
    if isinstance(above, cst.Subscript) and above.value is read and len(above.slice) == 1:
        index = above.slice[0].slice
        is_set = isinstance(patch.source.parent(above), (cst.AssignTarget, cst.Del))
        return string(index.value) if isinstance(index, cst.Index) and not is_set else None
    if isinstance(above, cst.ComparisonTarget) and isinstance(above.operator, (cst.In, cst.NotIn)):
        return string(patch.source.parent(above).left)
    return None


def _asked_for(patch: Patch, node: cst.CSTNode, flag: str) -> bool:
    """Does the node run only where a test of the argument ``flag`` says so?"""
    tests = [n.test for n in patch.source.ancestors(node) if isinstance(n, (cst.If, cst.IfExp))]
    return any(flag in patch.source.code(test) for test in tests)


def verify(script: Script) -> None:
    call = script.one_call("encode_datasets")
    script.require(script.unconditional(call), "the data is encoded whatever the arguments", call)
    names = script.assigned(call)
    script.require(names, "the encoded data is bound to a name", call)
    for name in names:
        again = [
            b for b in script.bindings(name) if not call.lineno - 1 <= b.lineno <= call.end_lineno
        ]
        script.require(not again, f"{name} is bound once, to the encoded data", *again)
    known = sorted(script.aliases(names))
    changed = [
        n
        for n in script.main_nodes
        if (isinstance(n, ast.Attribute) and _name(n.value) in known and n.attr in CHANGES)
        or (isinstance(n, ast.Subscript) and _name(n.value) in known and not _is_read(n))
    ]
    script.require(not changed, "the encoded data stays as it is encoded", *changed)
    others = [
        n
        for n in script.main_nodes
        if isinstance(n, ast.Subscript)
        and _name(n.value) in known
        and not any(_is_split(n, known, split) for split in ("train", "validation"))
    ]
    script.require(not others, "only the splits that are encoded are asked for", *others)
    late = [n for n in script.sets(*SPLITS.values()) if n.lineno > call.lineno]
    script.require(not late, "which splits are needed is settled before they are encoded", *late)
    maps = [c for c in script.calls("map", script.main) if isinstance(c.func, ast.Attribute)]
    script.require(not maps, "nothing else maps the data", *maps)
    left = [
        n
        for n in script.all
        if (isinstance(n, ast.Attribute) and n.attr == "block_size")
        or (isinstance(n, ast.Name) and n.id == "block_size")
    ]
    script.require(not left, "nothing reads block_size any more", *left)
    groups = script.groups()
    promise = "the raw data is encoded with the series' encode_pair"
    script.given(
        call,
        promise,
        script.loaded_data(),
        "encode_pair",
        script.loaded("AutoTokenizer"),
        set(script.assigned(script.one_call("add_lora"))),
        groups["data"],
        groups["training"],
    )
    trainer = script.keywords(script.one_call("AdapterTrainer"))
    for part, split in (("train_dataset", "train"), ("eval_dataset", "validation")):
        value = trainer.get(part)
        script.require(value is not None, f"the Trainer gets a {part}")
        chosen = {_name(n) for n in ast.walk(value)} - {""}
        taken = [n for n in sorted(chosen) if _is_split_throughout(script, n, names, split, part)]
        direct = [n for n in ast.walk(value) if _is_split(n, names, split)]
        script.require(
            direct or taken, f"the Trainer's {part} is a split of the encoded data", value
        )


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _is_read(node: ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Load)


def _is_split(node: ast.AST, names: list[str], split: str) -> bool:
    """``encoded["train"]``?"""
    return (
        isinstance(node, ast.Subscript)
        and _name(node.value) in names
        and isinstance(node.slice, ast.Constant)
        and node.slice.value == split
    )


def _is_split_throughout(
    script: Script, name: str, names: list[str], split: str, part: str
) -> bool:
    """Is ``name`` bound to the split, and every time to it, to what was made of it, or to None?"""
    values = [
        n.value
        for n in script.main_nodes
        if isinstance(n, (ast.Assign, ast.AnnAssign, ast.NamedExpr))
        and n.value is not None
        and name in {_name(t) for t in getattr(n, "targets", None) or [n.target]}
    ]
    found = [any(_is_split(n, names, split) for n in ast.walk(v)) for v in values]
    if not any(found):
        return False
    for value, is_split in zip(values, found, strict=True):
        none = isinstance(value, ast.Constant) and value.value is None
        own = name in {_name(n) for n in ast.walk(value)}
        promise = f"the Trainer's {part} is the split {split!r} of the encoded data"
        script.require(is_split or own or none, promise, value)
    return True

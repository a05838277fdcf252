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

from .anchors import Anchors, dotted, own_nodes
from .patch import Patch
from .script import Script
from .syntax import statements

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
        f"{a.raw_datasets}, encode_pair, {a.tokenizer}, {a.data_args}, {a.training_args})"
    )
    if len(call) > 115:
        call = call.replace("encode_datasets(", "encode_datasets(\n    ").removesuffix(")") + "\n)"
    patch.replace(seeds[-1], statements(call, blank_line=True)[0], "mapping becomes pair encoding")
    size = a.field(a.data_class, "block_size")
    if size is None:
        raise patch.refuse("found no field 'block_size' among the data arguments", [a.data_class])
    patch.remove(patch.source.parent(size), "the argument block_size, which measured the chunks")


def _mapping_steps(patch: Patch, a: Anchors) -> list[cst.BaseStatement]:
    """Statements of main() that map the raw data or what was mapped from it."""
    derived, steps = {a.raw_datasets}, []
    for step in a.body:
        maps = [c for c in a.method_calls("map") if patch.source.inside(c, step)]
        if any(dotted(c.func.value) in derived for c in maps):
            for c in maps:
                derived.add(a.target_of(c, "mapped data"))
            steps.append(step)
    if a.raw_datasets in {n for s in steps for n in a.bound(s)}:
        raise patch.refuse(f"mapped data bound to another name than {a.raw_datasets!r}", steps)
    return steps


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
        if isinstance(node, (cst.Return, cst.Del, cst.Global, cst.Nonlocal, cst.Await, cst.Yield)):
            return False
        if isinstance(node, cst.Expr) and not _is_log(node.value):
            return False
        if isinstance(node, cst.AssignTarget) and not isinstance(
            node.target, (cst.Name, cst.Tuple)
        ):
            return False
        if isinstance(node, cst.AugAssign) and not isinstance(node.target, cst.Name):
            return False
    return True


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
    return [n for n in mapped if n in read]


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
    maps = [c for c in script.calls("map", script.main) if isinstance(c.func, ast.Attribute)]
    script.require(not maps, "nothing else maps the data", *maps)
    left = [
        n
        for n in script.all
        if (isinstance(n, ast.Attribute) and n.attr == "block_size")
        or (isinstance(n, ast.Name) and n.id == "block_size")
    ]
    script.require(not left, "nothing reads block_size any more", *left)
    trainer = script.keywords(script.one_call("AdapterTrainer"))
    for part in ("train_dataset", "eval_dataset"):
        value = trainer.get(part)
        script.require(value is not None, f"the Trainer gets a {part}")
        chosen = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
        sources = [
            n
            for n in script.main_nodes
            if isinstance(n, ast.Subscript)
            and isinstance(n.value, ast.Name)
            and n.value.id in names
            and any(
                isinstance(s, ast.Assign) and s.value is n and s.targets[0].id in chosen
                for s in script.main_nodes
                if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)
            )
        ]
        script.require(sources, f"the Trainer's {part} is a split of the encoded data", value)

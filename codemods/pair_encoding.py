"""Prompt/response encoding takes the place of tokenising and chunking running text.

    tokenized_datasets = raw_datasets.map(tokenize_function, …)      (and all that only
    block_size = …                                                    they need)
    lm_datasets = tokenized_datasets.map(group_texts, …)
        →  tokenized_datasets = lm_datasets = encode_datasets(raw_datasets, encode_pair, …)

What goes is what maps the data and what served only that. ``block_size`` goes with the chunks it
measured. The names that are read afterwards stay bound, and hold any split that is asked for, so
that upstream's choice of splits, sample limits and streaming need no edit.
"""

from __future__ import annotations

import ast
import re

from .engine.dead_code import ASKS, DeadCode, only_binds, only_tells
from .engine.flow import is_bound
from .engine.nodes import binds, dotted, method_root, position
from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script

CHANGES = ("pop", "popitem", "update", "setdefault", "clear")
# Packages that tokenising and chunking need, and methods that do more to a text.
TOKENISING = ("transformers", "datasets", "torch", "numpy", "itertools", "functools", "logging")
TOKENISING += ("collections", "copy", "math", "time", "tqdm", "typing")
PROCESSING = ("replace", "strip", "lstrip", "rstrip", "lower", "upper", "title", "split", "sub")
# The data arguments that encode_datasets reads, and the options of map() that they say.
HOW = ("preprocessing_num_workers", "overwrite_cache")
OPTIONS = ("num_proc", "load_from_cache_file")
GIVEN = ("data", "tokenizer", "data_args", "training_args")
PARTS = {"train_dataset": "train", "eval_dataset": "validation"}


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.main)
    steps = _mapping_steps(patch)
    mapped = _mapped(patch)
    dead = DeadCode(script, steps, stays=mapped)
    _only_mapped(patch, mapped, dead)
    outputs = _outputs(patch, steps, mapped, dead)
    scope = script.scope(steps[0])
    data, *others = (script.name(role, scope) for role in GIVEN)
    call = f"{' = '.join(outputs)} = encode_datasets({data}, encode_pair, {', '.join(others)})"
    if len(call) > 115:
        call = call.replace("encode_datasets(", "encode_datasets(\n    ").removesuffix(")") + "\n)"
    _data_stays(patch, data, steps)
    _only_tokenises(patch, dead)
    _asks_no_model_argument(patch, dead)
    for step in dead.statements:
        if step is steps[0]:
            patch.replace_step(step, call, "mapping becomes pair encoding")
        else:
            patch.remove(
                step, f"text chunking: {', '.join(sorted(dead.bound(step))) or 'a message'}"
            )
    _drop_arguments(patch, dead)


def _mapping_steps(patch: Patch) -> list[ast.stmt]:
    """The statements that map the data, each with what is around it and does nothing else."""
    script, steps = patch.script, []
    if not script.data_maps:
        raise patch.refuse("the loaded data to be mapped", script.method_calls("map"))
    if len({id(script.scope(c)) for c in script.data_maps}) > 1:
        raise patch.refuse("the data to be mapped in one function", script.data_maps)
    for call in script.data_maps:
        script.not_nested(call)
        above = [n for n in script.around(call) if isinstance(n, ast.stmt)][:-1]
        plain = [n for n in above if only_binds(script, n)]
        if not plain:
            raise patch.refuse("statements that map the data and do nothing else", above[:1])
        if plain[-1] not in steps:
            steps.append(plain[-1])
    return steps


def _mapped(patch: Patch) -> list[str]:
    """Names of the mapped data."""
    made = [patch.script.statement(c) for c in patch.script.data_maps]
    return list(dict.fromkeys(n for s in made for n in binds(s)))


def _only_mapped(patch: Patch, mapped: list[str], dead: DeadCode) -> None:
    """Refuse what else is done to the mapped data where it is made: it would be lost."""
    script = patch.script
    made = [script.statement(c) for c in script.data_maps]
    inside = [n for s in dead.statements if script.scope(s) for n in script.own(s)]
    others = [n for n in inside if set(binds(n)) & set(mapped)]
    others = [n for n in others if n not in made or not _only_maps(n)]
    others += [
        script.statement(n) for n in inside if isinstance(n, ast.Call) and _does_more(n, mapped)
    ]
    others = sorted(dict.fromkeys(others), key=position)
    if others:
        raise patch.refuse(
            f"the mapped data ({', '.join(mapped)}) to come from map() and from nothing else",
            others,
            "What else is done to it would be lost with the chunking",
        )


def _only_maps(step: ast.stmt) -> bool:
    value = getattr(step, "value", None)
    return isinstance(value, ast.Call) and isinstance(method_root(value, "map"), ast.Name)


def _does_more(call: ast.Call, mapped: list[str]) -> bool:
    """``tokens.filter(…)``, ``tokens.shuffle(…)`` and the like?"""
    return dotted(method_root(call)) in mapped and call.func.attr not in ASKS


def _outputs(patch: Patch, steps: list, mapped: list[str], dead: DeadCode) -> list[str]:
    """Names that go and are read by what stays: they must all be mapped data."""
    script = patch.script
    scope = script.scope(steps[0])
    bound = {n for s in dead.statements if script.scope(s) is scope for n in dead.bound(s)}
    reads = [
        r
        for name in sorted(bound)
        for r in script.reads.get(name, ())
        if script.scope(r) is scope and not script.inside(r, *dead.gone)
    ]
    others = [r for r in reads if r.id not in mapped]
    if others or not reads:
        raise patch.refuse(
            f"only mapped data ({', '.join(mapped)}) to be read after the mapping",
            [script.statement(r) for r in others] or steps,
            "Something besides the data comes out of the statements that chunk the text",
        )
    return [n for n in mapped if n in {r.id for r in reads}]


def _data_stays(patch: Patch, data: str, steps: list[ast.stmt]) -> None:
    """Refuse data that is changed once it is mapped: prediction reads it again."""
    script = patch.script
    changed = [
        n
        for n in script.own(*script.scope(steps[0]).body)
        if n in script.bindings(data, script.scope(steps[0])) or _changes(n, data)
    ]
    late = [n for n in changed if script.statement(n).lineno >= steps[0].lineno]
    if late:
        raise patch.refuse(f"{data!r} to stay as loaded once it is mapped", late)


def _changes(node: ast.AST, data: str) -> bool:
    """``data["x"] = …``, ``del data["x"]``, ``data.pop("x")`` and the like?"""
    if isinstance(node, ast.Subscript):
        return dotted(node.value) == data and not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Attribute) and dotted(node.value) == data and node.attr in CHANGES


def _only_tokenises(patch: Patch, dead: DeadCode) -> None:
    """Refuse texts that are processed besides being tokenised and cut: that would be lost."""
    script = patch.script
    calls = [c for c in script.calls if script.inside(c, *dead.statements)]
    others = [c for c in calls if _processes(script, c, dead)]
    if others:
        hint = "Do that to the data before, or drop it: encode_pair takes texts as they are"
        raise patch.refuse("texts to be tokenised as they are", others, hint)


def _asks_no_model_argument(patch: Patch, dead: DeadCode) -> None:
    """Refuse an argument of the model that nothing but what goes reads: it would do nothing."""
    script = patch.script
    asked = (n for n in script.nodes if isinstance(n, ast.Attribute))
    reads = [n for n in asked if script.names.is_a("model_args", n.value)]
    left = {n.attr for n in reads if not script.inside(n, *dead.gone)}
    lost = [n for n in reads if n.attr not in left]
    if lost:
        raise patch.refuse("model arguments to be read elsewhere than where texts are cut", lost)


def _processes(script: Script, call: ast.Call, dead: DeadCode) -> bool:
    """Is it a method that changes texts, or somebody else's or upstream's own function?"""
    name = script.called(call)
    if name in script.functions:
        return not script.inside(script.functions[name], *dead.statements)
    foreign = script.qualified(call.func).partition(".")[0] not in ("", *TOKENISING)
    return foreign or getattr(call.func, "attr", "") in PROCESSING


def _drop_arguments(patch: Patch, dead: DeadCode) -> None:
    """The data arguments that nothing but the chunking and its messages reads: block_size."""
    script = patch.script
    ours = {*HOW, *re.findall(r"data_args\.(\w+)", "".join(p.code for p in patch.payload))}
    options = [k for c in script.data_maps for k in c.keywords if k.arg in OPTIONS]
    fields = [n for n in script.data_class.body if isinstance(n, ast.AnnAssign)]
    for field in fields:
        name = dotted(field.target)
        reads = [n for n in script.nodes if isinstance(n, ast.Attribute) and n.attr == name]
        left = [n for n in reads if not script.inside(n, *dead.gone)]
        tells = [script.statement(n) for n in left if only_tells(script.statement(n))]
        if len(left) < len(reads) and len(tells) == len(left) and name not in ours:
            if how := [n for n in reads if script.inside(n, *options)]:
                looked_for = f"how data is mapped to be said by {' and '.join(HOW)} alone"
                raise patch.refuse(looked_for, how, "What upstream calls it now would be ignored")
            for step in dict.fromkeys(tells):
                patch.remove(step, f"text chunking: a message about {name}")
            patch.remove(field, f"the argument {name}, which measured the chunks")


def verify(script: Script) -> None:
    call = one_call(script, "encode_datasets")
    promise = "the raw data is encoded with the series' encode_pair"
    takes(script, call, promise, "data", "encode_pair", *GIVEN[1:])
    names, scope = binds(script.statement(call)), script.scope(call)
    script.require(names, "the encoded data is bound to a name", call)
    for name in names:
        again = [b for b in script.bindings(name, scope) if script.statement(call) is not b]
        script.require(not again, f"{name} is bound once, to the encoded data", *again)
        reads = [r for r in script.reads.get(name, ()) if script.scope(r) is scope]
        unbound = [r for r in reads if not is_bound(script, name, r)]
        script.require(not unbound, "the data is encoded wherever it is used", *unbound)
    added = script.method_calls("add_special_tokens", "add_tokens")
    known = script.names.all("tokenizer", scope)
    late = [c for c in added if script.scope(c) is scope and c.lineno > call.lineno]
    late = [c for c in late if dotted(c.func.value) in known]
    script.require(not late, "the tokenizer is complete when the data is encoded", *late)
    maps = [c for c in script.data_maps if isinstance(c.func.value, ast.Name)]
    script.require(not maps, "nothing else maps the data", *maps)
    for part, split in PARTS.items():
        values = [value for _, value in script.keyword(script.trainer_call, part)]
        script.require(values, f"the Trainer gets a {part}")
        of = [s for value in values for s in _splits(script, value)]
        raw = [s for s in of if dotted(s.value) in script.names.all("data", script.scope(s))]
        script.require(not raw, f"the Trainer's {part} is encoded", *raw)
        kinds = {s.slice.value for s in of} & {*PARTS.values()}
        script.require(
            kinds <= {split} or split in kinds, f"the Trainer's {part} is the split {split!r}", *of
        )


def _splits(script: Script, value: ast.expr) -> list[ast.Subscript]:
    """Every ``data["split"]`` that a value comes of, directly or by the names in it."""
    names = [n for n in ast.walk(value) if isinstance(n, ast.Name)]
    made = [b for n in names for b in script.bindings(n.id, script.scope(value))]
    parts = [n for v in (value, *made) for n in ast.walk(v) if isinstance(n, ast.Subscript)]
    return [p for p in parts if isinstance(p.slice, ast.Constant)]

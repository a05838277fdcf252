"""Renaming, second names, and assignments in another form."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code, dotted, reads
from tests.fuzz.mutations.common import fresh, mutation, pick


@mutation(True)
def rename_local(code: Code, random: Random) -> str | None:
    if not code.main:
        return None
    names = {
        n.id
        for n in ast.walk(code.main)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    names |= {
        n.name for n in ast.walk(code.main) if isinstance(n, ast.FunctionDef) and n is not code.main
    }
    known = [
        n
        for n in (
            "model",
            "tokenizer",
            "config",
            "trainer",
            "raw_datasets",
            "lm_datasets",
            "data_args",
            "tokenized_datasets",
            "model_args",
            "training_args",
            "train_dataset",
            "eval_dataset",
            "metric",
            "block_size",
            "checkpoint",
        )
        if n in names
    ]
    old = pick(random, sorted(names) + known * 2)
    return code.edit(*code.renamed(old, fresh(code, random), code.main)) if old else None


@mutation(True)
def rename_module_level(code: Code, random: Random) -> str | None:
    names = [n.name for n in code.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    old = pick(random, names)
    if not old:
        return None
    return code.edit(*code.renamed(old, fresh(code, random, "Arguments", "run", "step"), code.tree))


@mutation(True)
def alias_then_use(code: Code, random: Random) -> str | None:
    """``x = f()`` → ``y = f()``, ``x = y``."""
    s = pick(random, code.assigns)
    if s is None:
        return None
    name = fresh(code, random)
    return code.edit(code.instead(s, f"{name} = {code.code(s.value)}\n{s.targets[0].id} = {name}"))


@mutation(True)
def walrus(code: Code, random: Random) -> str | None:
    s = pick(random, code.assigns)
    return code.edit(code.replace(s, f"({s.targets[0].id} := {code.code(s.value)})")) if s else None


@mutation(True)
def tuple_assignment(code: Code, random: Random) -> str | None:
    pairs = [
        (a, b)
        for block in code.blocks
        for a, b in zip(block, block[1:], strict=False)
        if a in code.assigns and b in code.assigns and a.targets[0].id not in reads(b)
    ]
    if not (pair := pick(random, pairs)):
        return None
    a, b = pair
    new = f"{a.targets[0].id}, {b.targets[0].id} = {code.code(a.value)}, {code.code(b.value)}"
    return code.edit((code.span(a)[0], code.span(b)[1], new))


@mutation(True)
def callee_alias(code: Code, random: Random) -> str | None:
    """``x = A.load(…)`` → ``load = A.load``, ``x = load(…)``."""
    found = [s for s in code.assigns if isinstance(s.value, ast.Call) and dotted(s.value.func)]
    s = pick(random, found)
    if s is None:
        return None
    func, name = s.value.func, fresh(code, random, "load", "make")
    if isinstance(func, ast.Attribute) and random.random() < 0.5:
        func = func.value
    return code.edit(code.before(s, f"{name} = {code.code(func)}"), code.replace(func, name))


@mutation(True)
def later_reads_alias(code: Code, random: Random) -> str | None:
    """``x = …`` in main()'s own block, and everything after it reads a second name for it."""
    if not code.main:
        return None
    s = pick(random, [s for s in code.main.body if s in code.assigns])
    if s is None:
        return None
    old, name = s.targets[0].id, fresh(code, random)
    later = [t for t in code.main.body if t.lineno > s.lineno]
    if any(
        isinstance(n, ast.Name) and n.id == old and isinstance(n.ctx, ast.Store)
        for t in later
        for n in ast.walk(t)
    ):
        return None
    edits = [e for t in later for e in code.renamed(old, name, t)]
    return code.edit(code.after(s, f"{name} = {old}"), *edits) if edits else None

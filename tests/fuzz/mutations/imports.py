"""The same names imported in another way."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code, Edit, reads
from tests.fuzz.mutations.common import fresh, mutation, pick

IMPORTANT = (
    "AutoConfig",
    "AutoTokenizer",
    "AutoModelForCausalLM",
    "HfArgumentParser",
    "Trainer",
    "load_dataset",
    "TrainingArguments",
    "default_data_collator",
    "field",
    "dataclass",
    "CaptureLogger",
    "set_seed",
)


def _from_imports(code: Code) -> list[tuple[ast.ImportFrom, ast.alias]]:
    return [
        (n, a)
        for n in code.tree.body
        if isinstance(n, ast.ImportFrom)
        for a in n.names
        if not a.asname and a.name in IMPORTANT
    ]


def _rewritten(code: Code, node: ast.ImportFrom, alias: ast.alias, instead: str) -> Edit:
    rest = [a.name + (f" as {a.asname}" if a.asname else "") for a in node.names if a is not alias]
    kept = f"from {node.module} import {', '.join(rest)}\n" if rest else ""
    return code.replace(node, kept + instead)


@mutation(True)
def import_as(code: Code, random: Random) -> str | None:
    if (one := pick(random, _from_imports(code))) is None:
        return None
    node, alias = one
    new = fresh(code, random, f"HF{alias.name}", f"_{alias.name}")
    edits = [e for n in code.tree.body if n is not node for e in code.renamed(alias.name, new, n)]
    return code.edit(
        _rewritten(code, node, alias, f"from {node.module} import {alias.name} as {new}"), *edits
    )


@mutation(True)
def import_module(code: Code, random: Random) -> str | None:
    """``from m import x`` → ``import m`` (or ``import m as n``), ``m.x``."""
    if (one := pick(random, _from_imports(code))) is None:
        return None
    node, alias = one
    short = fresh(code, random, "tr", "hf", "dl") if random.random() < 0.4 else ""
    line = f"import {node.module} as {short}" if short else f"import {node.module}"
    edits = [
        e
        for n in code.tree.body
        if n is not node
        for e in code.renamed(alias.name, f"{short or node.module}.{alias.name}", n)
    ]
    if any(
        isinstance(n, ast.Name) and n.id == node.module and isinstance(n.ctx, ast.Store)
        for n in ast.walk(code.tree)
    ):
        return None
    return code.edit(_rewritten(code, node, alias, line), *edits)


@mutation(True)
def import_submodule(code: Code, random: Random) -> str | None:
    found = [(n, a) for n, a in _from_imports(code) if n.module == "datasets"]
    if (one := pick(random, found)) is None:
        return None
    return code.edit(_rewritten(code, *one, f"from datasets.load import {one[1].name}"))


@mutation(True)
def import_in_main(code: Code, random: Random) -> str | None:
    found = [
        (n, a)
        for n, a in _from_imports(code)
        if code.main and not any(a.name in reads(s) for s in code.tree.body if s is not code.main)
    ]
    if (one := pick(random, found)) is None:
        return None
    node, alias = one
    rest = [a.name for a in node.names if a is not alias]
    kept = f"from {node.module} import {', '.join(rest)}" if rest else "pass"
    return code.edit(
        code.replace(node, kept),
        code.before(code.main.body[0], f"from {node.module} import {alias.name}"),
    )


@mutation(True)
def import_in_try(code: Code, random: Random) -> str | None:
    found = [
        n
        for n in code.tree.body
        if isinstance(n, (ast.ImportFrom, ast.Import))
        and code.main
        and n.lineno < code.main.lineno
        and "__future__" not in code.code(n)
    ]
    if (n := pick(random, found)) is None:
        return None
    body = "    " + code.code(n).replace("\n", "\n    ")
    return code.edit(
        code.replace(
            n, f"try:\n{body}\nexcept ImportError as error:\n    raise SystemExit(1) from error"
        )
    )

"""Questions about single nodes of Python's syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterable

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None
SCOPES = (*DEFINITIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def walk(node: ast.AST) -> list[ast.AST]:
    """As ``ast.walk``, in half the time: whole scripts are walked here, again and again."""
    found = [node]
    for n in found:
        for value in n.__dict__.values():
            if isinstance(value, list):
                found += [v for v in value if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def dotted(node: ast.AST | None) -> str:
    """``a.b.c`` of names and attributes; of ``f().c`` at least ``.c``; '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def position(node: ast.AST) -> tuple[int, int, int, int]:
    """Sorts nodes as they are read, what is around others first."""
    return node.lineno, node.col_offset, -node.end_lineno, -node.end_col_offset


def string(node: ast.AST | None) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else None


def targets(node: ast.AST) -> list[ast.expr]:
    """The target expressions that a node binds by itself, not by what stands inside it."""
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.withitem):
        return [node.optional_vars] if node.optional_vars else []
    found = getattr(node, "target", None)
    return [found] if isinstance(found, ast.expr) else []


def names_in(target: ast.AST) -> list[str]:
    """The names that a target binds, in a tuple or not."""
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Starred):
        return names_in(target.value)
    elements = target.elts if isinstance(target, (ast.Tuple, ast.List)) else ()
    return [name for element in elements for name in names_in(element)]


def binds(node: ast.AST) -> list[str]:
    """The names that a node binds by itself."""
    if isinstance(node, DEFINITIONS):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [a.asname or a.name.partition(".")[0] for a in node.names]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    return [name for target in targets(node) for name in names_in(target)]


def method_root(node: ast.expr, *methods: str) -> ast.expr:
    """``data`` of ``data.map(…).filter(…)``, whose methods are any or just these."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if methods and node.func.attr not in methods:
            break
        node = node.func.value
    return node


def whole_name(name: str) -> str:
    """The full name of an imported thing; which module of transformers it is in is no matter."""
    first, *parts = name.split(".")
    known = [i for i, part in enumerate(parts) if part[:1].isupper()]
    if first == "transformers" and known:
        return ".".join([first, *parts[known[0] :]])
    return f"datasets.{parts[-1]}" if first == "datasets" and parts else name


def imported(nodes: Iterable[ast.AST]) -> dict[str, str]:
    out: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for a in node.names:
                first = a.name.partition(".")[0]
                out[a.asname or first] = a.name if a.asname else first
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            out.update({a.asname or a.name: whole_name(module + a.name) for a in node.names})
    return out


def blocks(step: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks of a statement that run where it stands, not those of a definition."""
    if isinstance(step, DEFINITIONS):
        return []
    found = [getattr(step, part, None) or [] for part in ("body", "orelse", "finalbody")]
    return [*found, *(h.body for h in getattr(step, "handlers", ()))]

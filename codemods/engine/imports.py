"""Imports follow the edits: what nobody uses any more goes, what the payload needs comes."""

from __future__ import annotations

import libcst as cst

from .concrete import children
from .nodes import whole_name
from .payload import Payload
from .refusal import Refusal
from .script import Script


def _local(alias: cst.ImportAlias) -> str:
    if alias.asname:
        return alias.asname.name.value
    name = alias.name
    while isinstance(name, cst.Attribute):
        name = name.value
    return name.value


def _body_names(module: cst.Module) -> set[str]:
    out: set[str] = set()
    stack: list[cst.CSTNode] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, cst.Name):
            out.add(node.value)
        elif isinstance(node, cst.Attribute):
            stack.append(node.value)
            continue
        if not isinstance(node, (cst.Import, cst.ImportFrom)):
            stack.extend(children(node))
    return out


def _without(line: cst.SimpleStatementLine, gone: set[str]) -> cst.SimpleStatementLine | None:
    small = []
    for node in line.body:
        if isinstance(node, (cst.Import, cst.ImportFrom)) and not isinstance(
            node.names, cst.ImportStar
        ):
            keep = [a for a in node.names if _local(a) not in gone]
            if len(keep) < len(node.names):
                if not keep:
                    continue
                keep[-1] = keep[-1].with_changes(comma=node.names[-1].comma)
                node = node.with_changes(names=keep)
        small.append(node)
    return line.with_changes(body=small) if small else None


def drop_unused(
    module: cst.Module, before: cst.Module, payload: list[Payload]
) -> tuple[cst.Module, list[str]]:
    """Drop the top-level imports that upstream used and the edited script doesn't."""
    mine = set().union(*(p.used for p in payload)) if payload else set()
    gone = _body_names(before) - _body_names(module) - mine
    dropped, body, pending = [], [], []
    for statement in module.body:
        if isinstance(statement, cst.SimpleStatementLine):
            imported = {
                _local(a)
                for n in statement.body
                if isinstance(n, (cst.Import, cst.ImportFrom))
                and not isinstance(n.names, cst.ImportStar)
                for a in n.names
            }
            if imported & gone:
                dropped += sorted(imported & gone)
                slimmer = _without(statement, gone)
                if slimmer is None:
                    pending += statement.leading_lines
                    continue
                statement = slimmer
        if pending:
            statement = statement.with_changes(leading_lines=[*pending, *statement.leading_lines])
            pending = []
        body.append(statement)
    return module.with_changes(body=body), dropped


Imports = dict[str, tuple[str, str | None]]  # local name → (module, name in it)


def needed(wanted: list[Imports], script: Script, dropped: list[str]) -> str:
    """The imports that are wanted and that upstream's script hasn't got, as text."""
    plain, froms = set(), {}
    known: Imports = {}
    for local, (module, name) in (pair for imports in wanted for pair in imports.items()):
        if known.setdefault(local, (module, name)) != (module, name):
            raise Refusal(f"payload modules agree on what {local!r} is")
        have = script.module_imports.get(local) if local not in dropped else None
        if have is not None:
            whole = local if local == module.partition(".")[0] else module
            full = whole_name(f"{module}.{name}") if name else whole
            if have != full:
                raise Refusal(
                    f"the payload's import of {local!r} ({full}) clashes with upstream's ({have})"
                )
        elif name is None:
            top = module.split(".")[0]
            plain.add(f"import {module}" + (f" as {local}" if local != top else ""))
        else:
            froms.setdefault(module, set()).add(name + (f" as {local}" if local != name else ""))
    lines = sorted(plain)
    lines += [f"from {m} import {', '.join(sorted(n))}" for m, n in sorted(froms.items())]
    return "\n".join(lines)

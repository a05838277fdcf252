"""Is the payload in a generated script, whole and unchanged, and its names what they say?"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.follow.behaviour.script import Script

PATCHES = Path(__file__).resolve().parents[2] / "patches"


@dataclass(frozen=True)
class Grafts:
    pieces: tuple[tuple[str, str], ...]  # name, text of the whole definition
    imports: tuple[tuple[str, str, str | None], ...]  # local name, module, name in it


@functools.cache
def table() -> dict:
    return tomllib.loads((PATCHES / "series.toml").read_text(encoding="utf-8"))


def patches(series: str) -> list[dict]:
    layers = table()["series"][series]["layers"]
    return [p for p in table()["patch"] if p["layer"] in layers]


@functools.cache
def grafts(series: str) -> Grafts:
    """What stands at module level in the files of patches/ that the series grafts."""
    files = {f"{p['layer']}/{m}.py" for p in patches(series) for m in p.get("payload", ())}
    pieces, imports = [], []
    for file in [PATCHES / name for name in sorted(files)]:
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                imports += [_import(a) for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                beside = (file.parent, PATCHES / "common")
                if not any((f / f"{node.module}.py").exists() for f in beside):  # grafted as well
                    imports += [(a.asname or a.name, node.module or "", a.name) for a in node.names]
            elif (name := _defines(node)) not in (None, "logger"):
                pieces.append((name, _text(text, node)))
    names = set(re.findall(r"\w+", " ".join(text for _, text in pieces)))
    used = dict.fromkeys(i for i in imports if i[0] in names)
    return Grafts(tuple(pieces), tuple(used))


def _import(alias: ast.alias) -> tuple[str, str, None]:
    top = alias.name.partition(".")[0]
    return alias.asname or top, alias.name if alias.asname else top, None


def _defines(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else None


def _text(text: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    return "".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno])


def _bound_at_top(tree: ast.Module) -> list[str]:
    out: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            out.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            out += [a.asname or a.name.partition(".")[0] for a in node.names]
        else:
            names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
            out += [n.id for n in names if not isinstance(n.ctx, ast.Load)]
    return out


def payload_reasons(text: str, script: Script, series: str) -> Iterator[str]:
    text = text.replace("\r\n", "\n")
    bound, label = _bound_at_top(script.tree), script.rec.label
    for name, piece in grafts(series).pieces:
        if text.count(piece) != 1:
            yield f"payload: the text of {name} is not there once, unchanged"
        elif bound.count(name) != 1:
            yield f"payload: {name} is bound {bound.count(name)} times"
    for local, module, name in grafts(series).imports:
        wanted = script.world.importer(module, None, None, (name,) if name else (module,), 0)
        wanted = getattr(wanted, name) if name else wanted
        if local not in script.names or label(script.names[local]) != label(wanted):
            yield f"payload: {local} is not what the payload imports by that name"
    if label(script.names.get("logger")) != "logger":
        yield "payload: no logger"

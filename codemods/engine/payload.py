"""Read the payload modules of ``patches/`` as text to graft."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path

from .nodes import walk

PATCHES = Path(__file__).resolve().parents[2] / "patches"
COMMON = "common"  # the layer of every series


@dataclass(frozen=True)
class Payload:
    """One payload module.

    ``code`` is its text after the imports, unchanged but for the ``logger`` line, which upstream's
    script has too. ``imports`` maps each imported local name to (module, name or None); what is
    imported from a module of the same folder, or of the folder that every series has, is not
    among them, since that is grafted as well.
    """

    module: str
    file: str  # below patches/
    digest: str  # the first 12 digits of the file's SHA-256
    code: str
    imports: dict[str, tuple[str, str | None]]
    names: frozenset[str]  # bound at module level
    used: frozenset[str]  # every name that is read

    def methods(self, cls: str) -> set[str]:
        for node in ast.parse(self.code).body:
            if isinstance(node, ast.ClassDef) and node.name == cls:
                return {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        return set()


def _is_logger(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "logger"


def path(module: str, layer: str, patches: Path = PATCHES) -> Path:
    return patches / layer / f"{module}.py"


def read(module: str, layer: str, patches: Path = PATCHES) -> Payload:
    """The payload module of a layer. OSError if there is none, SyntaxError if it isn't Python."""
    file = path(module, layer, patches)
    raw = file.read_bytes()
    text = raw.decode("utf-8")
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    imports: dict[str, tuple[str, str | None]] = {}
    cut = 0
    for node in tree.body:
        if isinstance(node, ast.Import):
            for a in node.names:
                imports[a.asname or a.name.split(".")[0]] = (a.name, None)
        elif isinstance(node, ast.ImportFrom):
            grafted = any(path(node.module, f, patches).is_file() for f in (layer, COMMON))
            for a in [] if grafted else node.names:
                imports[a.asname or a.name] = (node.module, a.name)
        elif not (isinstance(node, ast.Expr) and node is tree.body[0]) and not _is_logger(node):
            break
        cut = node.end_lineno
    code = "".join(lines[cut:]).strip("\n") + "\n"
    names = {
        n
        for node in tree.body[1:]
        if not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_logger(node)
        for n in _bound(node)
    }
    rest = [n for node in tree.body if not _is_logger(node) for n in walk(node)]
    used = {n.id for n in rest if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    imports = {local: what for local, what in imports.items() if local in used}
    return Payload(
        module,
        file.relative_to(patches).as_posix(),
        hashlib.sha256(raw).hexdigest()[:12],
        code,
        imports,
        frozenset(names),
        frozenset(used),
    )


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []

"""Upstream's text in, the finished and verified script out."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from types import ModuleType

import libcst as cst

from codemods.engine import bounds, imports
from codemods.engine.edits import Edits
from codemods.engine.nodes import binds
from codemods.engine.patch import Patch
from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from codemods.engine.syntax import statements
from tools.regenerate import verify
from tools.regenerate.series import Series
from tools.upstream.fetch import Upstream

MARK = "# >>> patch: {} (generated, do not edit)"
END = "# <<< patch: {}"


@dataclass(frozen=True)
class Result:
    upstream: Upstream
    series: Series
    text: str
    patches: tuple[Patch, ...]
    dropped_imports: tuple[str, ...]
    added_imports: str
    arguments_added: tuple[str, ...]
    arguments_removed: tuple[str, ...]
    lines_changed: int  # upstream lines changed in place by a patch


def transform(upstream: Upstream, series: Series) -> Result:
    """Apply and verify the series. Raises Refusal, naming the patch, when it cannot."""
    if MARK.split("{")[0] in upstream.text:
        raise Refusal("this script was made by these patches already", hint="Give upstream's own")
    bounds.of_text(upstream.text)
    try:
        return _transform(upstream, series)
    except RecursionError:  # in what only one of the parsers nests: "a" "b" "c" …
        raise bounds.too_deep() from None


def _transform(upstream: Upstream, series: Series) -> Result:
    script = Script(upstream.text)
    edits = Edits(script)
    patches = _apply(series, edits)
    payload = [p for e in series.entries for p in e.payload]
    _no_clash(script, payload)
    blocks = _place_blocks(edits, patches)
    before = edits.concrete.module
    module, dropped = imports.drop_unused(edits.rebuild(), before, payload)
    wanted = [*(p.imports for p in payload), *(p.imports for p in patches)]
    logs = "logger" not in _defined(script) and any("logger" in p.used for p in payload)
    added = imports.needed(
        [*wanted, {"logging": ("logging", None)}] if logs else wanted, script, dropped
    )
    if logs:
        added += "\n\nlogger = logging.getLogger(__name__)"
    module = _place_imports(module)
    text = _fill(module.code, {"__patch_imports__": added, **blocks}, before.default_newline)
    text = _header(text, upstream, series, before.default_newline)
    new, old = verify.check(script, text, series)
    mark = upstream.text[: len(upstream.text) - len(script.text)]  # of its encoding, if it has one
    return Result(
        upstream,
        series,
        mark + text,
        tuple(patches),
        tuple(dropped),
        added,
        tuple(n for n in new if n not in old),
        tuple(n for n in old if n not in new),
        _in_place(patches),
    )


def _apply(series: Series, edits: Edits) -> list[Patch]:
    """Let every patch place its edits; where some can't, tell each cause once, with all it stops."""
    patches, causes = [], {}
    for entry in series.entries:
        patch = Patch(entry.name, edits, edits.script, list(entry.payload))
        try:
            entry.codemod.apply(patch)
        except Refusal as error:
            causes.setdefault(error.cause, error).patches.append(entry.name)
            error.hint = error.hint or f"To teach it another place: {_file(entry.codemod)}"
        patches.append(patch)
    if causes:
        first, *first.also = causes.values()
        raise first
    return patches


def _file(codemod: ModuleType) -> str:
    return f"{codemod.__name__.replace('.', '/')}.py"


def _no_clash(script: Script, payload: list) -> None:
    """Payload names must be new to the script, anywhere in it, and distinct."""
    seen = {n.id for n in script.nodes if isinstance(n, ast.Name)}
    seen |= {name for n in script.nodes for name in binds(n)}
    seen |= {n.arg for n in script.nodes if isinstance(n, ast.arg)}
    seen |= {n.attr for n in script.nodes if isinstance(n, ast.Attribute)}
    top = _defined(script)
    for p in payload:
        if twice := (seen & p.names) | (top & set(p.imports)):
            raise Refusal(f"names for the payload {p.module!r} that are not taken: {sorted(twice)}")
        seen |= p.names


def _defined(script: Script) -> set[str]:
    """Names that the script binds at module level, other than by importing."""
    plain = (n for n in script.own(*script.body) if not isinstance(n, (ast.Import, ast.ImportFrom)))
    return {name for n in plain for name in binds(n)}


def _place_blocks(edits: Edits, patches: list[Patch]) -> dict[str, str]:
    """Leave a placeholder where each patch's payload goes; return what fills it."""
    blocks = {}
    for i, patch in enumerate(patches):
        if patch.graft_before is None:
            continue
        name = f"__patch_block_{i}__"
        two = [cst.EmptyLine(indent=False)] * 2
        edits.insert_before(
            patch.graft_before, [s.with_changes(leading_lines=two) for s in statements(name)]
        )
        code = "\n\n\n".join(p.code.rstrip("\n") for p in patch.payload)
        blocks[name] = f"{MARK.format(patch.name)}\n{code}\n\n\n{END.format(patch.name)}"
    return blocks


def _place_imports(module: cst.Module) -> cst.Module:
    """A placeholder after the last import that stands before any definition."""
    body = list(module.body)
    last = -1
    for i, node in enumerate(body):
        if isinstance(node, (cst.ClassDef, cst.FunctionDef)):
            break
        small = node.body if isinstance(node, cst.SimpleStatementLine) else ()
        if small and all(isinstance(n, (cst.Import, cst.ImportFrom)) for n in small):
            last = i
    new = statements("__patch_imports__", blank_line=True)
    return module.with_changes(body=[*body[: last + 1], *new, *body[last + 1 :]])


def _fill(text: str, blocks: dict[str, str], newline: str) -> str:
    imported = blocks["__patch_imports__"]
    blocks["__patch_imports__"] = "\n".join(
        [MARK.format("imports"), imported, END.format("imports")]
    )
    return re.sub(
        r"(?<![^\r\n])__patch_(?:imports|block_\d+)__(?![^\r\n])",  # alone on its line
        lambda m: blocks[m[0]].replace("\n", newline),
        text,
    )


def _header(text: str, upstream: Upstream, series: Series, newline: str) -> str:
    """Who made this from what, after the lines that must come first (#!, coding)."""
    names = ", ".join(e.name for e in series.entries)
    ref = f"{upstream.ref} (commit {upstream.commit or 'unknown'}, blob {upstream.blob})"
    source = f"TRANSFORMERS_REF={upstream.ref}"
    if not upstream.commit:
        source = f"UPSTREAM_FILE={shlex.quote(upstream.ref)}"
    note = [
        "# Generated, do not edit: upstream's script with patches applied by codemods.",
        f"# Upstream: {shown_repo(upstream)} {upstream.path}",
        f"# Ref: {ref}",
        f"# Series: {series.name} ({names})",
        f"# Rebuild: make regenerate {source} SERIES={series.name}",
        "# Notice of changes: the blocks marked 'patch:' were added, and the lines that call them",
        "# changed; the review sheet beside this file lists every one.",
        "#",
    ]
    lines = text.splitlines(keepends=True)
    first = 0
    while first < min(2, len(lines)) and re.match(r"#!|#.*coding[:=]", lines[first]):
        first += 1
    return "".join(lines[:first]) + "".join(n + newline for n in note) + "".join(lines[first:])


def shown_repo(upstream: Upstream) -> str:
    """The repository as outputs name it: a place on one machine's disk means nothing elsewhere."""
    if upstream.repo == "file":
        return "file"
    local = upstream.repo.startswith(("file:", "/", ".", "~")) or "://" not in upstream.repo
    return "local clone" if local and "@" not in upstream.repo else upstream.repo


def _in_place(patches: list[Patch]) -> int:
    """Upstream lines that a patch changes where they stand (a changed call counts one line)."""
    return sum(1 for p in patches for c in p.changes if c.kind == "changed")

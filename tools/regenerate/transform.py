"""Upstream's text in, the finished and verified script out."""

from __future__ import annotations

import re
from dataclasses import dataclass

import libcst as cst

from codemods.engine import imports
from codemods.engine.anchors import Anchors
from codemods.engine.edits import Edits
from codemods.engine.patch import Patch
from codemods.engine.refusal import Refusal
from codemods.engine.source import Source
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
    source = Source(upstream.text)
    edits, anchors = Edits(source), Anchors(source)
    patches = _apply(series, edits, anchors)
    payload = [p for e in series.entries for p in e.payload]
    _no_clash(source, payload)
    blocks = _place_blocks(edits, patches)
    module, dropped = imports.drop_unused(edits.rebuild(), source, payload)
    added = imports.needed(payload, anchors, dropped)
    if "logger" not in _defined(source) and any("logger" in p.used for p in payload):
        added += "\n\nlogger = logging.getLogger(__name__)"
    module = _place_imports(module)
    text = _fill(module.code, {"__patch_imports__": added, **blocks}, source.module.default_newline)
    text = _header(text, upstream, series)
    new, old = verify.check(upstream.text, text, series)
    return Result(
        upstream,
        series,
        text,
        tuple(patches),
        tuple(dropped),
        added,
        tuple(n for n in new if n not in old),
        tuple(n for n in old if n not in new),
        _in_place(patches),
    )


def _apply(series: Series, edits: Edits, anchors: Anchors) -> list[Patch]:
    """Let every patch place its edits; where some can't, tell about all of them at once."""
    patches, refusals = [], []
    for entry in series.entries:
        patch = Patch(entry.name, edits, anchors, list(entry.payload))
        try:
            entry.codemod.apply(patch)
        except Refusal as error:
            error.patch = entry.name
            refusals.append(error)
        patches.append(patch)
    if refusals:
        refusals[0].also = refusals[1:]
        raise refusals[0]
    return patches


def _no_clash(source: Source, payload: list) -> None:
    """Payload names must be new to the script, anywhere in it, and distinct."""
    seen = {n.value for n in source.nodes if isinstance(n, cst.Name)}
    top = _defined(source)
    for p in payload:
        if twice := (seen & p.names) | (top & set(p.imports)):
            raise Refusal(f"names for the payload {p.module!r} that are not taken: {sorted(twice)}")
        seen |= p.names


def _defined(source: Source) -> set[str]:
    """Names that the script binds at module level, other than by importing."""
    out: set[str] = set()
    for node in source.module.body:
        if isinstance(node, (cst.ClassDef, cst.FunctionDef)):
            out.add(node.name.value)
        elif isinstance(node, cst.SimpleStatementLine):
            targets = [t.target for s in node.body if isinstance(s, cst.Assign) for t in s.targets]
            out.update(t.value for t in targets if isinstance(t, cst.Name))
    return out


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
        r"^__patch_(?:imports|block_\d+)__(?=\r?$)",
        lambda m: blocks[m[0]].replace("\n", newline),
        text,
        flags=re.MULTILINE,
    )


def _header(text: str, upstream: Upstream, series: Series) -> str:
    """Who made this from what, after the lines that must come first (#!, coding)."""
    names = ", ".join(e.name for e in series.entries)
    ref = f"{upstream.ref} (commit {upstream.commit or 'unknown'}, blob {upstream.blob})"
    note = [
        "# Generated, do not edit: upstream's script with patches applied by codemods.",
        f"# Upstream: {shown_repo(upstream)} {upstream.path}",
        f"# Ref: {ref}",
        f"# Series: {series.name} ({names})",
        f"# Rebuild: make regenerate TRANSFORMERS_REF={upstream.ref} SERIES={series.name}",
        "# Notice of changes: the blocks marked 'patch:' were added, and the lines that call them",
        "# changed; the review sheet beside this file lists every one.",
        "#",
    ]
    lines = text.splitlines(keepends=True)
    first = 0
    while first < min(2, len(lines)) and re.match(r"#!|#.*coding[:=]", lines[first]):
        first += 1
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
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

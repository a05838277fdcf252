"""The review sheet: every edit of a regenerate, as a reviewer reads it in a pull request.

It shows each edit's code in full, and what it replaces by name, lines and digest: upstream's text
itself is not repeated. Nor is the payload, which stands in patches/: it is named with its digest.
"""

from __future__ import annotations

from codemods.engine.patch import Change, Patch
from codemods.engine.payload import Payload
from tools.regenerate.series import Entry
from tools.regenerate.transform import Result, shown_repo


def render(result: Result) -> str:
    parts = [_head(result)]
    pairs = zip(result.series.entries, result.patches, strict=True)
    parts += [_patch(number, entry, patch) for number, (entry, patch) in enumerate(pairs, 1)]
    return "\n".join(parts)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{n}`" for n in names) or "none"


def _head(result: Result) -> str:
    up = result.upstream
    removed = sum(
        c.lines[1] - c.lines[0] + 1
        for p in result.patches
        for c in p.changes
        if c.kind == "removed"
    )
    lines = result.added_imports.splitlines()
    modules = tuple(x.removeprefix("import ") for x in lines if x.startswith("import "))
    names = "\n".join(x for x in lines if not x.startswith("import "))
    return f"""# Review sheet: {result.series.script}

Generated with the script by `make regenerate`; do not edit. Line numbers are upstream's. A digest
is the first 12 digits of a SHA-256: of the upstream text that an edit replaces or removes, or of a
file of `patches/` whose code is added (`make review` shows it in place).

| | |
|---|---|
| upstream | {shown_repo(up)}, `{up.path}` |
| ref | `{up.ref}` |
| commit | `{up.commit or "none: a file of its own"}` |
| blob | `{up.blob}` |
| series | {result.series.name}: {len(result.patches)} patches |
| upstream lines | {up.text.count(chr(10))}, of which {removed} removed; {result.lines_changed} places \
changed where they stand |
| arguments added | {_listed(result.arguments_added)} |
| arguments removed | {_listed(result.arguments_removed)} |
| imports no longer needed | {_listed(result.dropped_imports)} |
| modules imported | {_listed(modules)} |

Names imported:

{_code(names)}"""


def _patch(number: int, entry: Entry, patch: Patch) -> str:
    lines = [f"## {number}. {entry.name}", f"{entry.why}", ""]
    lines += [_change(c) for c in patch.changes]
    if patch.graft_before is not None:
        place = patch.script.where(patch.graft_before)
        lines += [f"- added before `{place}`: {_grafted(p)}" for p in patch.payload]
    if not patch.changes and patch.graft_before is None:
        lines.append("- nothing to do: upstream has it already")
    return "\n".join(lines).rstrip("\n") + "\n"


def _grafted(payload: Payload) -> str:
    count = payload.code.count("\n")
    return f"`patches/{payload.file}`, {count} lines (digest `{payload.digest}`)"


def _change(change: Change) -> str:
    first, last = change.lines
    at = f"line {first}" if first == last else f"lines {first}-{last}"
    text = f"- {change.kind} {at} of `{change.where}`: {change.what}"
    if change.digest:
        text += f" (digest `{change.digest}`)"
    if not change.code:
        return text
    return f"{text}\n\n{_code(change.code, '  ')}"


def _code(code: str, indent: str = "") -> str:
    lines = ["```python", *code.strip("\n").splitlines(), "```"]
    return "\n".join((indent + line).rstrip() for line in lines) + "\n"

"""Whose work a change is: the patch, and what it did there."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from codemods.engine.patch import Change, Patch
from tools.regenerate.transform import Result
from tools.review.rows import Part, split

HEADER, IMPORTS, UNKNOWN = "header", "imports", "no patch"


@dataclass(frozen=True)
class Label:
    """``patch`` names one of the series; or what the tool itself does, without a patch."""

    patch: str
    what: str
    change: Change | None = None


def label(parts: list[Part], result: Result, new: list[str]) -> list[tuple[Label, ...]]:
    """For each part, who changed it and how; empty for a part that did not change."""
    found = _Finder(result)
    return [found.labels(p, new) if p.changed else () for p in parts]


class _Finder:
    def __init__(self, result: Result):
        self.patches = {p.name: p for p in result.patches}
        self.changes = [(p.name, c) for p in result.patches for c in p.changes]
        self.dropped = set(result.dropped_imports)
        self.old = split(result.upstream.text)
        self.import_lines = _import_lines(result.upstream.text)

    def labels(self, part: Part, new: list[str]) -> tuple[Label, ...]:
        if part.block == IMPORTS:
            return (Label(IMPORTS, "what the code of the patches imports"),)
        if part.block:
            return (_block_label(self.patches[part.block]),)
        added = [new[i - 1] for i in part.new]
        if added and added[0].startswith("# Generated, do not edit") and not part.old:
            return (Label(HEADER, "what this script was made from, and how to rebuild it"),)
        out = self._recorded(part, _squeezed("".join(added)))
        if dropped := self._dropped(part):
            out.append(Label(IMPORTS, f"no longer used: {', '.join(dropped)}"))
        return tuple(out) or self._nearest(part)

    def _recorded(self, part: Part, added: str) -> list[Label]:
        """Changes at these lines whose code is what was added here, or who removed lines here."""
        return [
            Label(name, c.what, c)
            for name, c in self.changes
            if (c.kind.startswith("added") or not _distance(part, c))
            and (c.kind == "removed" or (c.code and _squeezed(c.code) in added))
        ]

    def _dropped(self, part: Part) -> list[str]:
        """Names that this part takes out of upstream's import statements."""
        if not part.old or not self.import_lines.issuperset(part.old):
            return []
        words = {w for i in part.old for w in re.findall(r"\w+", self.old[i - 1])}
        return sorted(self.dropped & words)

    def _nearest(self, part: Part) -> tuple[Label, ...]:
        """Where no recorded code is recognised: the narrowest change recorded around here."""
        near = [(c.lines[1] - c.lines[0], n, c) for n, c in self.changes if not _distance(part, c)]
        if not near:
            return (Label(UNKNOWN, "recorded by no patch"),)
        size = min(x[0] for x in near)
        return tuple(Label(n, c.what, c) for s, n, c in near if s == size)


def _block_label(patch: Patch) -> Label:
    files = ", ".join(f"patches/{p.module}.py" for p in patch.payload)
    return Label(
        patch.name, f"code added before {patch.script.where(patch.graft_before)}, from {files}"
    )


def _squeezed(code: str) -> str:
    return "".join(code.split())


def _distance(part: Part, change: Change) -> int:
    """Upstream lines between the two; 0 where they meet."""
    first, last = (part.old[0], part.old[-1]) if part.old else (part.at, part.at + 1)
    return max(0, change.lines[0] - last, first - change.lines[1])


def _import_lines(text: str) -> set[int]:
    return {
        i
        for node in ast.parse(text).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for i in range(node.lineno, node.end_lineno + 1)
    }

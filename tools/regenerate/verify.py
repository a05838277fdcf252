"""The second pair of eyes: what must be true of the finished text, whatever made it."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import difflib
import symtable
import warnings

from codemods.engine.refusal import Candidate, Refusal
from codemods.engine.script import Script
from tools.regenerate.series import Entry, Series

_ALWAYS = set(dir(builtins)) | {"__file__", "__name__", "__doc__", "__spec__", "__package__"}


def check(before: Script, text: str, series: Series) -> tuple[list[str], list[str]]:
    """Verify the finished script. Returns its argument names and upstream's.

    Raises Refusal, with the patch's name where one is to blame, and upstream's line numbers.
    """
    grafted = {n for e in series.entries for p in e.payload for n in p.names}
    script = Script(text, grafted)
    try:
        _compiles(script)
        for entry in series.entries:
            _one(entry, script)
        _names(before.text, text)
        return _arguments(before, script, series, grafted)
    except Refusal as error:
        error.nearest = error.nearest and _in_upstream(error.nearest, before.text, text)
        raise


def _compiles(script: Script) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # upstream's own business
            compile(script.tree, "generated", "exec")
    except SyntaxError as error:
        raise Refusal(
            f"verify: the finished script compiles (line {error.lineno}: {error.msg})"
        ) from None


def _one(entry: Entry, script: Script) -> None:
    try:
        entry.codemod.verify(script)
        text = script.text.replace("\r\n", "\n").replace("\r", "\n")
        for payload in entry.payload:
            promise = f"{payload.module} is grafted unchanged, once"
            script.require(text.count(payload.code) == 1, promise)
    except Refusal as error:
        error.patches.append(entry.name)
        raise


def _in_upstream(nearest: list[Candidate], before: str, text: str) -> list[Candidate]:
    """The places by upstream's lines: those of what stands there, or else the line before."""
    match = difflib.SequenceMatcher(None, before.splitlines(), text.splitlines(), autojunk=False)
    lines = {b + i: a + i for a, b, size in match.get_matching_blocks() for i in range(size)}

    def line(there: int) -> int:
        known = [new for new in lines if new <= there - 1]
        return lines[max(known)] + 1 if known else 1

    return [dataclasses.replace(c, line=line(c.line)) for c in nearest]


def _names(upstream: str, text: str) -> None:
    """No undefined name that upstream didn't have."""
    more = undefined(text)
    if more and (more := more - undefined(upstream)):
        raise Refusal(
            f"verify: the finished script leaves names undefined: {', '.join(sorted(more))}"
        )


def undefined(text: str) -> set[str]:
    """Names that a script reads and nothing in it binds."""
    top = symtable.symtable(text, "script", "exec")
    defined = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    defined |= {c.get_name() for c in top.get_children()} | _ALWAYS
    out, stack = set(), [top]
    while stack:
        table = stack.pop()
        stack += table.get_children()
        read = (s for s in table.get_symbols() if s.is_referenced())
        out |= {s.get_name() for s in read if table is top or s.is_global()} - defined
    return out


def _arguments(
    before: Script, script: Script, series: Series, ours: set[str]
) -> tuple[list[str], list[str]]:
    """Upstream's arguments are there and unchanged, but for what is declared or nobody reads."""
    old, new = before.definitions(), script.definitions()
    twice = [n for n, by in new.items() if len(by) > 1 and any(cls in ours for cls, _ in by)]
    if twice:
        raise Refusal(
            f"verify: our arguments are new to upstream, which has these already: {twice}"
        )
    read = {n.attr for n in script.nodes if isinstance(n, ast.Attribute)}
    was_read = {n.attr for n in before.nodes if isinstance(n, ast.Attribute)}
    changed = {n for e in series.entries for n in e.changes_defaults}
    lost = [n for n in old if n not in new and (n in read or n not in was_read)]
    other = [n for n in old if n in new and n not in changed and _how(old[n]) != _how(new[n])]
    if lost or other:
        raise Refusal(f"verify: upstream's arguments are kept; lost: {lost}, changed: {other}")
    return list(new), list(old)


def _how(definitions: list[tuple[str, ast.AnnAssign]]) -> str:
    return ast.dump(definitions[-1][1])

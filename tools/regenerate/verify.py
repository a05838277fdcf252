"""The second pair of eyes: what must be true of the finished text, whatever made it."""

from __future__ import annotations

import builtins
import symtable
import warnings

from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from tools.regenerate.series import Series

_ALWAYS = set(dir(builtins)) | {"__file__", "__name__", "__doc__", "__spec__", "__package__"}


def check(upstream: str, text: str, series: Series) -> tuple[list[str], list[str]]:
    """Verify the finished script. Returns its argument names and upstream's.

    Raises Refusal, with the patch's name where one is to blame.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # upstream's own business
            script = Script(text)
            compile(script.tree, "generated", "exec")
            before = Script(upstream)
    except SyntaxError as error:
        raise Refusal(
            f"verify: the finished script compiles (line {error.lineno}: {error.msg})"
        ) from None
    for entry in series.entries:
        try:
            entry.codemod.verify(script)
            _payload_is_there(entry, script)
        except Refusal as error:
            error.patch = error.patch or entry.name
            raise
    _names(upstream, text)
    return _arguments(before, script, series)


def _payload_is_there(entry, script: Script) -> None:
    text = script.text.replace("\r\n", "\n")
    for payload in entry.payload:
        script.require(
            text.count(payload.code) == 1, f"{payload.module} is grafted unchanged, once"
        )


def _names(upstream: str, text: str) -> None:
    """No undefined and no unused name that upstream didn't have."""
    was, now = names(upstream), names(text)
    for what, old, new in zip(("undefined", "unused"), was, now, strict=True):
        if more := new - old:
            raise Refusal(
                f"verify: the finished script leaves names {what}: {', '.join(sorted(more))}"
            )


def names(text: str) -> tuple[set[str], set[str]]:
    """Undefined names, and unused ones (imports at module level, plain locals) of a script."""
    top = symtable.symtable(text, "script", "exec")
    defined = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    defined |= {c.get_name() for c in top.get_children()} | _ALWAYS
    read, undefined, unused = set(), set(), set()
    stack = [top]
    while stack:
        table = stack.pop()
        children = table.get_children()
        free = {s.get_name() for c in children for s in c.get_symbols() if s.is_free()}
        for s in table.get_symbols():
            name = s.get_name()
            if s.is_referenced() and (table is top or s.is_global()):
                read.add(name)
                if name not in defined:
                    undefined.add(name)
            idle = s.is_local() and s.is_assigned() and name not in free and name[0] != "_"
            idle = idle and not (s.is_referenced() or s.is_parameter())
            if idle and table.get_type() == "function":
                unused.add(f"{table.get_name()}.{name}")
        stack += children
    unused |= {s.get_name() for s in top.get_symbols() if s.is_imported()} - read
    return undefined, unused


def _arguments(before: Script, script: Script, series: Series) -> tuple[list[str], list[str]]:
    """Upstream's arguments are all there and unchanged, but for what a patch declares."""
    old, new = before.arguments(), script.arguments()
    ours = {n for e in series.entries for p in e.payload for n in p.names}
    twice = [
        n for n, classes in script.definitions().items() if len(classes) > 1 and ours & set(classes)
    ]
    if twice:
        raise Refusal(
            f"verify: our arguments are new to upstream, which has these already: {twice}"
        )
    removed = {n for e in series.entries for n in e.removes_arguments}
    changed = {n for e in series.entries for n in e.changes_defaults}
    lost = [n for n in old if n not in new and n not in removed]
    other = [n for n in old if n in new and old[n] != new[n] and n not in changed]
    if lost or other:
        raise Refusal(f"verify: upstream's arguments are kept; lost: {lost}, changed: {other}")
    kept = [n for n in removed if n in new]
    if kept:
        raise Refusal(f"verify: arguments declared removed are gone; still there: {kept}")
    return list(new), list(old)

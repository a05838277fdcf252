"""What upstream's new script does that the old one did not, in a few lines for a reviewer."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tools.follow.behaviour.events import Event, Trace, printable
from tools.follow.behaviour.process import Watched, watch

MOST = 12  # lines
WIDE = 160  # characters of a line
# Messages are no deeds, and which release a script asks for is known from its name.
UNTOLD = re.compile(r"log\.\w+|print|.*check_min_version|logger\.\w+")

Facts = dict[tuple, set[str]]  # what changed → the runs in which it did


def changes(old_text: str, new_text: str) -> list[str]:
    """Lines of printable text: calls added, gone, moved or given something else, over all runs.

    A script that cannot be run is told in one line. No line where nothing changed.
    """
    old, new = watch(old_text), watch(new_text)
    for which, watched in (("new", new), ("old", old)):
        if watched.broken:
            return [_short(f"the {which} script cannot be run among stand-ins: {watched.broken}")]
    facts: Facts = defaultdict(set)
    for name, now in new.traces.items():
        for fact in _facts(old.traces[name], now):
            facts[fact].add(name)
    lines = [*_calls(facts, len(new.traces) - 1), *_given(facts), *_defaults(old, new)]
    lines = [_short(line) for line in lines]
    return lines if len(lines) <= MOST else [*lines[: MOST - 1], f"… and {len(lines) - MOST + 1} more"]  # fmt: skip


def _short(line: str) -> str:
    line = printable(re.sub(r"(?<=\w)#\d+", "", line))
    return line if len(line) <= WIDE else f"{line[: WIDE - 1]}…"


def _facts(was: Trace, now: Trace) -> Iterator[tuple]:
    """What changed in one run; each fact begins with its kind."""
    old, new = ([e for e in t.events if not UNTOLD.fullmatch(e.what)] for t in (was, now))
    names = [[e.what for e in events] for events in (old, new)]
    gone, more = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (
                fact for x, y in zip(old[a:b], new[c:d], strict=True) for fact in _otherwise(x, y)
            )
        else:
            gone += old[a:b]
            more += [(e, _last_call(names[1][:i])) for i, e in enumerate(new[c:d], c)]
    left = Counter(e.what for e in gone)
    for event, before in more:
        if left[event.what]:
            left[event.what] -= 1
            yield "moved", event.what, before
        else:
            yield "calls", _brief(event)
    ends = [t.raised[0] if t.raised else "well" for t in (now, was)]  # their texts are messages
    if ends[0] != ends[1]:
        yield "ends", *ends
        return  # what is no longer done is no news
    for event in gone:
        if left[event.what]:
            left[event.what] -= 1
            yield "no longer calls", _brief(event)


def _last_call(names: list[str]) -> str:
    return next((n for n in reversed(names) if n not in ("enter", "exit", "map")), "the start")


def _otherwise(was: Event, now: Event) -> Iterator[tuple]:
    """How the same call is given something else; what data and warnings say is told elsewhere."""
    if was.what in ("map", "warnings.warn"):
        return
    before, after = dict(was.kwargs), dict(now.kwargs)
    added, gone = tuple(after.keys() - before.keys()), tuple(before.keys() - after.keys())
    if added or gone:
        yield "names", _callee(now.what), tuple(sorted(added)), tuple(sorted(gone))
    for name in sorted(after.keys() & before.keys()):
        if after[name] != before[name]:
            yield "values", _callee(now.what), f"{name}={after[name]}", f"{name}={before[name]}"
    if was.args != now.args:
        yield "values", _callee(now.what), *(f"({', '.join(e.args)})" for e in (now, was))


def _brief(event: Event) -> str:
    """A call with the names of its keywords, or what is set to what."""
    what, args = _callee(event.what), [a if len(a) <= 60 else f"{a[:59]}…" for a in event.args]
    if what.startswith("set "):
        return f"{what} = {args[-1]}"
    return f"{what}({', '.join([*args, *(f'{name}=…' for name, _ in event.kwargs)])})"


def _callee(what: str) -> str:
    return re.sub(r"^(set |del )?(?:Trainer:|transformers\.(?:\w+\.)*)(?=[A-Z])", r"\1", what)


def _calls(facts: Facts, runs: int) -> Iterator[str]:
    for kind in ("calls", "no longer calls"):
        for fact, where in facts.items():
            if fact[0] == kind:
                sets = fact[1].startswith("set ")
                verb = kind.replace("call", "set") if sets else kind
                yield f"{verb} {fact[1].removeprefix('set ')}{_where(where, runs)}"
    moved: dict[str, set[str]] = defaultdict(set)
    for kind, what, *_ in (f for f in facts if f[0] == "moved"):
        moved[what] |= {name for f in facts if f[:2] == (kind, what) for name in facts[f]}
    for what, where in moved.items():
        before = sorted({_callee(f[2]) for f in facts if f[:2] == ("moved", what)})
        yield f"moved: {_callee(what)}, now after {' or '.join(before)}{_where(where, runs)}"
    for fact, where in facts.items():
        if fact[0] == "ends":
            yield f"ends {fact[1]} (before: {fact[2]}){_where(where, runs)}"


def _where(where: set[str], runs: int) -> str:
    """In which runs; nothing where in all."""
    if where == {"import"}:
        return " on import"
    names = sorted(where - {"import"})
    if len(names) == runs:
        return ""
    if len(names) <= 2:
        return f" in the run{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"
    return f" in {len(names)} of {runs} runs"


def _given(facts: Facts) -> Iterator[str]:
    """Arguments added, gone or changed, with all calls of which that is so."""
    names, values = defaultdict(dict), defaultdict(dict)
    for kind, callee, *change in (f for f in facts if f[0] in ("names", "values")):
        (names if kind == "names" else values)[tuple(change)][callee] = None
    for (added, gone), callees in names.items():
        parts = [", ".join(added)] if added else []
        parts += [f"no longer {', '.join(gone)}"] if gone else []
        yield f"{_some(callees)}: gets {', '.join(parts)}"
    for (now, was), callees in values.items():
        yield f"{_some(callees)}: gets {now} (before: {was})"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _defaults(old: Watched, new: Watched) -> Iterator[str]:
    for name, (default, *_) in new.arguments.items():
        was = old.arguments.get(name, (default,))[0]
        if was != default:
            yield f"--{name} defaults to {default} (before: {was})"

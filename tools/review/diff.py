"""Two texts side by side as HTML: changes labelled and foldable, what is unchanged folded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from tools.review import code
from tools.review.labels import Label
from tools.review.rows import Part, Row

CONTEXT = 3  # unchanged lines shown on either side of a change
_LEAST = 6  # fewer lines than this are not worth folding
_WIDE = 20  # lines from which a change of one side only gets the page's whole width


@dataclass(frozen=True)
class Sides:
    """What both sides are called, and their lines as coloured pieces."""

    names: tuple[str, str]
    old: list[code.Tokens]
    new: list[code.Tokens]


def render(
    sides: Sides,
    parts: list[Part],
    labels: list[tuple[Label, ...]],
    prefix: str,
    why: Callable[[str], str] = lambda _: "",
) -> str:
    """``prefix`` starts the ids of the changes; ``why`` gives the reason of a patch, "" if none."""
    out = []
    for i, (part, said) in enumerate(zip(parts, labels, strict=True)):
        if part.changed:
            out.append(_change(sides, part, _summary(part, said, why), change_id(prefix, i)))
        else:
            out.append(_unchanged(sides, part, first=i == 0, last=i == len(parts) - 1))
    return "\n".join(out)


def change_id(prefix: str, part: int) -> str:
    return f"{prefix}{part}"


def by_patch(said: tuple[Label, ...]) -> dict[str, list[str]]:
    """Patch → what it did, each once, in order."""
    out: dict[str, list[str]] = {}
    for one in said:
        whats = out.setdefault(one.patch, [])
        if one.what and one.what not in whats:
            whats.append(one.what)
    return out


def _summary(part: Part, said: tuple[Label, ...], why: Callable[[str], str]) -> str:
    out = []
    for patch, whats in by_patch(said).items():
        what = code.text(_listed(whats))
        out.append(f'<h3 class="who"><b class="patch">{escape(patch)}</b> {what}</h3>')
        if reason := why(patch):
            out.append(f'<span class="why">{code.text(reason)}</span>')
    return f'{"".join(out)}<span class="count">{_count(part)}</span>'


def _listed(whats: list[str]) -> str:
    """In one line, what several begin with ("text chunking: …") only once."""
    groups: dict[str, list[str]] = {}
    for what in whats:
        topic, colon, rest = what.partition(": ")
        groups.setdefault(topic + colon, []).append(rest)
    return "; ".join(topic + ", ".join(rests) for topic, rests in groups.items())


def _count(part: Part) -> str:
    signs = [f"{sign}{n}" for sign, n in (("−", len(part.old)), ("+", len(part.new))) if n]
    words = tally(len(part.old), len(part.new))
    return f'<span aria-hidden="true">{" ".join(signs)}</span><span class="vh">{words}</span>'


def tally(removed: int, added: int) -> str:
    """Both counts in words, none of them zero unless both are."""
    counts = [(removed, "removed"), (added, "added")]
    return ", ".join(f"{n} {'line' if n == 1 else 'lines'} {w}" for n, w in counts if n) or "none"


def _change(sides: Sides, part: Part, summary: str, name: str) -> str:
    return (
        f'<details class="change" id="{name}" open><summary>{summary}</summary>\n'
        f"{_table(sides, part.rows)}</details>"
    )


def _unchanged(sides: Sides, part: Part, *, first: bool, last: bool) -> str:
    rows = part.rows
    head, tail = (0 if first else CONTEXT), (0 if last else CONTEXT)
    if len(rows) < head + tail + _LEAST:
        return _table(sides, rows)
    end = len(rows) - tail
    folded = rows[head:end]
    numbers = f"{folded[0].new}–{folded[-1].new}"
    return (
        f"{_table(sides, rows[:head])}"
        f'<details class="same"><summary>show {len(folded)} unchanged lines <small>{numbers}</small>'
        f"</summary>\n{_table(sides, folded)}</details>{_table(sides, rows[end:])}"
    )


def _table(sides: Sides, rows: tuple[Row, ...]) -> str:
    if not rows:
        return ""
    whole = len(rows) >= _WIDE
    if whole and all(r.old is None for r in rows):
        return _one_sided(sides.names[1], [_added(sides, r) for r in rows])
    if whole and all(r.new is None for r in rows):
        return _one_sided(sides.names[0], [_removed(sides, r) for r in rows])
    heads = "".join(
        f'<th scope="col">{escape(n)}: line</th><th scope="col">{escape(n)}</th>'
        for n in sides.names
    )
    body = "".join(_row(sides, r) for r in rows)
    return (
        '<table class="two"><colgroup><col class="n"><col><col class="n"><col></colgroup>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>\n"
    )


def _one_sided(name: str, rows: list[str]) -> str:
    body = "".join(f"<tr>{r}</tr>\n" for r in rows)
    return (
        '<table class="one"><colgroup><col class="n"><col></colgroup><thead><tr>'
        f'<th scope="col">{escape(name)}: line</th><th scope="col">{escape(name)}</th>'
        f"</tr></thead><tbody>{body}</tbody></table>\n"
    )


def _row(sides: Sides, row: Row) -> str:
    if not row.changed:
        shown = (
            f"<td>{row.old}</td><td>{code.line(sides.old[row.old - 1])}</td>"
            f"<td>{row.new}</td><td>{code.line(sides.new[row.new - 1])}</td>"
        )
        return f'<tr class="eq">{shown}</tr>\n'
    none = '<td class="no"></td><td class="no"></td>'
    old = none if row.old is None else _removed(sides, row)
    new = none if row.new is None else _added(sides, row)
    return f"<tr>{old}{new}</tr>\n"


def _removed(sides: Sides, row: Row) -> str:
    shown = code.line(sides.old[row.old - 1], row.old_marks)
    return f'<td class="o">{row.old}</td><td class="o"><del>{shown}</del></td>'


def _added(sides: Sides, row: Row) -> str:
    shown = code.line(sides.new[row.new - 1], row.new_marks)
    return f'<td class="w">{row.new}</td><td class="w"><ins>{shown}</ins></td>'

"""The review page: one HTML file that shows upstream → generated side by side, patch by patch."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from string import Template

from tools.follow.at_commit import Then
from tools.regenerate.series import Entry
from tools.regenerate.sheet import render as render_sheet
from tools.regenerate.transform import Result, shown_repo
from tools.review import code, diff
from tools.review.labels import Label, label
from tools.review.rows import Part, blocks, parts, split

_FOLDER = Path(__file__).parent
_MAIN, _SINCE, _SHEET = "c", "b", "s"  # how ids of changes begin, in each of the three diffs
_UPSTREAM = (Label("upstream", ""),)  # who wrote the lines that no patch changed
_OUTSIDE = "outside the blocks"


def name(script: str) -> str:
    """File name of the page of ``script``."""
    return f"{script.removesuffix('.py')}.review.html"


def render(result: Result, then: Then | None = None) -> str:
    """The page; with ``then``, also what changed in script and sheet since that commit.

    It holds upstream's text: an output to look at, not to commit.
    """
    old, new = split(result.upstream.text), split(result.text)
    compared = parts(old, new, blocks(new))
    labels = label(compared, result, new)
    sections = [("upstream", "Upstream and series", _facts(result))]
    if then:
        sections.append(
            ("since", f"Since {then.commit[:12]}", _since(then, result, labels, compared))
        )
    sections += [
        ("patches", f"The {len(result.patches)} patches", _patches(result, labels)),
        ("changes", "Upstream → generated", _changes(result, compared, labels)),
    ]
    return _page(result, sections)


def _page(result: Result, sections: list[tuple[str, str, str]]) -> str:
    css, js = (
        (_FOLDER / f).read_text(encoding="utf-8").replace("\n\n", "\n")
        for f in ("page.css", "page.js")
    )
    up = result.upstream
    return Template((_FOLDER / "page.html").read_text(encoding="utf-8")).substitute(
        policy=f"default-src 'none'; style-src {_digest(css)}; script-src {_digest(js)}; "
        "base-uri 'none'; form-action 'none'",
        title=escape(f"Review of {result.series.script} from {up.ref}"),
        lead="Hugging Face's script on one side, what the patches make of it on the other. "
        "Generated; holds upstream's text, so it is not tracked.",
        css=css,
        js=js,
        nav="".join(f'<li><a href="#{i}">{escape(title)}</a></li>' for i, title, _ in sections),
        body="\n".join(
            f'<section id="{i}" aria-labelledby="{i}-h"><h2 id="{i}-h">{escape(title)}</h2>\n'
            f"{content}\n</section>"
            for i, title, content in sections
        ),
    )


def _digest(text: str) -> str:
    """What the page's own policy calls this style or script: no other one may run or apply."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _facts(result: Result) -> str:
    up = result.upstream
    removed = sum(
        c.lines[1] - c.lines[0] + 1
        for p in result.patches
        for c in p.changes
        if c.kind == "removed"
    )
    old, new = len(split(up.text)), len(split(result.text))
    ends = [("line ends", "CRLF, as upstream's")] if "\r\n" in up.text else []
    return _definitions(
        [
            ("upstream", _code(shown_repo(up), up.path)),
            ("ref", _code(up.ref)),
            ("commit", _code(up.commit) if up.commit else "none: a file of its own"),
            ("blob", _code(up.blob)),
            ("series", f"{_code(result.series.name)}: {len(result.patches)} patches"),
            (
                "lines",
                f"upstream {old}, generated {new}; {removed} of upstream's removed with what the "
                f"patches replace, {result.lines_changed} places changed where they stand",
            ),
            ("arguments added", _code(*result.arguments_added)),
            ("arguments removed", _code(*result.arguments_removed)),
            ("imports dropped", _code(*result.dropped_imports)),
            ("output", f"sha256 {_code(hashlib.sha256(result.text.encode()).hexdigest())}"),
            *ends,
        ]
    )


def _definitions(pairs: list[tuple[str, str]]) -> str:
    rows = "\n".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in pairs)
    return f'<dl class="text">\n{rows}\n</dl>'


def _code(*values: str) -> str:
    return ", ".join(f"<code>{code.text(v)}</code>" for v in values) or "none"


def _patches(result: Result, labels: list[tuple[Label, ...]]) -> str:
    items = "\n".join(_patch(e, labels) for e in result.series.entries)
    return f'<ol class="patches text">\n{items}\n</ol>'


def _patch(entry: Entry, labels: list[tuple[Label, ...]]) -> str:
    links = []
    for i, said in enumerate(labels):
        for one in said:
            if one.patch == entry.name:
                place = f" <small>{_place(one)}</small>" if one.change else ""
                href = diff.change_id(_MAIN, i)
                links.append(f'<li><a href="#{href}">{code.text(one.what)}</a>{place}</li>')
    done = (
        f"<ul>{''.join(links)}</ul>" if links else "<p>nothing to do: upstream has it already</p>"
    )
    return (
        f'<li id="patch-{escape(entry.name)}"><h3><span class="patch">{escape(entry.name)}</span>'
        f" <small>{escape(entry.layer)}</small></h3><p>{code.text(entry.why)}</p>{done}</li>"
    )


def _place(one: Label) -> str:
    first, last = one.change.lines
    lines = f"line {first}" if first == last else f"lines {first}–{last}"
    return code.text(f"{one.change.kind} {lines} of {one.change.where}")


def _changes(result: Result, compared: list[Part], labels: list[tuple[Label, ...]]) -> str:
    reasons = {e.name: e.why for e in result.series.entries}
    sides = diff.Sides(
        ("upstream", "generated"),
        code.python(split(result.upstream.text)),
        code.python(split(result.text)),
    )
    return diff.render(sides, compared, labels, _MAIN, lambda p: reasons.get(p, ""))


def _since(
    then: Then, result: Result, labels: list[tuple[Label, ...]], compared: list[Part]
) -> str:
    old, new = split(then.script), split(result.text)
    whose = _owners(compared, labels)
    changed = parts(old, new)
    sides = diff.Sides(("then", "now"), code.python(old), code.python(new))
    said = [_who(p, whose, blocks(old)) if p.changed else () for p in changed]
    up, was = result.upstream, then.upstream
    facts = [
        ("commit", f"{_code(then.commit)} {code.text(then.subject)}"),
        ("upstream then", _code(was["ref"], was["commit"] or was["blob"])),
        ("upstream now", _code(up.ref, up.commit or up.blob)),
        ("the script", _tally(changed, then.script == result.text)),
    ]
    script = diff.render(sides, changed, said, _SINCE) if then.script != result.text else ""
    return f"{_definitions(facts)}\n{script}\n{_sheet(then.sheet, render_sheet(result))}"


def _owners(compared: list[Part], labels: list[tuple[Label, ...]]) -> dict[int, tuple[Label, ...]]:
    """Line of today's script → whose change of upstream's text it is part of."""
    pairs = zip(compared, labels, strict=True)
    return {i: said for part, said in pairs if part.changed for i in part.new}


def _who(
    part: Part, whose: dict[int, tuple[Label, ...]], before: list[tuple[int, int, str]]
) -> tuple[Label, ...]:
    """Whose lines a change since BASE touches; lines that left are known by their old block."""
    found = [one.patch for i in part.new for one in whose.get(i, _UPSTREAM)]
    blocked = [name for i in part.old for first, last, name in before if first < i <= last + 1]
    found += blocked or ([] if part.new else [_OUTSIDE])
    return tuple(Label(p, "") for p in dict.fromkeys(found))


def _tally(changed: list[Part], same: bool) -> str:
    if same:
        return "unchanged, byte for byte"
    removed = sum(len(p.old) for p in changed if p.changed)
    added = sum(len(p.new) for p in changed if p.changed)
    return diff.tally(removed, added) if removed + added else "only its line ends changed"


def _sheet(old: str, new: str) -> str:
    if old == new:
        return "<p>The review sheet is unchanged.</p>"
    before, after = split(old), split(new)
    changed = parts(before, after)
    sides = diff.Sides(("then", "now"), code.plain(before), code.plain(after))
    said = [(Label("sheet", ""),) if p.changed else () for p in changed]
    return (
        f'<details class="whole"><summary>the review sheet: {_tally(changed, False)}</summary>\n'
        f"{diff.render(sides, changed, said, _SHEET)}</details>"
    )

"""Two texts side by side: which line stands against which, and what changed inside a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from tools.regenerate.transform import END, MARK

Spans = tuple[tuple[int, int], ...]

_ENDS = re.compile(r"\r\n|\r|\n")  # Python's own line ends; str.splitlines knows more
_TOKENS = re.compile(r"\w+|\s+|[^\w\s]")
_MARK = re.compile(re.escape(MARK).replace(re.escape("{}"), "(.+)"))
_MOST_PAIRS = 20_000  # likenesses to compute in one change; the work grows with both sides
_LONGEST = 1_000  # characters of a line that is still compared inside
_ALIKE = 0.5


@dataclass(frozen=True)
class Row:
    """One line of the page: its number on either side (1-based, None where that side has none).

    ``old_marks`` and ``new_marks`` are the character ranges that differ within a line that has
    both numbers and changed; both are empty where it did not.
    """

    old: int | None
    new: int | None
    changed: bool
    old_marks: Spans = ()
    new_marks: Spans = ()


@dataclass(frozen=True)
class Part:
    """A run of rows, all changed or all not. ``block`` is the patch whose marked block it is."""

    changed: bool
    rows: tuple[Row, ...]
    at: int  # lines of the old text before this part
    block: str = ""

    @property
    def old(self) -> list[int]:
        return [r.old for r in self.rows if r.old is not None]

    @property
    def new(self) -> list[int]:
        return [r.new for r in self.rows if r.new is not None]


def split(text: str) -> list[str]:
    """The lines of ``text``, without their ends."""
    lines = _ENDS.split(text)
    return lines[:-1] if lines[-1] == "" else lines


def blocks(lines: list[str]) -> list[tuple[int, int, str]]:
    """Marked blocks of a generated script: index of first and last line, name of the patch.

    The blank lines above a block were put there with it, so they are its own.
    """
    out, i = [], 0
    while i < len(lines):
        if found := _MARK.fullmatch(lines[i]):
            last = lines.index(END.format(found[1]), i)
            while i and not lines[i - 1].strip():
                i -= 1
            out.append((i, last, found[1]))
            i = last
        i += 1
    return out


def parts(old: list[str], new: list[str], marked: list[tuple[int, int, str]] = ()) -> list[Part]:
    """Both texts as parts, in order: every line of either is in exactly one row.

    ``marked`` blocks of the new text are additions as a whole: they are set aside before the
    texts are compared, so that no line of theirs is taken for one of the old text's.
    """
    named = {i: name for first, last, name in marked for i in range(first, last + 1)}
    rest = [i for i in range(len(new)) if i not in named]
    matcher = SequenceMatcher(None, old, [new[i] for i in rest], autojunk=False)
    out: list[Part] = []
    done = 0  # lines of the new text that are in a part
    for tag, a, b, c, d in matcher.get_opcodes():
        for positions in _runs(rest[c:d]) or [[]]:
            until = positions[0] if positions else (rest[c] if c < len(rest) else len(new))
            out += _block_parts(range(done, until), named, a)
            done = max(done, until)
            stop = a + len(positions) if tag == "equal" else b
            out.append(_part(tag == "equal", old, new, range(a, stop), positions))
            a = stop
            done += len(positions)
    return out + _block_parts(range(done, len(new)), named, len(old))


def _runs(positions: list[int]) -> list[list[int]]:
    """Cut where a number is skipped."""
    out: list[list[int]] = []
    for i in positions:
        if out and out[-1][-1] == i - 1:
            out[-1].append(i)
        else:
            out.append([i])
    return out


def _block_parts(positions: range, named: dict[int, str], at: int) -> list[Part]:
    out: list[Part] = []
    for i in positions:
        row = Row(None, i + 1, changed=True)
        if out and out[-1].block == named[i]:
            out[-1] = Part(True, (*out[-1].rows, row), at, named[i])
        else:
            out.append(Part(True, (row,), at, named[i]))
    return out


def _part(same: bool, old: list[str], new: list[str], a: range, b: list[int]) -> Part:
    if same:
        rows = [Row(i + 1, j + 1, changed=False) for i, j in zip(a, b, strict=True)]
    else:
        rows = _changed_rows(old, new, a, b)
    return Part(not same, tuple(rows), a.start)


def _changed_rows(old: list[str], new: list[str], a: range, b: list[int]) -> list[Row]:
    """Lines that are alike share a row; between them go those removed, then those added."""
    rows: list[Row] = []
    i = j = 0
    pairs = _pairs([old[x] for x in a], [new[x] for x in b])
    for p, q in [*pairs, (len(a), len(b))]:
        rows += [Row(x + 1, None, changed=True) for x in a[i:p]]
        rows += [Row(None, x + 1, changed=True) for x in b[j:q]]
        if p < len(a):
            marks = inside(old[a[p]], new[b[q]])
            rows.append(Row(a[p] + 1, b[q] + 1, True, *marks))
        i, j = p + 1, q + 1
    return rows


def _pairs(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """Which old line became which new one: the pairing, in order, of the greatest likeness."""
    n, m = len(old), len(new)
    if n * m > _MOST_PAIRS:
        return []
    likeness = [[_likeness(x, y) for y in new] for x in old]
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            paired = likeness[i][j] + best[i + 1][j + 1] if likeness[i][j] else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    out, i, j = [], 0, 0
    while i < n and j < m:
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            out.append((i, j))
            i, j = i + 1, j + 1
    return out


def _likeness(a: str, b: str) -> float:
    """Between 0 and 1; 0 where the two are no versions of one line."""
    if max(len(a), len(b)) > _LONGEST or not a.strip() or not b.strip():
        return 0.0
    matcher = SequenceMatcher(None, a.strip(), b.strip(), autojunk=False)
    if matcher.real_quick_ratio() < _ALIKE or matcher.quick_ratio() < _ALIKE:
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= _ALIKE else 0.0


def inside(a: str, b: str) -> tuple[Spans, Spans]:
    """The ranges of characters by which two versions of a line differ, word by word."""
    old, new = _TOKENS.findall(a), _TOKENS.findall(b)
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])  # else a comma may pair with another one
    middle_a, middle_b = old[start : len(old) - end], new[start : len(new) - end]
    ends_a, ends_b = _offsets(old)[start:], _offsets(new)[start:]
    out_a, out_b = [], []
    for tag, i, j, p, q in SequenceMatcher(None, middle_a, middle_b, autojunk=False).get_opcodes():
        if tag != "equal":
            out_a.append((ends_a[i], ends_a[j]))
            out_b.append((ends_b[p], ends_b[q]))
    return _joined(a, out_a), _joined(b, out_b)


def _common(a: list[str], b: list[str]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _offsets(tokens: list[str]) -> list[int]:
    out = [0]
    for token in tokens:
        out.append(out[-1] + len(token))
    return out


def _joined(line: str, spans: list[tuple[int, int]]) -> Spans:
    """Without empty ranges; two with nothing but spaces between them become one."""
    out: list[tuple[int, int]] = []
    for first, last in spans:
        if first == last:
            continue
        if out and not line[out[-1][1] : first].strip():
            out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return tuple(out)

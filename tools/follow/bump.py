"""``make bump``: move the locks to a newer upstream release, in one commit of locks and sheets.

Which series: every one that has a lock in OUT, together, all or none. With SERIES, that one alone.

Which release: the newest vX.Y.Z of the repository, or TO, which may be any ref.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from tools.errors import UserError
from tools.follow import checkout
from tools.follow.behaviour.changes import changes
from tools.regenerate import outputs, series
from tools.regenerate.series import ROOT, Series
from tools.regenerate.transform import Result, shown_repo, transform
from tools.training import stacks
from tools.upstream import fetch as upstream
from tools.upstream.fetch import Upstream

SINCE = "v4.28.0"
SOURCES = ("patches", "codemods", "tools")  # what a lock pins: a commit must hold it too


@dataclass(frozen=True)
class Move:
    """One series from its lock to ``new``; ``old`` is None where its text is not to be had."""

    series: Series
    lock: dict
    old: Result | None
    new: Result


def locked(out: Path) -> list[tuple[Series, dict]]:
    """The series that have a lock in ``out``, in the order of patches/series.toml."""
    pairs = [(s, outputs.read_lock(out, s.script)) for s in map(series.load, series.names())]
    return [(s, lock) for s, lock in pairs if lock is not None]


def run(repo: str, name: str | None, out: Path, to: str | None, accept_moved: bool) -> int:
    """Bump series ``name`` (None: all) to ``to`` (None: the newest release)."""
    checkout.require()
    if not out.resolve().is_relative_to(ROOT):
        raise UserError(f"{out} is outside this checkout, where bump cannot commit it: give no OUT")
    with outputs.held(out):
        chosen = _chosen(name, out)
        _clean(out)
        target = to or newest(repo, chosen)
        found = upstream.fetch(repo, target, refresh=True)
        moves = []
        for one, lock in chosen:
            outputs.not_moved(found, lock, accept_moved)
            if lock["upstream"]["commit"] != found.commit and (to or _behind(lock, target)):
                _pure(one, lock)
                moves.append((one, lock))
        if not moves:
            print(_already(chosen, found, named=bool(to)))
            return 0
        for one, lock in moves:
            print(f"bumping    {one.name} {lock['upstream']['ref']} → {found.ref}", flush=True)
        results = transform_all(found, [one for one, _ in moves])
        moved = [
            Move(o, k, _before(repo, o, k), r) for (o, k), r in zip(moves, results, strict=True)
        ]
        olds = [move.old.upstream for move in moved if move.old]
        for line in dict.fromkeys(line for old in olds for line in deeds(old.text, found.text)):
            print(f"upstream   {line}", flush=True)
        commit = _write(out, moved)
    print(f"committed  {commit[:12]} {subject(moved)}")
    return 0


def _chosen(name: str | None, out: Path) -> list[tuple[Series, dict]]:
    known = locked(out)
    if name is not None:
        wanted = series.load(name)
        known = [(s, lock) for s, lock in known if s.name == wanted.name]
        if not known:
            raise UserError(
                f"no lock of {wanted.script} in {out} to bump: make regenerate SERIES={name}, "
                "and commit lock and sheet first"
            )
        return known
    if not known:
        raise UserError(f"no lock in {out} to bump: make regenerate, and commit it first")
    return known


def _clean(out: Path) -> None:
    """Refuse to mix a bump with anybody's uncommitted work."""
    changed = checkout.changed(str(out.resolve()))
    if changed := [name for name in changed if Path(name).name != ".lock"]:  # held's own
        raise UserError(
            f"{out} has uncommitted changes ({_some(changed)}): commit them first, or take them "
            f"back (git restore --staged --worktree {out}), as after a bump that was killed"
        )
    if changed := checkout.changed(*SOURCES):
        raise UserError(
            f"uncommitted changes in {_some(changed)} would go into the locks, not into the "
            "commit: commit or stash them first"
        )


def _pure(one: Series, lock: dict) -> None:
    """A bump shows what upstream changed; what patches changed belongs to another commit."""
    mine = [{"name": e.name, "sha256": e.digest} for e in one.entries]
    if lock.get("patches") != mine:
        raise UserError(
            f"the lock of {one.script} was made with other patches than these: make regenerate "
            f"SERIES={one.name} at its own ref and commit that first"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def newest(repo: str, chosen: list[tuple[Series, dict]]) -> str:
    """The repository's newest release. UserError where it, or a lock, has none."""
    for one, lock in chosen:
        if stacks.version(lock["upstream"]["ref"]) is None:
            raise UserError(
                f"the lock of {one.script} is at {lock['upstream']['ref']}, which is no release: "
                "say with TO where to go"
            )
    tags = upstream.release_tags(repo, SINCE)
    if not tags:
        raise UserError(f"{upstream.address(repo).shown} has no release from {SINCE} on: set TO")
    return tags[-1]


def _behind(lock: dict, target: str) -> bool:
    """Whether the release ``target`` is not older than the lock's; a stale mirror's may be."""
    return stacks.version(lock["upstream"]["ref"]) <= stacks.version(target)


def _already(chosen: list[tuple[Series, dict]], found: Upstream, named: bool) -> str:
    ahead = {lock["upstream"]["ref"] for _, lock in chosen} - {found.ref}
    if named or not ahead:
        return f"already at {'' if named else 'the newest release '}{found.ref}"
    return (
        f"already at {', '.join(sorted(ahead))}; "
        f"the newest release of {shown_repo(found)} is {found.ref}"
    )


def transform_all(found: Upstream, chosen: list[Series]) -> list[Result]:
    """Every series on one text; where any refuse, one Refusal that tells each reason once."""
    results, refusals = [], {}
    for one in chosen:
        try:
            results.append(transform(found, one))
        except Refusal as error:
            for refusal in (error, *error.also):
                refusals.setdefault(str(refusal), refusal)
    if refusals:
        first, *first.also = refusals.values()
        raise first
    return results


def _before(repo: str, one: Series, lock: dict) -> Result | None:
    """What the series gives at its lock's commit, to compare with."""
    try:
        pin = lock["upstream"]
        return transform(upstream.fetch(repo, pin["commit"], pin=pin), one)
    except (UserError, Refusal):
        return None


def _write(out: Path, moves: list[Move]) -> str:
    """Write all files and commit those that are tracked; on any failure put the old ones back."""
    files = {n: data for move in moves for n, data in outputs.render(move.new).items()}
    paths = checkout.lines(
        "ls-files", "-z", "--full-name", "--", *(str((out / n).resolve()) for n in files)
    )
    for move in moves:
        if not any(p.endswith(outputs.names(move.series.script)[1]) for p in paths):
            raise UserError(f"git does not track the lock of {move.series.script}: commit it first")
    old = {n: outputs.there(out / n) for n in files}
    head = checkout.commit_of("HEAD")
    try:
        outputs.write(out, files)
        return checkout.commit(message(moves), paths)
    except BaseException:
        if checkout.commit_of("HEAD") != head:
            raise  # committed, and then interrupted
        outputs.write(out, {n: data for n, data in old.items() if data is not None})
        for name in (n for n, data in old.items() if data is None):
            (out / name).unlink(missing_ok=True)
        raise


def subject(moves: list[Move]) -> str:
    """``Bump upstream: v5.0.0 → v5.1.0 (causal)``."""
    refs = dict.fromkeys(m.lock["upstream"]["ref"] for m in moves)
    who = ", ".join(m.series.name for m in moves)
    return f"Bump upstream: {', '.join(refs)} → {moves[0].new.upstream.ref} ({who})"


def message(moves: list[Move]) -> str:
    """The commit message: refs, commit ids, and the sheet's changes in numbers."""
    parts = [subject(moves)]
    for move in moves:
        first, *rest = summary(move)
        parts.append("\n".join([first, *(f"  {line}" for line in rest)]))
    return "\n\n".join(parts) + "\n"


def summary(move: Move) -> list[str]:
    """One move in lines: the refs first, then what it changes in the review sheet, in numbers."""
    new, old, was = move.new, move.old, move.lock["upstream"]
    up = new.upstream
    lines = [
        f"{move.series.script}: {was['ref']} → {up.ref}",
        f"upstream {shown_repo(up)}",
        f"from {was['commit'] or 'a file of its own'}",
        f"to   {up.commit}",
    ]
    if old is None:
        return [
            *lines,
            f"{len(new.patches)} patches apply; {new.lines_changed} places of upstream changed",
            "upstream's text at the old commit is not to be had: nothing to compare with",
        ]
    if old.upstream.blob == up.blob:
        return [*lines, "upstream's script is the same at both"]
    before, after = _arguments(old), _arguments(new)
    gained, lost = [a for a in after if a not in before], [b for b in before if b not in after]
    edited = [
        p.name for p, q in zip(new.patches, old.patches, strict=True) if _edits(p) != _edits(q)
    ]
    return [
        *lines,
        f"upstream lines: {_lines(old)} → {_lines(new)}",
        f"patches: {len(new.patches)} apply; {len(edited)} meet changed code{_listed(edited)}",
        f"places of upstream changed: {old.lines_changed} → {new.lines_changed}",
        f"arguments upstream added: {len(gained)}{_listed(gained)}",
        f"arguments upstream removed: {len(lost)}{_listed(lost)}",
        "what upstream's script does otherwise:",
        *(f"- {line}" for line in deeds(old.upstream.text, up.text)),
    ]


@functools.cache
def deeds(old: str, new: str) -> tuple[str, ...]:
    """What upstream's new text does and the old did not; says so where that is nothing."""
    return tuple(changes(old, new)) or ("does as before, as far as stand-ins can tell",)


def _lines(result: Result) -> int:
    return result.upstream.text.count("\n")


def _listed(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _arguments(result: Result) -> list[str]:
    return list(Script(result.upstream.text).definitions())


def _edits(patch) -> list[tuple]:
    """What a patch does, wherever it stands: all of a change but its line numbers."""
    return [(c.kind, c.where, c.what, c.code, c.digest) for c in patch.changes]

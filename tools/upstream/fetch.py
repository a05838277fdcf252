"""Fetch, pin and cache one file of a transformers release: run_clm.py.

    fetch(DEFAULT_REPO, "v5.1.0").text

A tag or a full commit in the cache needs no network, no git and no GitPython; a branch moves, so
it always asks the repository. Every error is a UserError of one line; no error, cache entry or
result holds the credentials of an address.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import regular
from tools.errors import UserError
from tools.upstream import cache
from tools.upstream.address import Address, address

if TYPE_CHECKING:
    from tools.upstream.git import Session

PATH = "examples/pytorch/language-modeling/run_clm.py"
DEFAULT_REPO = "https://github.com/huggingface/transformers"

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_SHORT = re.compile(r"[0-9a-fA-F]{7,39}")
_RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
# No shell ever sees a ref. These are refused because no release is named so, and a mistake is.
_BAD_REF = re.compile(r"""[\x00-\x20\x7f~^:?*\[\\;&|$`<>(){}'"!]|\.\.|@\{|//""")
# A coding line as Python reads it (PEP 263): the first line, or the second after a comment.
_CODING = re.compile(
    rb"(?:[ \t\f]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))??[ \t\f]*#[^\r\n]*?coding[:=][ \t]*([-\w.]+)"
)


@dataclass(frozen=True)
class Upstream:
    """One file of one commit. `repo` has no credentials; `blob` is git's name for the bytes."""

    repo: str
    ref: str
    commit: str
    blob: str
    path: str
    text: str


def check_ref(ref: str) -> None:
    """Raise UserError unless `ref` can be the name of a tag or a branch, or a commit."""
    parts = ref.split("/")
    good = 0 < len(ref) < 256 and ref.isprintable() and not _BAD_REF.search(ref) and ref != "@"
    good = good and not ref.startswith("-") and not ref.endswith(".") and all(parts)
    if not good or any(part.startswith(".") or part.endswith(".lock") for part in parts):
        raise UserError(
            f"ref {ref[:80]!a} refused, git allows no such name: "
            "give a tag like v5.1.0, a branch, or a commit of 40 digits"
        )


def _check_path(path: str) -> None:
    if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
        raise UserError(f"file {path[:80]!a} refused: give a path inside the repository")


def _upstream(repo: str, ref: str, commit: str, path: str, data: bytes) -> Upstream:
    where = path if repo == "file" else f"{path} at {ref} of {repo}"
    if len(data) > regular.LIMIT:
        raise UserError(regular.too_large(where))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8 (byte {error.start}): give another ref, or the right file"
        ) from None
    coding = _CODING.match(data.removeprefix(b"\xef\xbb\xbf"))
    if coding and not re.match(rb"utf[-_]?8(?:-|$)", coding[1].lower()):
        raise UserError(
            f"{where} declares the coding {coding[1].decode()[:40]}, and this tool writes UTF-8: "
            "give it in UTF-8, and without that line"
        )
    return Upstream(repo, ref, commit, cache.blob_id(data), path, text)


def fetch(
    repo: str,
    ref: str,
    *,
    path: str = PATH,
    refresh: bool = False,
    pin: Mapping[str, str] | None = None,
) -> Upstream:
    """The file `path` of `repo` at `ref`: a tag, a branch, or a commit of 40 digits.

    A tag wins over a branch of the same name. Tags and commits come from the cache when it has
    them; `refresh` asks the repository for a tag again. `pin` (a lock's commit, path, blob and
    sha256) says what the file must be at that commit: a cache that has another is passed over.
    Raises UserError: a refused address or ref, an unknown ref, an unreachable repository, a file
    that is absent, not UTF-8, too large or not as pinned, a cache that cannot be written, no git.
    """
    at = address(repo)
    check_ref(ref)
    _check_path(path)
    known = cache.load_ref(at.key, ref)
    commit = _cached_commit(ref, known, refresh)
    data = _kept(commit, path, pin) if commit else None
    if data is not None:
        return _upstream(at.shown, ref, commit, path, data)
    from tools.upstream import git as git_fetch

    with cache.scratch() as folder, _shown(f"asking {at.shown} for {ref}"):
        session = git_fetch.Session(at, folder)
        try:
            if commit:
                commit, tree, kind = _again(session, at, ref, commit, known)
            else:
                commit, tree, kind = resolve(session, at, ref)
            data = _kept(commit, path, pin)
            fresh = data is None
            if fresh:
                data = session.read(tree, path)
        except git_fetch.GitError as error:
            session.fail(error, f"fetching {path} at {ref}")
    if data is None:
        raise UserError(f"{at.shown} has no file {path} at {ref} ({commit}): give another ref")
    if not _as_pinned(commit, path, data, pin):
        raise UserError(
            f"{path} of commit {commit} has blob {cache.blob_id(data)} in {at.shown}, and the lock "
            f"has {pin['blob']}: one of them was altered; restore the lock, or ask another "
            "TRANSFORMERS_REPO"
        )
    result = _upstream(at.shown, ref, commit, path, data)
    if fresh:
        cache.store(commit, path, data)
    if kind != "commit":
        cache.store_ref(at.key, at.shown, ref, kind, commit)
    return result


def _kept(commit: str, path: str, pin: Mapping[str, str] | None) -> bytes | None:
    """What the cache has, if it is what a lock pins to that commit."""
    data = cache.load(commit, path)
    return data if data is not None and _as_pinned(commit, path, data, pin) else None


def _as_pinned(commit: str, path: str, data: bytes, pin: Mapping[str, str] | None) -> bool:
    if pin is None or (commit, path) != (pin["commit"], pin["path"]):
        return True
    sha256 = hashlib.sha256(data).hexdigest()
    return (cache.blob_id(data), sha256) == (pin["blob"], pin["sha256"])


def _cached_commit(ref: str, known: dict[str, str] | None, refresh: bool) -> str:
    """The commit that `ref` is known to be without asking anybody, or ""."""
    if _COMMIT.fullmatch(ref):
        return ref.lower()
    return known["commit"] if known and known["kind"] == "tag" and not refresh else ""


@contextlib.contextmanager
def _shown(doing: str) -> Iterator[None]:
    """On a terminal, say what is waited for and how long by now: a server may be silent."""
    import multiprocessing

    if multiprocessing.parent_process() or sys.stderr is None or not sys.stderr.isatty():
        yield  # a sweep shows its own progress
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(doing, total=None)
        yield


def _again(
    session: Session, at: Address, ref: str, commit: str, known: dict[str, str] | None
) -> tuple[str, str, str]:
    """As _resolve, for a commit already known whose file the cache has lost or never had.

    A known tag keeps its commit, even where the tag has moved since: only `refresh` moves it.
    """
    from tools.upstream.git import GitError

    kind = known["kind"] if known else "commit"
    try:
        return (*session.pin(commit), kind)
    except GitError as error:
        if error.kind != "refused" or kind != "tag":
            raise
    now, tree, kind = resolve(session, at, ref)  # some servers give no commit but a tip
    if now != commit:
        raise UserError(
            f"tag {ref} of {at.shown} moved from {commit} to {now}, and the old commit is gone "
            "from there: refresh to accept the new one"
        )
    return now, tree, kind


def resolve(session: Session, at: Address, ref: str) -> tuple[str, str, str]:
    """(commit, tree, kind) of a ref, asked of the repository: tag first, then branch, commit."""
    from tools.upstream.git import GitError

    if _COMMIT.fullmatch(ref):
        return (*session.pin(ref.lower()), "commit")
    names = {f"refs/tags/{ref}": "tag", f"refs/heads/{ref}": "branch"}
    if ref.startswith("refs/") or ref == "HEAD":
        names = {ref: "tag" if ref.startswith("refs/tags/") else "branch"}
    for name, kind in names.items():
        try:
            return (*session.pin(name), kind)
        except GitError as error:
            if error.kind != "missing":
                raise
    if _SHORT.fullmatch(ref):
        raise UserError(
            f"{at.shown} has no tag or branch {ref}: of a commit, give all 40 digits (git rev-parse)"
        )
    tags = session.tags()
    if not tags:
        raise UserError(
            f"{at.shown} has no tag or branch {ref}, nor any tag at all, as where something else than "
            "a git repository answers: check TRANSFORMERS_REPO"
        )
    import difflib

    near = difflib.get_close_matches(ref, tags, 5, 0.5)
    advice = (
        f"nearest tags: {', '.join(near)}" if near else "no tag is like it: give one like v5.1.0"
    )
    raise UserError(f"{at.shown} has no tag or branch {ref}; {advice}")


def from_file(path: str | os.PathLike[str]) -> Upstream:
    """UPSTREAM_FILE: a file of one's own, exactly as it is.

    `ref` and `path` are its base name, so that no folder of this machine ends up in an output.
    Raises UserError when it cannot be read, is too large or is not UTF-8.
    """
    name = os.path.abspath(os.path.expanduser(os.fspath(path)))
    base = os.path.basename(name)
    try:
        if not base.isprintable():
            raise ValueError("its name has control characters")
        data = regular.read(name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot read {name!a} ({reason}): set UPSTREAM_FILE to the path of a run_clm.py"
        ) from None
    return _upstream("file", base, "", base, data)


def release_tags(repo: str, since: str = "v4.28.0") -> list[str]:
    """The final releases vX.Y.Z of `repo` from `since` on, oldest first. Asks the repository.

    Raises UserError when the repository is refused or unreachable, or `since` is no release.
    """
    first = _RELEASE.fullmatch(since)
    if not first:
        raise UserError(f"{since[:80]!a} is not a release: give one like v4.28.0")
    at = address(repo)
    from tools.upstream import git as git_fetch

    with cache.scratch() as folder, _shown(f"asking {at.shown} for its releases"):
        session = git_fetch.Session(at, folder)
        try:
            tags = session.tags()
        except git_fetch.GitError as error:
            session.fail(error, "listing the releases")
    numbers = {m: tuple(map(int, m.groups())) for m in map(_RELEASE.fullmatch, tags) if m}
    low = tuple(map(int, first.groups()))
    return [m[0] for m in sorted(numbers, key=numbers.__getitem__) if numbers[m] >= low]


def cached(repo: str | None = None) -> list[Upstream]:
    """Everything the cache holds (of `repo` only, if given), each entry hash-verified.

    One Upstream for each known ref and file; a file that no ref names comes with its commit as
    ref and repo "". UserError when `repo` is no address.
    """
    key = address(repo).key if repo is not None else None
    held: dict[str, list[tuple[str, bytes]]] = {}
    for commit, path, data in cache.entries():
        held.setdefault(commit, []).append((path, data))
    names = [r for r in cache.refs() if key is None or address(r["repo"]).key == key]
    if key is None:
        unnamed = held.keys() - {r["commit"] for r in names}
        names += [{"repo": "", "ref": commit, "commit": commit} for commit in unnamed]
    found = [
        _upstream(r["repo"], r["ref"], r["commit"], path, data)
        for r in names
        for path, data in held.get(r["commit"], ())
    ]

    def order(item: Upstream) -> tuple[str, list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", item.ref)
        return item.repo, [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], item.path

    return sorted(found, key=order)

"""Fetch, pin and cache one file of a transformers release: run_clm.py.

    fetch(DEFAULT_REPO, "v5.1.0").text

A tag or a full commit in the cache needs no network, no git and no GitPython; a branch moves, so
it always asks the repository. Every error is a UserError of one line; no error, cache entry or
result holds the credentials of an address.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.errors import UserError
from tools.upstream import cache
from tools.upstream.address import Address, address

if TYPE_CHECKING:
    from tools.upstream.git import Session

PATH = "examples/pytorch/language-modeling/run_clm.py"
DEFAULT_REPO = "https://github.com/huggingface/transformers"

_HEX = re.compile(r"[0-9a-fA-F]{7,40}")
_RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
# No shell ever sees a ref. These are refused because no release is named so, and a mistake is.
_BAD_REF = re.compile(r"""[\x00-\x20\x7f~^:?*\[\\;&|$`<>(){}'"!]|\.\.|@\{|//""")


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
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} at {ref} of {repo} is not UTF-8 (byte {error.start}): "
            "give another ref, or the right file"
        ) from None
    return Upstream(repo, ref, commit, cache.blob_id(data), path, text)


def fetch(
    repo: str, ref: str, *, path: str = PATH, refresh: bool = False, offline: bool = False
) -> Upstream:
    """The file `path` of `repo` at `ref`: a tag, a branch, or a commit (7 to 40 digits).

    A tag wins over a branch of the same name. Tags and commits come from the cache when it has
    them; `refresh` asks the repository for a tag again; `offline` forbids the network, not a
    local repository. Raises UserError: a refused address or ref, an unknown ref, an unreachable
    repository, a file that is absent or not UTF-8, a cache that cannot be written, no git.
    """
    at = address(repo)
    check_ref(ref)
    _check_path(path)
    known = cache.load_ref(at.key, ref)
    commit = _cached_commit(ref, known, refresh)
    data = cache.load(commit, path) if commit else None
    if data is not None:
        return _upstream(at.shown, ref, commit, path, data)
    if offline and not at.local:
        last = f"; it was {known['commit']} when last asked, give that" if known else ""
        raise UserError(
            f"{ref} of {at.shown} is not in the cache {cache.root()} to use offline{last}: "
            "fetch it once with the network, or set UPSTREAM_FILE=path"
        )
    from tools.upstream import git as git_fetch

    with cache.scratch() as folder:
        session = git_fetch.Session(at, folder, offline=offline)
        try:
            if commit:
                commit, tree, kind = _again(session, at, ref, commit, known)
            else:
                commit, tree, kind = _resolve(session, at, ref)
            data = cache.load(commit, path)
            fresh = data is None
            if fresh:
                data = session.read(tree, path)
        except git_fetch.GitError as error:
            session.fail(error, f"fetching {path} at {ref}")
    if data is None:
        raise UserError(f"{at.shown} has no file {path} at {ref} ({commit}): give another ref")
    result = _upstream(at.shown, ref, commit, path, data)
    if fresh:
        cache.store(commit, path, data)
    cache.store_ref(at.key, at.shown, ref, kind, commit)
    return result


def _cached_commit(ref: str, known: dict[str, str] | None, refresh: bool) -> str:
    """The commit that `ref` is known to be without asking anybody, or ""."""
    if known and (known["kind"] == "commit" or (known["kind"] == "tag" and not refresh)):
        return known["commit"]
    if not _HEX.fullmatch(ref) or known:
        return ""
    if len(ref) == 40:
        return ref.lower()
    found = cache.commits(ref.lower())
    if len(found) > 1:
        raise UserError(f"{ref} is short for {len(found)} commits in the cache: give more digits")
    return found[0] if found else ""


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
    now, tree, kind = _resolve(session, at, ref)  # some servers give no commit but a tip
    if now != commit:
        raise UserError(
            f"tag {ref} of {at.shown} moved from {commit} to {now}, and the old commit is gone "
            "from there: refresh to accept the new one"
        )
    return now, tree, kind


def _resolve(session: Session, at: Address, ref: str) -> tuple[str, str, str]:
    """(commit, tree, kind) of a ref, asked of the repository: tag first, then branch, commit."""
    from tools.upstream.git import GitError, nearest_tags

    if len(ref) == 40 and _HEX.fullmatch(ref):
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
    if not _HEX.fullmatch(ref):
        tags = nearest_tags(ref, session.tags())
        advice = (
            f"nearest tags: {', '.join(tags)}"
            if tags
            else "no tag is like it: give one like v5.1.0"
        )
        raise UserError(f"{at.shown} has no tag or branch {ref}; {advice}")
    if not at.local:
        raise UserError(
            f"{at.shown} has no tag or branch {ref}, and only a local clone can complete "
            "a short commit: give all 40 digits"
        )
    try:
        return (*session.pin(session.expand(ref)), "commit")
    except GitError as error:
        if error.kind == "ambiguous":
            raise UserError(f"{ref} is short for several commits: give more digits") from None
        if error.kind:
            raise
        raise UserError(
            f"{at.shown} has no tag, branch or commit {ref}: give a tag like v5.1.0, "
            "or all 40 digits of a commit it has"
        ) from None


def from_file(path: str | os.PathLike[str]) -> Upstream:
    """UPSTREAM_FILE: a file of one's own, exactly as it is.

    `ref` and `path` are its base name, so that no folder of this machine ends up in an output.
    Raises UserError when it cannot be read or is not UTF-8.
    """
    name = os.path.abspath(os.path.expanduser(os.fspath(path)))
    try:
        with open(name, "rb") as stream:
            data = stream.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise UserError(
            f"cannot read {name!a} ({reason}): set UPSTREAM_FILE to the path of a run_clm.py"
        ) from None
    base = os.path.basename(name)
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

    with cache.scratch() as folder:
        session = git_fetch.Session(at, folder)
        try:
            tags = session.tags()
        except git_fetch.GitError as error:
            session.fail(error, "listing the releases")
    numbers = {m: tuple(map(int, m.groups())) for m in map(_RELEASE.fullmatch, tags) if m}
    low = tuple(map(int, first.groups()))
    return [m[0] for m in sorted(numbers, key=numbers.__getitem__) if numbers[m] >= low]


def measure_fetch(repo: str, ref: str) -> int:
    """Bytes over the wire, both ways, for a cold fetch of PATH; neither reads nor fills the cache.

    Measured as the size of the pack files received, plus every protocol line that git traced
    (GIT_TRACE_PACKET), lengths and newlines included. Leaves out what HTTP, TLS and ssh add.
    Raises UserError as fetch does.
    """
    import tempfile

    from tools.upstream import git as git_fetch

    at = address(repo)
    check_ref(ref)
    with tempfile.TemporaryDirectory(prefix="run-clm-lora-", ignore_cleanup_errors=True) as folder:
        session = git_fetch.Session(at, folder, trace=True)
        try:
            commit, tree, _ = _resolve(session, at, ref)
            if session.read(tree, PATH) is None:
                raise UserError(f"{at.shown} has no file {PATH} at {ref} ({commit})")
            return session.bytes_received()
        except git_fetch.GitError as error:
            session.fail(error, f"measuring {PATH} at {ref}")


def cached(repo: str | None = None) -> list[Upstream]:
    """Everything the cache holds (of `repo` only, if given), each entry hash-verified.

    One Upstream for each known ref and file; a file that no ref names comes with its commit as
    ref and repo "". UserError when `repo` is no address.
    """
    key = address(repo).key if repo is not None else None
    found: list[Upstream] = []
    held: dict[str, list[tuple[str, bytes]]] = {}
    for commit, path, data in cache.files():
        held.setdefault(commit, []).append((path, data))
    named = set()
    for record in cache.refs():
        named.add(record["commit"])
        if key is None or address(record["repo"]).key == key:
            for path, data in held.get(record["commit"], ()):
                found.append(_upstream(record["repo"], record["ref"], record["commit"], path, data))
    if key is None:
        for commit in held.keys() - named:
            found += [_upstream("", commit, commit, path, data) for path, data in held[commit]]

    def order(item: Upstream) -> tuple[str, list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", item.ref)
        return item.repo, [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], item.path

    return sorted(found, key=order)

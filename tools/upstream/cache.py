"""The cache of fetched upstream files: atomic to write, verified to read, safe to share.

Layout, under ``$XDG_CACHE_HOME/run-clm-lora`` (default ``~/.cache/run-clm-lora``)::

    files/<commit>-<hash of the path>   one JSON line {blob, commit, path}, then the exact bytes
    refs/<hash of repository and ref>   one JSON line {commit, kind, ref, repo, sum}
    tmp/                                throw-away git folders, removed after a day

A commit names its content, so ``files`` is shared by every repository that serves that commit.
Nothing here imports git, rich or the network: this is the whole of the warm path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator

from tools import regular
from tools.errors import UserError

STALE_SECONDS = 24 * 3600
_HEAD = 10_000  # bytes of an entry's first line, at most


def blob_id(data: bytes) -> str:
    """The name git gives these bytes: sha1 of ``blob <length>``, a NUL and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def root() -> str:
    """The cache folder, which need not exist; a relative XDG_CACHE_HOME is ignored, as XDG asks.

    UserError where nobody says which folder is home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~") if os.environ.get("HOME", "unset") else ""
        if not os.path.isabs(home):
            raise UserError("no home folder to keep a cache in: set XDG_CACHE_HOME to a folder")
        base = os.path.join(home, ".cache")
    return os.path.join(base, "run-clm-lora")


def _file(commit: str, path: str) -> str:
    return os.path.join(
        root(), "files", f"{commit}-{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    )


def _ref_file(key: str, ref: str) -> str:
    name = hashlib.sha256(f"{key}\0{ref}".encode()).hexdigest()[:40]
    return os.path.join(root(), "refs", name)


def _sum(record: dict[str, str]) -> str:
    fields = "\0".join(record[name] for name in ("repo", "ref", "kind", "commit"))
    return hashlib.sha256(fields.encode()).hexdigest()


def _read(name: str) -> tuple[dict[str, str], bytes] | None:
    """The header and body of one entry; None when absent; an entry that is no entry is removed."""
    try:
        head, newline, body = regular.read(name, regular.LIMIT + _HEAD).partition(b"\n")
        header = json.loads(head)
        if newline and isinstance(header, dict) and all(type(v) is str for v in header.values()):
            return header, body
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        pass
    _discard(name)
    return None


def _discard(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)


def _write(name: str, data: bytes) -> None:
    """Replace `name` in one step: a reader, or a kill, sees the old entry or the new, whole."""
    import tempfile

    try:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=os.path.dirname(name))
        try:
            with open(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, name)
        except BaseException:
            _discard(draft)
            raise
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            folder = os.open(os.path.dirname(name), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise _unwritable(error, name) from None


def _unwritable(error: OSError, name: str) -> UserError:
    reason = error.strerror or type(error).__name__
    return UserError(
        f"cannot write {name} of the cache ({reason}): free or permit it, "
        "or set XDG_CACHE_HOME to another folder"
    )


def load(commit: str, path: str) -> bytes | None:
    """The bytes of `path` at `commit`, hash-verified; None when absent or found corrupted."""
    return _verified(_file(commit, path), commit, path)


def _verified(name: str, commit: str, path: str) -> bytes | None:
    entry = _read(name)
    if entry is None:
        return None
    header, body = entry
    if header != {"blob": blob_id(body), "commit": commit, "path": path}:
        _discard(name)
        return None
    return body


def store(commit: str, path: str, data: bytes) -> None:
    """Keep the bytes of `path` at `commit`. UserError when the cache cannot be written."""
    header = json.dumps({"blob": blob_id(data), "commit": commit, "path": path}, sort_keys=True)
    _write(_file(commit, path), header.encode() + b"\n" + data)


def load_ref(key: str, ref: str) -> dict[str, str] | None:
    """The record {commit, kind, ref, repo, sum} of a ref of the repository `key`, or None."""
    record = _checked_ref(_ref_file(key, ref))
    return record if record and record["ref"] == ref else None


def _checked_ref(name: str) -> dict[str, str] | None:
    entry = _read(name)
    if entry is None:
        return None
    record = entry[0]
    if set(record) != {"repo", "ref", "kind", "commit", "sum"} or record["sum"] != _sum(record):
        _discard(name)
        return None
    return record


def store_ref(key: str, repo: str, ref: str, kind: str, commit: str) -> None:
    """Remember that `ref` (a tag, a branch or a commit: `kind`) of `repo` was `commit`."""
    record = {"repo": repo, "ref": ref, "kind": kind, "commit": commit}
    if load_ref(key, ref) != {**record, "sum": _sum(record)}:
        line = json.dumps({**record, "sum": _sum(record)}, sort_keys=True) + "\n"
        _write(_ref_file(key, ref), line.encode())


def _names(folder: str) -> list[str]:
    try:
        names = os.listdir(os.path.join(root(), folder))
    except OSError:
        return []
    return sorted(name for name in names if not name.startswith("."))


def refs() -> Iterator[dict[str, str]]:
    """Every ref record that passes its check."""
    for name in _names("refs"):
        record = _checked_ref(os.path.join(root(), "refs", name))
        if record:
            yield record


def entries() -> Iterator[tuple[str, str, bytes]]:
    """(commit, path, bytes) of every entry that passes its check."""
    for name in _names("files"):
        full = os.path.join(root(), "files", name)
        entry = _read(full)
        if entry is None:
            continue
        commit, path = name[:40], entry[0].get("path", "")
        body = _verified(full, commit, path)
        if body is not None and full == _file(commit, path):
            yield commit, path, body


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """A folder of one's own under the cache, gone at the end; day-old leftovers go first."""
    import shutil
    import tempfile

    base = os.path.join(root(), "tmp")
    try:
        os.makedirs(base, exist_ok=True)
        _sweep()
        folder = tempfile.mkdtemp(prefix="fetch-", dir=base)
    except OSError as error:
        raise _unwritable(error, base) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what a killed run left: throw-away folders and half-written drafts, if a day old."""
    import shutil

    old = time.time() - STALE_SECONDS
    for folder, prefix in (("tmp", "fetch-"), ("files", ".draft-"), ("refs", ".draft-")):
        base = os.path.join(root(), folder)
        for name in os.listdir(base) if os.path.isdir(base) else ():
            left = os.path.join(base, name)
            with contextlib.suppress(OSError):  # another process may sweep it first
                if name.startswith(prefix) and os.lstat(left).st_mtime < old:
                    if folder == "tmp":
                        shutil.rmtree(left, ignore_errors=True)
                    else:
                        os.unlink(left)

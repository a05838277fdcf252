"""What a regenerate leaves behind: the script, its lock, its review sheet; written all or none.

Files are staged in a folder beside their targets; one rename makes the set complete, and only
then do they move into place. A kill before that rename changes nothing; after it, whoever next
holds the folder finishes the move. So no reader is left with a script of one run and a lock of
another.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools import regular
from tools.errors import UserError
from tools.regenerate import sheet
from tools.regenerate.transform import Result, shown_repo
from tools.running import undisturbed
from tools.upstream import cache
from tools.upstream import fetch as upstream
from tools.upstream.fetch import Upstream

PENDING = ".pending"
FORMAT = 1
_LARGEST = 5 * regular.LIMIT  # bytes of an output that is read again
_TEXT, _SHA1, _SHA256 = ".+", "[0-9a-f]{40}", "[0-9a-f]{64}"
_SHAPE = {
    "format": FORMAT,
    "series": _TEXT,
    "upstream": {
        "repo": _TEXT,
        "ref": _TEXT,
        "commit": f"(?:{_SHA1})?",
        "path": _TEXT,
        "blob": _SHA1,
        "sha256": _SHA256,
    },
    "patches": [{"name": _TEXT, "sha256": _SHA256}],
    "output": {"file": _TEXT, "sha256": _SHA256},
}


def names(script: str) -> tuple[str, str, str]:
    """File names of the script, its lock and its review sheet."""
    stem = script.removesuffix(".py")
    return script, f"{stem}.lock.json", f"{stem}.review.md"


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def render(result: Result) -> dict[str, bytes]:
    """File name → content, of everything a regenerate writes."""
    script, lock, review = names(result.series.script)
    text = result.text.encode()
    return {
        script: text,
        lock: (json.dumps(_lock(result, _sha(text)), indent=2) + "\n").encode(),
        review: sheet.render(result).encode(),
    }


def _lock(result: Result, digest: str) -> dict:
    up = result.upstream
    return {
        "format": FORMAT,
        "series": result.series.name,
        "upstream": {
            "repo": shown_repo(up),
            "ref": up.ref,
            "commit": up.commit,
            "path": up.path,
            "blob": up.blob,
            "sha256": _sha(up.text.encode()),
        },
        "patches": [{"name": e.name, "sha256": e.digest} for e in result.series.entries],
        "output": {"file": result.series.script, "sha256": digest},
    }


def read_lock(out: Path, script: str) -> dict | None:
    """The lock in ``out``; None where there is none. UserError for one that cannot be read.

    A set whose move a kill cut short is moved into place first.
    """
    file = out / names(script)[1]
    try:
        if (out / PENDING).is_dir():
            with held(out):
                pass
        lock = json.loads(regular.read(file))
        if isinstance(lock, dict) and type(lock.get("format")) is int and lock["format"] > FORMAT:
            raise UserError(f"{file} was made by a newer tool than this: update this checkout")
        if wrong := _unlike(lock, _SHAPE):
            raise ValueError(f"it is not a lock of this tool, by its {wrong}")
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UserError(
            f"{out} is not a folder: give OUT one that is, or does not exist yet"
        ) from None
    except json.JSONDecodeError as error:
        raise _unreadable(file, f"it is not JSON (line {error.lineno})") from None
    except UnicodeDecodeError:
        raise _unreadable(file, "it is not UTF-8") from None
    except RecursionError:
        raise _unreadable(file, "it is nested too deep") from None
    except (OSError, ValueError) as error:
        raise _unreadable(file, getattr(error, "strerror", None) or str(error)) from None
    return lock


def _unreadable(file: Path, reason: str) -> UserError:
    return UserError(f"cannot read {file} ({reason}): restore it, or remove it")


def _unlike(value: object, shape: object, where: str = "shape") -> str:
    """The first place where ``value`` is not of that ``shape``; "" where there is none."""
    if isinstance(shape, dict) and isinstance(value, dict):
        inside = [(value.get(key), inner, key) for key, inner in shape.items()]
    elif isinstance(shape, list) and isinstance(value, list):
        inside = [(one, shape[0], where) for one in value]
    elif isinstance(shape, str) and isinstance(value, str):
        return "" if value.isprintable() and re.fullmatch(shape, value) else where
    else:
        return "" if type(value) is type(shape) and value == shape else where
    return next(filter(None, (_unlike(*one) for one in inside)), "")


def not_moved(found: Upstream, lock: dict | None, accept: bool) -> None:
    """Refuse a tag that is not the commit it was, until told."""
    if lock is None or accept or not found.commit:
        return
    old = lock["upstream"]
    same = old["ref"] == found.ref and old["repo"] == shown_repo(found)
    if not same or old["commit"] == found.commit:
        return
    known = cache.load_ref(upstream.address(found.repo).key, found.ref)
    if known is None or known["kind"] != "branch":
        raise UserError(
            f"tag {found.ref} of {old['repo']} is now {found.commit}, the lock has {old['commit']}: "
            "find out why it moved, then say ACCEPT_MOVED=1 (--accept-moved)"
        )


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold ``out`` against other regenerations, finishing first what a killed one had committed.

    UserError when it cannot be made or written, or another process holds it.
    """
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with explained(out):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another regenerate is writing {out}: wait for it, or give another OUT"
                ) from None
            _recover(out)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def explained(out: Path) -> Iterator[None]:
    """Turn an OSError into one line about the output folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"cannot write the output folder {out} ({reason}): nothing was changed there; "
            "free or permit it, or give another OUT"
        ) from None


def _recover(out: Path) -> None:
    for left in out.glob(f"{PENDING}-*"):  # a run that was killed before its set was complete
        shutil.rmtree(left)
    if (out / PENDING).is_dir():
        _move_into_place(out)


def _move_into_place(out: Path) -> None:
    for name in sorted(os.listdir(out / PENDING)):
        os.replace(out / PENDING / name, out / name)
    _sync(out)
    os.rmdir(out / PENDING)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(out: Path, files: dict[str, bytes]) -> list[str]:
    """Put ``files`` into ``out``, which must be held. Returns the names that changed."""
    changed = [n for n, data in files.items() if there(out / n) != data]
    if not changed:
        return []
    with explained(out):
        staging = Path(tempfile.mkdtemp(prefix=f"{PENDING}-", dir=out))
        try:
            for name in changed:
                with open(staging / name, "wb") as stream:
                    stream.write(files[name])
                    stream.flush()
                    os.fsync(stream.fileno())
            _sync(staging)
            with undisturbed():
                os.rename(staging, out / PENDING)
                _move_into_place(out)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return changed


def there(file: Path) -> bytes | None:
    """What an output holds; None where there is none. UserError for what cannot be read as a file."""
    try:
        return regular.read(file, _LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(
            f"cannot read {file} ({error.strerror}): move it away, or give another OUT"
        ) from None


def differences(out: Path, files: dict[str, bytes], optional: str) -> list[str]:
    """Unified diff of what is in ``out`` against ``files``, as lines; empty where all agree.

    ``optional`` names the file that may be missing: the script, which is not tracked.
    """
    lines: list[str] = []
    for name, data in files.items():
        old = there(out / name)
        if old == data or (old is None and name == optional):
            continue
        before = [] if old is None else old.decode(errors="replace").splitlines()
        where = f"{out / name}{' (missing)' if old is None else ''}"
        lines += difflib.unified_diff(
            before, data.decode().splitlines(), where, f"{name}, regenerated", lineterm=""
        )
    return lines

"""tools/regenerate/outputs.py: all or nothing, whatever happens to the process or the disk."""

from __future__ import annotations

import functools
import json
import operator
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import no_files
from tools.errors import UserError
from tools.regenerate import outputs

ROOT = Path(__file__).resolve().parents[2]
OLD = {
    "script.py": b"old script\n",
    "script.lock.json": b"old lock\n",
    "script.review.md": b"old\n",
}
NEW = {
    "script.py": b"new script\n",
    "script.lock.json": b"new lock\n",
    "script.review.md": b"new\n",
}

# Writes NEW into argv[1], and sends itself the signal argv[4] at the argv[2]-th call that changes
# the disk.
KILLED = """
import os, signal, sys, shutil
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from tests.regenerate.test_outputs import NEW
from tools import running
from tools.regenerate import outputs

left = int(sys.argv[2])

def counted(call):
    def wrapper(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(sys.argv[4]))
        return call(*args, **kwargs)
    return wrapper

for name in ("mkdir", "rename", "replace", "rmdir", "fsync", "unlink", "open"):
    setattr(os, name, counted(getattr(os, name)))

def main():
    with outputs.held(Path(sys.argv[1])):
        outputs.write(Path(sys.argv[1]), NEW)
    print("done")
    return 0

sys.exit(running.run(main))
"""


def put(out: Path, files: dict[str, bytes]) -> list[str]:
    with outputs.held(out):
        return outputs.write(out, files)


def seen(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.iterdir() if p.is_file() and p.name != ".lock"}


def run(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        **options,
    )


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    assert put(tmp_path, OLD) == list(OLD)
    assert put(tmp_path, OLD) == []
    assert put(tmp_path, {**OLD, "script.py": b"x"}) == ["script.py"]
    assert seen(tmp_path) == {**OLD, "script.py": b"x"}


def test_a_kill_at_any_moment_leaves_the_old_set_or_the_new(tmp_path: Path) -> None:
    moments = {"old": 0, "new": 0}
    for moment in range(1, 100):
        out = tmp_path / str(moment)
        put(out, OLD)
        ran = run(KILLED, out, moment, ROOT, int(signal.SIGKILL))
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        with outputs.held(out):  # what the next command does first
            pass
        assert seen(out) in (OLD, NEW)
        assert not list(out.glob(".pending*"))
        moments["new" if seen(out) == NEW else "old"] += 1
    assert ran.stdout == "done\n"
    assert seen(out) == NEW
    assert moments["old"] > 5
    assert moments["new"] > 2


def test_a_signal_at_any_moment_leaves_the_old_set_or_the_new(tmp_path: Path) -> None:
    """By itself, without a next command to finish what was begun."""
    ended = set()
    for moment in range(1, 100, 2):
        out = tmp_path / str(moment)
        put(out, OLD)
        ran = run(KILLED, out, moment, ROOT, int(signal.SIGTERM))
        assert seen(out) in (OLD, NEW)
        assert not list(out.glob(".pending*"))
        if ran.returncode == 0:
            break
        assert ran.returncode == 128 + signal.SIGTERM, ran.stderr
        assert ran.stderr.startswith("interrupted: outputs are whole")
        ended.add(seen(out) == NEW)
    assert ended == {True, False}


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    with outputs.held(tmp_path), pytest.raises(UserError, match="another regenerate"):
        put(tmp_path, NEW)
    assert seen(tmp_path) == OLD


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    code = """
    import resource, signal, sys
    from pathlib import Path
    from tools.regenerate import outputs
    from tools.errors import UserError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        with outputs.held(Path(sys.argv[1])):
            outputs.write(Path(sys.argv[1]), {"script.lock.json": b"new", "script.py": b"x" * 5000})
    except UserError as error:
        print(error)
    """
    ran = run(code, tmp_path)
    assert "cannot write the output folder" in ran.stdout, ran.stderr
    assert "nothing was changed" in ran.stdout
    assert seen(tmp_path) == OLD
    assert not list(tmp_path.glob(".pending*"))


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot write the output folder"):
            put(out, NEW)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="Permission denied"):
        put(tmp_path, NEW)
    tmp_path.chmod(0o755)
    assert seen(tmp_path) == OLD


def test_a_folder_in_a_files_place(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    (tmp_path / "script.review.md").unlink()
    (tmp_path / "script.review.md").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        put(tmp_path, NEW)
    assert (tmp_path / "script.py").read_bytes() == OLD["script.py"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": true}', '{"format": 1, "upstream": 3}']
)
def test_a_lock_that_is_none(tmp_path: Path, text: str) -> None:
    assert outputs.read_lock(tmp_path, "script.py") is None
    (tmp_path / "script.lock.json").write_text(text)
    with pytest.raises(UserError, match=r"script\.lock\.json .*restore it, or remove it"):
        outputs.read_lock(tmp_path, "script.py")


def test_a_lock_of_a_newer_tool_is_not_to_be_removed(tmp_path: Path) -> None:
    for text in ('{"format": 2}', '{"format": 99, "upstream": []}'):
        (tmp_path / "script.lock.json").write_text(text)
        with pytest.raises(UserError, match="made by a newer tool") as caught:
            outputs.read_lock(tmp_path, "script.py")
        assert "remove" not in str(caught.value)


LOCK = {
    "format": 1,
    "series": "chatglm",
    "upstream": {
        "repo": "local clone",
        "ref": "v4.28.0",
        "commit": "a" * 40,
        "path": "run_clm.py",
        "blob": "b" * 40,
        "sha256": "c" * 64,
    },
    "patches": [{"name": "lora", "sha256": "d" * 64}],
    "output": {"file": "script.py", "sha256": "e" * 64},
}
FIELDS = [
    *([key] for key in LOCK),
    *(["upstream", key] for key in LOCK["upstream"]),
    *(["patches", 0], ["patches", 0, "name"], ["patches", 0, "sha256"]),
    *(["output", "file"], ["output", "sha256"]),
]
FREE = ("series", "repo", "ref", "path", "name", "file")  # any text of one line
WRONG = (0, 1.5, None, True, "\x1b[31m", "two\nlines", [3], [[]], [None], {}, {"a": {}}, "g" * 40)


@pytest.mark.parametrize("where", FIELDS, ids=lambda where: ".".join(map(str, where)))
def test_every_field_of_a_lock_is_checked(tmp_path: Path, where: list) -> None:
    file = tmp_path / "script.lock.json"
    file.write_text(json.dumps(LOCK))
    assert outputs.read_lock(tmp_path, "script.py") == LOCK
    *above, last = where
    for value in WRONG[: -1 if last in FREE else None]:
        lock = json.loads(json.dumps(LOCK))
        holder = functools.reduce(operator.getitem, above, lock)
        holder[last] = value
        file.write_text(json.dumps(lock))
        with pytest.raises(UserError, match="restore it, or remove it") as caught:
            outputs.read_lock(tmp_path, "script.py")
        assert str(caught.value).isprintable()
    if isinstance(holder, dict):
        del holder[last]
        file.write_text(json.dumps(lock))
        with pytest.raises(UserError, match="restore it, or remove it"):
            outputs.read_lock(tmp_path, "script.py")


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[" * 100_000, b"\0" * 50, b"NaN", b"1" * 9999]
)
def test_a_lock_of_noise(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "script.lock.json").write_bytes(data)
    with pytest.raises(UserError, match="restore it, or remove it") as caught:
        outputs.read_lock(tmp_path, "script.py")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("name", OLD)
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str, name: str) -> None:
    put(tmp_path, OLD)
    no_files.put(kind, tmp_path / name)
    before = os.lstat(tmp_path / name)
    with pytest.raises(UserError, match="cannot read"):
        put(tmp_path, NEW)
    with pytest.raises(UserError, match="cannot read"):
        outputs.differences(tmp_path, OLD, optional="script.py")
    if name.endswith(".lock.json"):
        with pytest.raises(UserError, match="cannot read"):
            outputs.read_lock(tmp_path, "script.py")
    assert os.lstat(tmp_path / name) == before
    assert not list(tmp_path.glob(".pending*"))


def test_whoever_reads_a_lock_finishes_a_move_that_was_cut_short(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    (tmp_path / outputs.PENDING).mkdir()
    for name in list(NEW)[1:]:  # the script was moved already
        (tmp_path / outputs.PENDING / name).write_bytes(NEW[name])
    (tmp_path / "script.py").write_bytes(NEW["script.py"])
    with pytest.raises(UserError, match="not JSON"):
        outputs.read_lock(tmp_path, "script.py")
    assert seen(tmp_path) == NEW


def test_differences_are_shown(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    assert outputs.differences(tmp_path, OLD, optional="script.py") == []
    shown = "\n".join(
        outputs.differences(tmp_path, {**OLD, "script.lock.json": b"x\n"}, "script.py")
    )
    assert "-old lock\n+x" in shown
    (tmp_path / "script.py").unlink()  # not tracked, so it may be missing
    assert outputs.differences(tmp_path, OLD, optional="script.py") == []
    (tmp_path / "script.review.md").unlink()
    assert "missing" in outputs.differences(tmp_path, OLD, optional="script.py")[0]

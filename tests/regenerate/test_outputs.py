"""tools/regenerate/outputs.py: all or nothing, whatever happens to the process or the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

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

# Writes NEW into argv[1], and kills itself at the argv[2]-th call that changes the disk.
KILLED = """
import os, signal, sys, shutil
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from tests.regenerate.test_outputs import NEW
from tools.regenerate import outputs

left = int(sys.argv[2])

def counted(call):
    def wrapper(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return wrapper

for name in ("mkdir", "rename", "replace", "rmdir", "fsync", "unlink", "open"):
    setattr(os, name, counted(getattr(os, name)))
with outputs.held(Path(sys.argv[1])):
    outputs.write(Path(sys.argv[1]), NEW)
print("done")
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
        ran = run(KILLED, out, moment, ROOT)
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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": true}', '{"format": 1, "upstream": 3}'])
def test_a_lock_that_is_none(tmp_path: Path, text: str) -> None:
    assert outputs.read_lock(tmp_path, "script.py") is None
    (tmp_path / "script.lock.json").write_text(text)
    with pytest.raises(UserError, match=r"script\.lock\.json .*restore it, or remove it"):
        outputs.read_lock(tmp_path, "script.py")


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

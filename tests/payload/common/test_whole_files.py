"""A disk that is full while a run saves: a real one, of half a megabyte, in a name space of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("transformers")
import whole_files
from user_error import UserError

INSIDE = """
import shutil, sys
from pathlib import Path
sys.path[:0] = {path!r}
import conftest
import test_adapter_trainer as t
import whole_checkpoint
from user_error import UserError
class Fill(t.transformers.TrainerCallback):
    def on_save(self, args, state, control, **kwargs):
        out = Path(args.output_dir)
        (out / "full").write_bytes(bytes(max(0, shutil.disk_usage(out).free - int(out.name))))
for left in {left}:
    out = Path({disk!r}, str(left))
    args = conftest.make_training_args(output_dir=str(out), max_steps=6, save_steps=2)
    trainer = t.make_trainer(args, conftest.data_arguments())
    trainer.add_callback(Fill())
    try:
        trainer.train()
        print("ENDED")
    except UserError as error:
        print("TOLD", error)
    print("WHOLE", whole_checkpoint._is_whole_checkpoint(str(out / "checkpoint-2")))
    print("LEFT", [p.name for p in out.iterdir() if p.name.startswith(".saving")])
    shutil.rmtree(out)
"""


def in_a_small_disk(script, folder):
    mount = f"mount -t tmpfs -o size=2m none {folder} && exec {sys.executable} {script}"
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount], capture_output=True, text=True, env=os.environ
    )


@pytest.fixture(scope="module")
def can_mount(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    script = folder.parent / "true.py"
    script.write_text("print(1)")
    if shutil.which("unshare") is None or in_a_small_disk(script, folder).returncode:
        pytest.skip("this system lets no user mount a small disk")


@pytest.mark.usefixtures("can_mount")
def test_a_full_disk_is_named(tmp_path):
    """Before the adapter, amid it, and after it."""
    disk, script, left = tmp_path / "disk", tmp_path / "run.py", (0, 3000, 60_000)
    disk.mkdir()
    script.write_text(INSIDE.format(path=sys.path, disk=str(disk), left=left))
    ran = in_a_small_disk(script, disk)
    for room in left:
        told = rf"TOLD The disk of '{disk}/{room}(/checkpoint-4)?' is full.*\nWHOLE True\nLEFT \[\]"
        assert re.search(told, ran.stdout), ran.stdout + ran.stderr[-3000:]


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(OSError, match="mine"), whole_files._full_disk_told(tmp_path):
        raise OSError("mine")
    with pytest.raises(UserError, match="mine"), whole_files._full_disk_told(tmp_path):
        raise UserError("mine")
    with pytest.raises(UserError, match="is full"), whole_files._full_disk_told(tmp_path):
        Path("/dev/full").write_text("x")

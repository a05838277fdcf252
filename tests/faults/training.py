"""A small training that may be hurt: how it is started, killed, resumed and compared.

Dropout is on and several steps make an epoch, so that a resumed run with other random states or at
another place of the data has other losses too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.outcome import EQUAL, Outcome, judge
from tests.smoke.conftest import ROOT, Runner, Zygote
from tests.toy_chatglm import build
from tools.training import launch

KINDS = {"one": 0, "zero2": 2, "zero3": 3}  # by name: ZeRO's stage, with two ranks
WHOLE = "whole"  # the output folder of the run that nobody hurt
HUNG = 180  # seconds; the slowest takes 20


@dataclass(frozen=True)
class Ran:
    status: int
    said: str


class Training:
    """Runs of one kind, all in the folder ``work``; those with the same ``steps`` are the same."""

    def __init__(self, kind: str, work: Path, steps: int, **given: object):
        self.stage, self.work = KINDS[kind], work
        self.zygote = Zygote(work / "home")
        model = build(work / "model", hidden_size=64)
        self.runner = Runner(work, model, self.zygote.home, self.zygote)
        self.given = {
            "do_train": True,
            "max_steps": steps,
            "lora_dropout": 0.1,
            "lr_scheduler_type": "linear",
            "save_strategy": "steps",
            "save_steps": 1,
            "per_device_train_batch_size": 1 if self.stage else 2,
            "per_device_eval_batch_size": 1,
            **given,
        }
        # Releases before 5 find the last checkpoint themselves.
        finds_it = "overwrite_output_dir" in self.runner.told
        self.resuming = {} if finds_it else {"resume_from_checkpoint": "true"}
        if self.stage:
            self.given["deepspeed"] = ROOT / "ds_configs" / f"cpu_zero{self.stage}.json"

    def start(self, out: str, **more: object) -> subprocess.Popen:
        """Start it in processes that can be killed together; what they print goes to a file."""
        launcher = launch.deepspeed(2) if self.stage else ()
        arguments = self.runner.arguments(out, **self.given, **more)
        with open(self.log(out), "wb") as log:
            return subprocess.Popen(
                [sys.executable, *launcher, str(self.runner.script), *arguments],
                cwd=self.work,
                env=self.runner.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, out: str, **more: object) -> Ran:
        """Run it to its end, which one that hangs is brought to."""
        if not self.stage:
            return Ran(*self.runner.fork(out, **self.given, **more))
        running = self.start(out, **more)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(HUNG)
        finally:
            kill(running)
        return Ran(running.returncode, self.log(out).read_text("utf-8", "replace"))

    def undisturbed(self) -> None:
        ran = self.run(WHOLE)
        if ran.status:
            raise RuntimeError(f"the undisturbed run failed:\n{ran.said[-3000:]}")

    def resume(self, out: str) -> Outcome:
        """Run the same command on what the folder holds, and compare with the undisturbed run."""
        newest = max(self.checkpoints(out), default=0)
        ran = self.run(out, **self.resuming)
        self.log(out).write_text(ran.said, encoding="utf-8")
        return judge(ran.status, ran.said, newest, "" if ran.status else self.compared(out))

    def compared(self, out: str) -> str:
        """EQUAL, or what differs from the undisturbed run: losses, or the adapter's bytes."""
        whole, others = self.runner.losses(WHOLE), self.runner.losses(out)
        if whole.keys() != others.keys():
            return f"losses of steps {sorted(others)}"
        if whole != others:
            return f"losses by {max(abs(whole[step] - others[step]) for step in whole):.2g}"
        return EQUAL if self._adapter(WHOLE) == self._adapter(out) else "the adapter"

    def _adapter(self, out: str) -> bytes:
        return next((self.work / out).glob("adapter_model.*")).read_bytes()

    def log(self, out: str) -> Path:
        return self.work / f"{out}.log"

    def checkpoints(self, out: str) -> dict[int, Path]:
        """The folders of the checkpoints by step, whole or not."""
        folders = (self.work / out).glob("checkpoint-*")
        return {int(folder.name.rpartition("-")[2]): folder for folder in folders}

    def stopped_after(self, last: int, first: int = 1) -> str:
        """Make the output folder of a run that was stopped after a step; its name."""
        out = f"stopped-after-{last}"
        shutil.rmtree(self.work / out, ignore_errors=True)
        for step in range(first, last + 1):
            name = f"checkpoint-{step}"
            shutil.copytree(self.work / WHOLE / name, self.work / out / name)
        return out

    def end(self) -> None:
        self.zygote.end()


def kill(running: subprocess.Popen) -> None:
    """Kill a launcher, and its ranks though it may have left them, with no time to clear up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()

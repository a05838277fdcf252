"""What an adapter of some kind is put through: trained, evaluated afresh, resumed, asked, merged."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import tiny_models, toy_chatglm
from tests.smoke.conftest import CAUSAL, ROWS, Runner, Zygote

STEPS, HALF = 8, 4
PARTS = ("trains", "reloads", "resumes", "predicts", "merges")
TOLERANCE = 1e-4


@dataclasses.dataclass
class Outcome:
    """What came out of each part: "yes", or what did not, in a word; and what was said of it."""

    trains: str = "–"
    reloads: str = "–"
    resumes: str = "–"
    predicts: str = "–"
    merges: str = "–"
    said: str = ""

    def cells(self) -> list[str]:
        return [getattr(self, part) for part in PARTS]


class Failure(Exception):
    """A run ended otherwise than it should: its last line."""


class Runs:
    """A model in a folder of its own, and the runs of the script on it.

    ``options`` are the arguments that all of them have, ``of_base`` those of them that say how the
    base model is held, which evaluation of an adapter needs as well.
    """

    def __init__(self, runner: Runner, options: dict, of_base: dict | None = None):
        self.runner, self.options, self.of_base = runner, options, of_base or {}

    def started(self, out: str, **given: object) -> str:
        shutil.rmtree(self.runner.folder / out, ignore_errors=True)
        known = {"history_column": None, **self.of_base, **given}
        status, output = self.runner.fork(out, **known)
        if status:
            told = re.findall(r"^error: .*$", output, re.MULTILINE)
            raise Failure(told[-1] if told else output.strip().splitlines()[-1])
        return output

    def trained(self, out: str = "out", **given: object) -> dict[int, float]:
        """The losses by step; checkpoints are half-way and at the end."""
        saving = {"save_strategy": "steps", "save_steps": HALF}
        options = {"do_train": True, "do_eval": True, "max_steps": STEPS, **saving}
        self.started(out, **{**options, **self.options, **given})
        return self.runner.losses(out)

    def loss(self, out: str) -> float:
        return self.runner.results(out)["eval_loss"]

    def evaluated(self, adapter: str | None, **given: object) -> float:
        """The loss of an adapter's folder on its base, or of a model without one, in another process."""
        where = {"adapter_name_or_path": self.runner.folder / adapter} if adapter else {}
        self.started("evaluated", do_eval=True, lora_target_modules=None, **where, **given)
        return self.loss("evaluated")

    def losses_resumed(self) -> dict[int, float]:
        half = self.runner.folder / "out" / f"checkpoint-{HALF}"
        return self.trained("resumed", resume_from_checkpoint=half)

    def predicted(self) -> list[dict]:
        test = self.runner.data("test.json", ROWS)
        asked = {"do_predict": True, "test_file": test, "max_target_length": 8}
        adapter = {"adapter_name_or_path": self.runner.folder / "out"}
        self.started("predicted", **asked, **adapter)
        return self.runner.predictions("predicted")

    def merged(self, *more: object) -> Path:
        dest = self.runner.folder / "merged"
        shutil.rmtree(dest, ignore_errors=True)
        trust = ["--trust_remote_code"] if list(self.runner.model.glob("*.py")) else []
        argv = ["-m", "tools", "merge", self.runner.folder / "out", dest, *trust, *more]
        ran = self.runner.zygote.run(self.runner.folder, argv)
        if ran.returncode:
            raise Failure(ran.stdout.strip().splitlines()[-1])
        return dest


def tried(runs: Runs, tolerance: float = TOLERANCE) -> Outcome:
    """All parts, up to the first that fails."""
    outcome, part = Outcome(), "trains"
    try:
        losses = runs.trained()
        fell = losses[STEPS] < losses[1] - 0.1
        outcome.trains = "yes" if fell else f"{losses[1]:.2f} to {losses[STEPS]:.2f}"
        part, loss = "reloads", runs.loss("out")
        found = [runs.evaluated(name) for name in ("out", f"out/checkpoint-{STEPS}")]
        outcome.reloads = _same([loss] * 2, found, TOLERANCE)
        part = "resumes"
        outcome.resumes = "yes" if runs.losses_resumed() == losses else "other losses"
        part = "predicts"
        outcome.predicts = "yes" if len(runs.predicted()) == len(ROWS) else "no"
        part, runs.of_base = "merges", {}
        merged = runs.evaluated(None, model_name_or_path=runs.merged())
        outcome.merges = _same([loss], [merged], tolerance)
    except Failure as error:
        outcome.said = str(error)
        setattr(outcome, part, "refused" if outcome.said.startswith("error: ") else "fails")
    return outcome


def _same(expected: list[float], found: list[float], tolerance: float) -> str:
    off = max(abs(one - other) for one, other in zip(expected, found, strict=True))
    return "yes" if off <= tolerance else f"off by {off:.1e}"


@contextmanager
def zygote(home: Path) -> Iterator[Zygote]:
    """What starts the runs."""
    started = Zygote(home)
    try:
        yield started
    finally:
        started.end()


def make_runner(kind: str, folder: Path, home: Path, zygote: Zygote) -> Runner:
    """A runner for a toy model, chatglm or one of tiny_models, in a new folder."""
    work = Path(tempfile.mkdtemp(dir=folder))
    if kind == "chatglm":
        return Runner(work, toy_chatglm.build(work / "base", hidden_size=64), home, zygote)
    return Runner(work, tiny_models.build(kind, work / "base"), home, zygote, CAUSAL)


def write_config(runner: Runner, settings: dict) -> Path:
    """The file for ``--lora_config``."""
    file = runner.folder / "lora.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


def print_table(heads: tuple[str, ...], rows: Iterator[tuple[tuple[str, ...], Outcome]]) -> None:
    """Print a row for each outcome as it comes, and after them what was said of some."""
    print("| " + " | ".join((*heads, *PARTS)) + " |")
    print("|" + "---|" * len((*heads, *PARTS)))
    said = []
    for row, outcome in rows:
        print("| " + " | ".join((*row, *outcome.cells())) + " |", flush=True)
        said += [f"{row[0]}: {outcome.said}"] * bool(outcome.said)
    print("", *said, sep="\n")

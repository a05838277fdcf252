"""What the parts share: stacks, scripts, models and data to measure with, all made when first used."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.smoke.prepare import source
from tools.regenerate import outputs, series, transform
from tools.training import launch, matrix, stacks

STACKS = {"v4.28.0": "v4.28.0", "v5.0.0": "v5.1.0"}  # each with the upstream ref it is tried with
WORK = series.ROOT / "build" / "bench"
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "deepspeed")


@dataclass(eq=False)
class Bench:
    """A place for everything that measuring needs: ``work``, which may be kept for the next time."""

    repo: str | None = None
    refs: list[str] | None = None
    work: Path = WORK
    tracer: object = print

    def say(self, text: str) -> None:
        self.tracer(text)

    @functools.cached_property
    def environments(self) -> dict[str, Path]:
        """The python of each stack, with trl beside the newest."""
        targets = [f".venv-{stack}/done" for stack in STACKS] + [f".venv-{list(STACKS)[-1]}/trl"]
        make = ["make", "--silent", "--no-print-directory", *targets]
        subprocess.run(make, check=True, cwd=series.ROOT)
        return {stack: stacks.python(stack) for stack in STACKS}

    @functools.cached_property
    def factory(self) -> Path | None:
        """The python of LLaMA-Factory's environment, None (and a line that says so) without it."""
        python = series.ROOT / ".venv-llamafactory" / "bin" / "python"
        if python.exists():
            return python
        self.say("LLaMA-Factory is not measured: `make .venv-llamafactory/done` installs it")
        return None

    def worker(
        self,
        stack: str,
        name: str,
        out: str,
        *arguments: object,
        launcher=(),
        python: Path | None = None,
        gpu: bool = False,
    ) -> object:
        """Run a worker with a stack, or ``python`` beside it; what it wrote.

        Raises UserError where it fails.
        """
        file = self.work / stack / f"{out}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [*launcher, "--module" if launcher else "-m", f"benchmarks.workers.{name}"]
        python, log = python or self.environments[stack], file.with_suffix(".log")
        launch.run(python, log, *command, *arguments, "--out", file, gpu=gpu)
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def script(self, stack: str, kind: str) -> Path:
        """The script generated for a kind of model, from genuine upstream where the cache has it."""
        return self._script(stack, "chatglm" if family(kind) == "chatglm" else "causal")

    @functools.cache  # noqa: B019 - there is one bench, and it lives as long as the program
    def _script(self, stack: str, name: str) -> Path:
        found, where = source(STACKS[stack])
        self.say(f"{stack}: script of the series {name} from {where}")
        chosen, folder = series.load(name), self.work / stack
        folder.mkdir(parents=True, exist_ok=True)
        with outputs.held(folder):
            outputs.write(folder, outputs.render(transform.transform(found, chosen)))
        return folder / chosen.script

    @functools.cache  # noqa: B019
    def model(self, stack: str, kind: str) -> Path:
        """A model folder; ``kind`` is a family, then maybe "-vocabulary", "-width", "-layers"."""
        folder = self.work / stack / kind
        log = self.work / stack / f"{kind}.log"
        name, *sizes = kind.split("-")
        given = [
            part
            for option, size in zip(("--vocabulary", "--width", "--layers"), sizes, strict=False)
            for part in (option, size)
        ]
        if len(sizes) > 1:
            given.append("--half")  # as wide as a real one, and as real ones are loaded
        command = ["-m", "benchmarks.workers.make_model", name, folder, *given]
        launch.run(self.environments[stack], log, *command)
        return folder

    @functools.cache  # noqa: B019
    def data(self, stack: str, count: int, variant: str = "short", kind: str = "chatglm") -> Path:
        """A file of ``count`` rows, counted in tokens of that kind of model."""
        file = self.work / stack / f"{kind}-{variant}-{count}.jsonl"
        given = ["--model", self.model(stack, kind), "--count", count, "--variant", variant]
        command = ["-m", "benchmarks.workers.make_data", *given, "--out", file]
        launch.run(self.environments[stack], file.with_suffix(".log"), *command)
        return file

    @functools.cache  # noqa: B019
    def cpu(self, stack: str, kind: str) -> list[str]:
        """How the script is told to stay on the CPU."""
        script = self.script(stack, kind)
        return launch.cpu_options(self.environments[stack], script, script.with_suffix(".help.log"))

    def arguments(
        self, stack: str, data: Path, kind: str = "chatglm", batch: int = 8, gpu: bool = False
    ) -> list[object]:
        """What a training run is told: the model, the rows, one epoch, no checkpoints."""
        given = ["--model_name_or_path", self.model(stack, kind), "--history_column", "history"]
        given += ["--train_file", data, "--validation_file", data, "--do_train"]
        given += ["--num_train_epochs", 1, "--per_device_train_batch_size", batch]
        given += ["--report_to", "none", "--save_strategy", "no", "--disable_tqdm", "True"]
        given += [] if gpu else self.cpu(stack, kind)
        return ["--script", self.script(stack, kind), *given]

    def machine(self) -> dict[str, object]:
        """What the figures were measured on."""
        return {
            "cores": os.cpu_count(),
            "processor": processor(),
            "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "versions": {s: matrix.versions(p, PACKAGES) for s, p in self.environments.items()},
        }


def family(kind: str) -> str:
    """The family of a kind of model (see ``Bench.model``)."""
    return kind.partition("-")[0]


def processor() -> str:
    """The processor's name, "" where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")

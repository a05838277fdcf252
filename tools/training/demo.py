"""``make demo``: regenerate, port a toy ChatGLM, train it under DeepSpeed, show what it learnt.

Everything is real but small: git, the port, DeepSpeed with two ranks on the CPU, LoRA, generation.
The model is a toy of this project's own (tests/toy_chatglm), whose code has the published
ChatGLM-6B's habits, and so is the data.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.errors import UserError
from tools.regenerate import outputs, series, transform
from tools.training import launch, stacks
from tools.upstream import fetch as upstream

DATA = series.ROOT / "docs" / "examples" / "chat_zh.json"
STEPS = 150
ASKED = 3  # prompts shown before and after
LAYERS = "query_key_value,dense,dense_h_to_4h,dense_4h_to_h"
BARS = "▁▂▃▄▅▆▇█"


def run(args: argparse.Namespace) -> int:
    console = Console(highlight=False)
    work = args.work.resolve()
    _empty(work)
    script = _regenerate(args, work, console)
    python, release = stacks.python(args.ref), _release(args.ref)
    with Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        run = _Run(python, script, work)
        with _step(progress, "building a toy ChatGLM-6B"):
            run.build_model()
        with _step(progress, f"porting it to {release}") as note:
            note(run.port())
        with _step(progress, f"asking {ASKED} prompts, untrained"):
            before = run.predict()
        task = progress.add_task("training LoRA, 2 DeepSpeed ranks", total=STEPS, note="")
        training = run.train()
        for step, loss in itertools.islice(training, STEPS):
            progress.update(task, completed=step, note=f"loss {loss:.3f}")
        with _step(progress, f"asking {ASKED} prompts, trained"):
            list(training)  # the same run, to its end
    losses, after = run.losses(), run.answers("trained")
    chart = _draw(losses, work / "loss.png")
    _report(console, losses, before, after, {"script": script, **run.places(), "curve": chart})
    return 0


def _empty(work: Path) -> None:
    """Make the folder, and empty it if it is an earlier demo's."""
    mark = work / ".demo"
    if work.exists() and not mark.exists() and any(work.iterdir()):
        raise UserError(f"{work} is not empty, and no demo wrote it: give another WORK")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    mark.touch()


def _regenerate(args: argparse.Namespace, work: Path, console: Console) -> Path:
    """The generated script, from genuine upstream where a ref or a repository was asked for."""
    chosen = series.load("chatglm")
    if args.ref or args.repo:
        found = upstream.fetch(args.repo or upstream.DEFAULT_REPO, args.ref or _newest())
        console.print(f"upstream: genuine, {found.repo} {found.ref} {found.commit[:12]}")
    else:
        from tests.miniature import TAGS, build_repo

        repo = build_repo(work / "upstream").as_uri()
        found = upstream.fetch(repo, TAGS[-1])
        console.print(
            f"upstream: the bundled miniature, in the shape of {TAGS[-1]} "
            f"(make demo TRANSFORMERS_REF={_newest()} fetches the genuine script)"
        )
    result = transform.transform(found, chosen)
    with outputs.held(work):
        outputs.write(work, outputs.render(result))
    console.print(f"regenerated: {len(result.patches)} patches applied and verified")
    return work / chosen.script


def _newest(out: Path = series.ROOT / "generated") -> str:
    """The newest release that a lock in ``out`` is at; without one the miniature's newest."""
    from tests.miniature import TAGS

    locks = [outputs.read_lock(out, series.load(name).script) for name in series.names()]
    refs = [lock["upstream"]["ref"] for lock in locks if lock]
    return max(filter(stacks.version, refs), key=stacks.version, default=TAGS[-1])


def _release(ref: str | None) -> str:
    """The release of transformers in the stack of a ref; no ref: in the newest stack."""
    stack = stacks.stack_for(ref) if ref else stacks.stacks()[-1]
    return f"transformers {stacks.requirement(stack, 'transformers')}"


@contextlib.contextmanager
def _step(progress: Progress, what: str) -> Iterator[Callable[[str], None]]:
    """One step of the program, on a line of its own; gives what adds a note to the line."""
    task = progress.add_task(what, total=1, note="")
    yield lambda note: progress.update(task, note=note)
    progress.update(task, completed=1)


class _Run:
    """The generated script at work, with one stack, in one folder."""

    def __init__(self, python: Path, script: Path, work: Path):
        self.python, self.script, self.work = python, script, work
        self.published, self.model = work / "published", work / "model"
        self.rows = json.loads(DATA.read_text(encoding="utf-8"))
        self.asked = work / "asked.json"
        chosen = self.rows[:: len(self.rows) // ASKED][:ASKED]
        self.asked.write_text(json.dumps(chosen, ensure_ascii=False), encoding="utf-8")
        self.cpu = launch.cpu_options(python, script, work / "logs" / "help.log")

    def places(self) -> dict[str, Path]:
        return {
            "review sheet": self.work / "run_clm_lora.review.md",
            "model": self.model,
            "adapter": self.work / "trained",
            "predictions": self.work / "trained" / "generated_predictions.jsonl",
            "logs": self.work / "logs",
        }

    def build_model(self) -> None:
        texts = [row[name] for row in self.rows for name in ("prompt", "response")]
        corpus = self.work / "corpus.txt"
        rounds = [f"[Round {number}]\n问：\n答：" for number in range(3)]
        corpus.write_text("\n".join(dict.fromkeys(texts + rounds)) + "\n", encoding="utf-8")
        command = ("-m", "tests.toy_chatglm", self.published, "--kind", "chatglm6b")
        command += ("--corpus", corpus, "--hidden-size", 64, "--vocab-size", 700)
        launch.run(self.python, self.work / "logs" / "model.log", *command)

    def port(self) -> str:
        """Make the model's code work on this stack; a note where it does as it is."""
        log = self.work / "logs" / "port.log"
        self.model = launch.ported(self.python, log, self.published, self.model)
        return "needs no port" if self.model == self.published else ""

    def _arguments(self, out: str) -> list[object]:
        return [
            *("--model_name_or_path", self.model, "--output_dir", self.work / out),
            *("--test_file", self.asked, "--history_column", "history", "--do_predict"),
            *("--validation_file", DATA, "--report_to", "none", *self.cpu),
        ]

    def predict(self) -> list[dict]:
        log = self.work / "logs" / "before.log"
        launch.run(self.python, log, self.script, *self._arguments("untrained"))
        return self.answers("untrained")

    def train(self) -> Iterator[tuple[int, float]]:
        """Train under DeepSpeed; (step, loss) as it goes on."""
        config = series.ROOT / "ds_configs" / "cpu_zero2.json"
        arguments = [
            *("--deepspeed", config, "--do_train", "--train_file", DATA),
            *("--max_steps", STEPS, "--per_device_train_batch_size", 12, "--logging_steps", 1),
            *("--learning_rate", 3e-3, "--lr_scheduler_type", "cosine", "--warmup_steps", 8),
            *("--lora_rank", 16, "--lora_dropout", 0, "--lora_target_modules", LAYERS),
            *("--save_strategy", "no", "--disable_tqdm", "True"),
        ]
        log, step = self.work / "logs" / "train.log", 0
        started = launch.deepspeed(2)
        for line in launch.lines(
            self.python, log, *started, self.script, *self._arguments("trained"), *arguments
        ):
            if found := re.search(r"'loss': '?([\d.e+-]+)", line):
                step += 1
                yield step, float(found[1])

    def answers(self, out: str) -> list[dict]:
        text = (self.work / out / "generated_predictions.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def losses(self) -> list[float]:
        state = json.loads((self.work / "trained" / "trainer_state.json").read_text())
        return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def sparkline(values: list[float], width: int = 60) -> str:
    """The values as bars of eight heights, at most ``width`` of them, each the mean of its share."""
    size = -(-len(values) // width)
    means = [
        sum(part) / len(part)
        for part in (values[i : i + size] for i in range(0, len(values), size))
    ]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def _draw(losses: list[float], file: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(range(1, len(losses) + 1), losses)
    axes.set(
        xlabel="step", ylabel="training loss", title="Toy ChatGLM-6B with LoRA, ZeRO-2, 2 ranks"
    )
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
    return file


def _report(
    console: Console,
    losses: list[float],
    before: list[dict],
    after: list[dict],
    places: dict[str, Path],
) -> None:
    console.print(f"\nloss {losses[0]:.2f} {sparkline(losses)} {losses[-1]:.3f}\n")
    table = Table("prompt", "taught", "before", "after", title="Three of the prompts")
    for old, new in zip(before, after, strict=True):
        said = old["prediction"]
        table.add_row(
            new["prompt"],
            new["response"],
            said[:24] + ("…" if len(said) > 24 else "") or "(nothing)",
            new["prediction"],
        )
    console.print(table)
    for name, place in places.items():
        console.print(f"{name:13} {place}", soft_wrap=True)

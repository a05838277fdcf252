"""Which releases of upstream train, with what: ``make matrix`` writes docs/compatibility.md.

For each ref an environment with that release of transformers and the stack that fits it; for each
series the regenerated script is asked for its help, trains a few steps on a toy model, and is
resumed from the middle, where its losses must be those of the run that was not interrupted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codemods.engine.refusal import Refusal
from tools import running
from tools.errors import UserError
from tools.regenerate import outputs, series, transform
from tools.training import launch, stacks
from tools.upstream import fetch as upstream

REFS = ("v4.28.0", "v4.36.0", "v4.45.0", "v4.56.0", "v5.0.0", "v5.1.0")
PACKAGES = ("transformers", "peft", "accelerate", "datasets")
STEPS = ("regenerates", "parses", "trains", "resumes")
MODELS = {"chatglm": ["tests.toy_chatglm"], "causal": ["tests.tiny_models", "gpt2"]}
MODELS_HEAD = "\n## Models\n\n"
TABLE = series.ROOT / "docs" / "compatibility.md"


@dataclass
class Row:
    ref: str
    series: str
    versions: dict[str, str]
    passed: list[str] = field(default_factory=list)
    problem: str = ""
    how: str = "as it is"  # a model's code was loaded


def environment(ref: str, newest: str) -> Path:
    """A python with the stack of ``ref``, made if need be.

    A stack that has that release of transformers serves as it is; another ref gets an environment
    of its own, alike but for that. The newest ref gets the newest stack, whose release may be newer.
    """
    stack = stacks.stack_for(ref)
    have = stacks.requirement(stack, "transformers")
    minor = ref.removeprefix("v").rpartition(".")[0]
    if ref == newest or have.startswith(f"{minor}."):
        make = ["make", "--silent", "--no-print-directory", f".venv-{stack}/done"]
        subprocess.run(make, check=True, cwd=series.ROOT, stdout=sys.stderr)
        return stacks.python(ref)
    folder = series.ROOT / f".venv-matrix-{ref}"
    python, done = folder / "bin" / "python", folder / "done"
    wanted = (stacks.FOLDER / f"{stack}.txt").read_text(encoding="utf-8")
    wanted = wanted.replace(f"transformers=={have}", f"transformers=={minor}.*")
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", stacks.FOLDER / "torch.txt"], check=True)
    (folder / "wanted.txt").write_text(wanted, encoding="utf-8")
    subprocess.run([*pip, "-r", folder / "wanted.txt"], check=True)
    done.write_text(wanted, encoding="utf-8")
    return python


def show_environment(ref: str) -> int:
    """Set up the environment of a release of upstream, with that release of transformers."""
    try:
        if stacks.version(ref) is None:
            raise UserError("it is no release like v5.1.0")
        print(environment(ref, newest=""))
    except (UserError, subprocess.CalledProcessError) as error:
        print(f"error: no environment for {ref}: {error}", file=sys.stderr)
        return 1
    return 0


def versions(python: Path, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of some packages in an environment."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps([m.version(p) for p in sys.argv[1:]]))"
    ran = subprocess.run(
        [python, "-c", code, *packages], check=True, capture_output=True, text=True
    )
    return dict(zip(packages, json.loads(ran.stdout), strict=True))


def try_row(row: Row, python: Path, repo: str, folder: Path) -> None:
    """Take one ref and series through the steps, noting how far it comes."""
    chosen = series.load(row.series)
    try:
        result = transform.transform(upstream.fetch(repo, row.ref), chosen)
        folder.mkdir(parents=True, exist_ok=True)
        with outputs.held(folder):
            outputs.write(folder, outputs.render(result))
        row.passed.append("regenerates")
        script = folder / chosen.script
        launch.cpu_options(python, script, folder / "help.log")
        row.passed.append("parses")
        model = folder / "model"
        module, *kind = MODELS[row.series]
        launch.run(python, folder / "model.log", "-m", module, *kind, model)
        train(python, script, model, folder / "whole")
        row.passed.append("trains")
        train(python, script, model, folder / "resumed", folder / "whole" / "checkpoint-2")
        same_losses(folder / "whole", folder / "resumed")
        row.passed.append("resumes")
    except (UserError, Refusal) as error:
        row.problem = str(error)


def train(python: Path, script: Path, model: Path, out: Path, resume: Path | None = None) -> None:
    pairs = out.parent / "pairs.json"
    rows = [{"prompt": f"第{n}个数是什么？", "response": f"是{n}{n}。"} for n in range(8)]
    pairs.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    cpu = launch.cpu_options(python, script, out.parent / "help.log")
    arguments = ["--model_name_or_path", model, "--train_file", pairs, "--do_train", *cpu]
    arguments += ["--max_steps", 4, "--save_steps", 2, "--logging_steps", 1, "--report_to", "none"]
    arguments += ["--per_device_train_batch_size", 2, "--output_dir", out]
    arguments += ["--validation_file", pairs]
    arguments += ["--resume_from_checkpoint", resume] if resume else []
    launch.run(python, out.with_suffix(".log"), script, *arguments)


def losses(out: Path) -> dict[int, float]:
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    return {entry["step"]: entry["loss"] for entry in state["log_history"] if "loss" in entry}


def same_losses(whole: Path, resumed: Path) -> None:
    one, other = losses(whole), losses(resumed)
    if set(one) != {1, 2, 3, 4} or any(abs(one[s] - other[s]) > 1e-4 for s in (3, 4)):
        raise UserError(f"losses differ after resuming: {one} and {other}")


def table(rows: list[Row]) -> str:
    head = ["ref", *PACKAGES, "series", *STEPS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        marks = ["yes" if step in row.passed else "**no**" for step in STEPS]
        cells = [row.ref, *(row.versions[p] for p in PACKAGES), row.series, *marks]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rewrite(releases: str = "", models: str = "") -> None:
    """Write a part of docs/compatibility.md, and leave the other as it is."""
    there = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
    first, _, second = there.partition(MODELS_HEAD)
    second = models or second
    TABLE.write_text((releases or first) + (MODELS_HEAD + second if second else ""), "utf-8")


def show_models(repo: str, work: Path) -> int:
    """Write and print the table of models; a model that a stack does not know is no failure."""
    from tools.training import model_matrix

    rows = model_matrix.rows(repo, work)
    told = model_matrix.table(rows)
    rewrite(models=f"{model_matrix.__doc__.split(chr(10), 2)[2]}\n{told}\n")
    print(told)
    started = [row for _, row in rows if "loads" in row.passed]
    return 0 if all(len(row.passed) == len(model_matrix.STEPS) for row in started) else 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.training.matrix", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--repo", default=upstream.DEFAULT_REPO)
    parser.add_argument("--refs", nargs="*", default=REFS)
    parser.add_argument("--work", type=Path, default=series.ROOT / "build" / "matrix")
    parser.add_argument("--models", action="store_true", help="the table of models instead")
    parser.add_argument("--environment", metavar="REF", help="set one up, print its python, stop")
    args = parser.parse_args(argv)
    if args.environment:
        return show_environment(args.environment)
    if args.models:
        return show_models(args.repo, args.work / "models")
    newest = max(args.refs, key=stacks.version)
    rows = []
    try:
        for ref in args.refs:
            python = environment(ref, newest)
            for name in series.names():
                row = Row(ref, name, versions(python))
                try_row(row, python, args.repo, args.work / ref / name)
                print(f"{ref} {name}: {', '.join(row.passed)} {row.problem}", flush=True)
                rows.append(row)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd[:6]))} … failed: see above", file=sys.stderr)
        return 1
    if tuple(args.refs) == REFS:
        rewrite(releases=f"# Compatibility\n\n{__doc__.split(chr(10), 2)[2]}\n{table(rows)}\n")
    print(table(rows))
    return 0 if all(len(row.passed) == len(STEPS) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(running.run(main))

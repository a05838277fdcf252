"""Which GLMs train on which stack: ``make matrix MODELS=1`` writes the second table of docs/compatibility.md.

Each is a toy with the code, or of the class, of its kind. What brings code of its own is ported
where its stack does not run it as it is. It trains a few steps, is resumed from the middle with the
losses of the run that was not interrupted, and its adapter answers prompts.
"""

from __future__ import annotations

import json
from pathlib import Path

from codemods.engine.refusal import Refusal
from tools.errors import UserError
from tools.regenerate import outputs, series, transform
from tools.training import launch, matrix
from tools.training.matrix import Row
from tools.upstream import fetch as upstream

REFS = ("v4.28.0", "v4.36.0", "v4.45.0", "v4.56.0", "v5.1.0")
STEPS = ("loads", "trains", "resumes", "predicts")
REMOTE, NATIVE = "tests.toy_chatglm", "tests.tiny_models"
MODELS = {
    "ChatGLM-6B": ("chatglm", REMOTE, "--kind", "chatglm6b"),
    "ChatGLM2-6B": ("chatglm", REMOTE, "--kind", "chatglm2"),
    "ChatGLM3-6B": ("chatglm", REMOTE, "--kind", "chatglm3"),
    "GLM-4-9B": ("chatglm", REMOTE, "--kind", "glm4"),
    "`glm`": ("causal", NATIVE, "glm"),
    "`glm4`": ("causal", NATIVE, "glm4"),
    "`glm4_moe`": ("causal", NATIVE, "glm4_moe"),
    "`glm_moe_dsa`": ("causal", NATIVE, "glm_moe_dsa"),
}


def script_of(name: str, repo: str, ref: str, folder: Path) -> Path:
    """The series' script at a ref, written into a folder."""
    chosen = series.load(name)
    folder.mkdir(parents=True, exist_ok=True)
    with outputs.held(folder):
        outputs.write(
            folder, outputs.render(transform.transform(upstream.fetch(repo, ref), chosen))
        )
    return folder / chosen.script


def try_model(row: Row, model: str, python: Path, repo: str, folder: Path) -> None:
    """Take one model on one stack through the steps, noting how far it comes."""
    name, module, *kind = MODELS[model]
    try:
        script = script_of(name, repo, row.ref, folder)
        launch.cpu_options(python, script, folder / "help.log")
        launch.run(python, folder / "model.log", "-m", module, *kind, folder / "published")
        place = folder / "published"
        if module == REMOTE:
            place = launch.ported(python, folder / "port.log", place, folder / "ported")
            row.how = "ported" if place.name == "ported" else "as it is"
        row.passed.append("loads")
        matrix.train(python, script, place, folder / "whole")
        row.passed.append("trains")
        halfway = folder / "whole" / "checkpoint-2"
        matrix.train(python, script, place, folder / "resumed", halfway)
        matrix.same_losses(folder / "whole", folder / "resumed")
        row.passed.append("resumes")
        _predict(python, script, place, folder)
        row.passed.append("predicts")
    except (UserError, Refusal) as error:
        row.problem = str(error)


def _predict(python: Path, script: Path, model: Path, folder: Path) -> None:
    out, pairs = folder / "predicted", folder / "pairs.json"
    cpu = launch.cpu_options(python, script, folder / "help.log")
    arguments = ["--model_name_or_path", model, "--adapter_name_or_path", folder / "whole", *cpu]
    arguments += ["--test_file", pairs, "--max_predict_samples", 3, "--do_predict"]
    arguments += ["--report_to", "none", "--output_dir", out]
    launch.run(python, out.with_suffix(".log"), script, *arguments)
    answers = (out / "generated_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    if len([json.loads(line) for line in answers]) != 3:
        raise UserError(f"{len(answers)} answers instead of 3")


def table(rows: list[tuple[str, Row]]) -> str:
    head = ["model", "series", "ref", "transformers", "peft", *STEPS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for model, row in rows:
        marks = [("yes" if step in row.passed else "no") for step in STEPS]
        marks[0] = row.how if "loads" in row.passed else "no"
        known = (row.series, row.ref, row.versions["transformers"], row.versions["peft"])
        lines.append("| " + " | ".join([model, *known, *marks]) + " |")
    return "\n".join(lines)


def rows(repo: str, work: Path) -> list[tuple[str, Row]]:
    """Try every model with each release."""
    out = []
    for ref in REFS:
        python = matrix.environment(ref, REFS[-1])
        for model, (name, *_) in MODELS.items():
            row = Row(ref, name, matrix.versions(python))
            try_model(row, model, python, repo, work / ref / model.strip("`"))
            print(f"{ref} {model}: {', '.join(row.passed)} {row.problem}", flush=True)
            out.append((model, row))
    return out

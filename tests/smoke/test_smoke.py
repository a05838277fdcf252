"""Train, evaluate, predict, shard, interrupt, stream, reload: what a user does, at toy size."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.smoke.conftest import LAYERS, ROOT, ROWS, Runner
from tools.training import launch

pytestmark = pytest.mark.smoke
PYTHON = ()  # the launcher that is none: a process of nothing but the script's
TWO = {"per_device_train_batch_size": 3, "per_device_eval_batch_size": 3}

# Loads an adapter as its users do, and prints the logits of one encoded pair.
LOGITS = """
import sys, torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer
base, adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(adapter, trust_remote_code=True)
model = AutoModel.from_pretrained(base, trust_remote_code=True)
if adapter != base:
    model = PeftModel.from_pretrained(model, adapter)
ids = tokenizer.build_inputs_with_special_tokens(
    tokenizer.encode("你好", add_special_tokens=False), tokenizer.encode("你", add_special_tokens=False)
)
with torch.no_grad():
    logits = model.eval()(input_ids=torch.tensor([ids])).logits
print("LOGITS", [round(x, 5) for x in logits[0, -1].float().tolist()[:20]])
"""


def deepspeed(stage: int) -> tuple[tuple[str, ...], dict[str, object]]:
    """Launcher and arguments for two ranks on a CPU."""
    return launch.deepspeed(2), {"deepspeed": ROOT / "ds_configs" / f"cpu_zero{stage}.json", **TWO}


def adapter_only(folder: Path) -> None:
    """The folder holds an adapter and no weight of the base model."""
    assert (folder / "adapter_config.json").is_file()
    weights = [f for f in folder.rglob("*") if f.suffix in (".bin", ".safetensors", ".pt")]
    assert not [f for f in weights if f.name.startswith(("pytorch_model", "model."))]
    adapter = next(f for f in weights if f.name.startswith("adapter_model"))
    if adapter.suffix == ".safetensors":
        import safetensors.torch

        names = list(safetensors.torch.load_file(adapter))
    else:
        import torch

        names = list(torch.load(adapter, map_location="cpu", weights_only=True))
    assert names
    assert all("lora_" in name for name in names)


def learnt(script: Runner) -> dict:
    """Trained to the end it answers each prompt with just the response it was taught: the results."""
    test = script.data("test.json", ROWS)
    options = {"do_train": True, "do_eval": True, "do_predict": True, "test_file": test}
    script.run("out", launcher=PYTHON, max_steps=120, **options)
    answers = script.predictions("out")
    assert [a["prediction"] for a in answers] == [row["response"] for row in ROWS]
    results = script.results("out")
    assert results["eval_accuracy"] > 0.99
    assert results["predict_rouge_l"] > 99
    adapter_only(script.folder / "out")
    return results


def test_it_learns(script: Runner) -> None:
    results = learnt(script)
    assert results["eval_loss"] < 0.05
    assert results["perplexity"] < 1.1


@pytest.mark.parametrize("stage", [2, 3])
def test_two_ranks_under_deepspeed(script: Runner, stage: int) -> None:
    """Sharded training gives one process's losses; the checkpoint shows that it was sharded.

    The ranks compute a batch's logits in chunks, the one process all at once. Two ranks average
    their own means, one process takes the mean of all tokens, and ZeRO-3 draws LoRA's first weights
    in another order: so losses agree to a percent, not to the last digit.
    """
    launcher, options = deepspeed(stage)
    common = {"max_steps": 3, "do_train": True, "do_eval": True, "learning_rate": 1e-3}
    script.run("one", **common)
    with script.edited("LOGITS_AT_ONCE = 2**25", "LOGITS_AT_ONCE = 2**11"):
        saving = {"save_strategy": "steps", "save_steps": 3}
        script.run("two", launcher=launcher, **saving, **common, **options)
    one, two = script.losses("one"), script.losses("two")
    assert two.keys() == one.keys() == {1, 2, 3}
    assert two == pytest.approx(one, rel=1e-2)
    evaluated = script.results("two")["eval_loss"]
    assert evaluated == pytest.approx(script.results("one")["eval_loss"], rel=1e-2)
    checkpoint = script.folder / "two" / "checkpoint-3"
    assert list(checkpoint.rglob("*zero_pp_rank_1_*")), "not sharded"
    adapter_only(script.folder / "two")
    sizes = [f.stat().st_size for f in checkpoint.rglob("*model_states.pt")]
    assert sizes
    base = (script.model / "pytorch_model.bin").stat().st_size
    assert max(sizes) < base, "the checkpoint holds the base model"


def test_interrupted_and_resumed(script: Runner) -> None:
    """Losses after the interruption are those of the run that never stopped."""
    common = {"do_train": True, "lr_scheduler_type": "linear", "per_device_train_batch_size": 2}
    saving = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2, **common}
    script.run("whole", **saving)
    checkpoint = script.folder / "whole" / "checkpoint-2"
    # Anew, since a fork would have the hashes, and so the order of a set, of the first run.
    script.run("resumed", launcher=PYTHON, resume_from_checkpoint=checkpoint, **saving)
    whole, resumed = script.losses("whole"), script.losses("resumed")
    assert set(whole) == {1, 2, 3, 4, 5, 6}
    assert {s: resumed[s] for s in (3, 4, 5, 6)} == {s: whole[s] for s in (3, 4, 5, 6)}
    adapter_only(checkpoint)
    assert (checkpoint / "tokenizer_config.json").is_file()


def test_streaming(script: Runner) -> None:
    """Streams train and evaluate as files in memory do, limits included."""
    script.run(
        "out",
        streaming=True,
        do_train=True,
        do_eval=True,
        max_steps=3,
        max_train_samples=4,
        max_eval_samples=2,
        per_device_train_batch_size=2,
    )
    assert len(script.losses("out")) == 3
    assert script.results("out")["eval_accuracy"] >= 0


def test_the_adapter_alone_gives_the_trained_logits(script: Runner) -> None:
    """A process with peft, not our code, loads what was saved."""
    script.run("out", max_steps=20, do_train=True, save_strategy="steps", save_steps=20)
    final, checkpoint, untrained = (
        logits(script, script.folder / "out"),
        logits(script, script.folder / "out" / "checkpoint-20"),
        logits(script, script.model),
    )
    assert final == checkpoint
    assert final != untrained


def logits(script: Runner, adapter: Path, code: str = LOGITS) -> str:
    said = script.program(script.text("logits.py", code), script.model, adapter)
    return next(line for line in said.splitlines() if line.startswith("LOGITS"))


@pytest.mark.long
def test_killed_while_saving(script: Runner) -> None:
    """Whatever a kill leaves, the next run goes on from a checkpoint that is whole."""
    arguments = script.arguments(
        "out",
        do_train=True,
        save_strategy="steps",
        save_steps=1,
        max_steps=400,
        overwrite_output_dir=None,
    )
    running = subprocess.Popen(
        [sys.executable, str(script.script), *arguments],
        cwd=script.folder,
        env=script.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list((script.folder / "out").glob("checkpoint-3*")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    script.run(
        "out", do_train=True, max_steps=60, save_strategy="no", resume_from_checkpoint="true"
    )
    assert 60 in script.losses("out")


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_other_launchers(script: Runner, launcher: str) -> None:
    port = launch.free_port()
    command = {
        "torchrun": "torch.distributed.run --nproc_per_node 2 --master_port",
        # On a CPU, accelerate starts several processes only when told that they are GPUs'.
        "accelerate": "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1"
        " --mixed_precision no --dynamo_backend no --main_process_port",
    }[launcher].split()
    script.run("one", max_steps=3, do_train=True)
    said = script.run("two", launcher=("-m", *command, port), max_steps=3, do_train=True, **TWO)
    assert "Process rank: 1" in said
    assert script.losses("two")[1] == pytest.approx(script.losses("one")[1], rel=1e-2)


@pytest.mark.long
def test_prediction_across_ranks(script: Runner) -> None:
    launcher, options = deepspeed(2)
    test = script.data("test.json", ROWS)
    script.run(
        "out",
        launcher=launcher,
        do_train=True,
        do_predict=True,
        test_file=test,
        max_steps=3,
        **options,
    )
    assert [a["prompt"] for a in script.predictions("out")] == [row["prompt"] for row in ROWS]


@pytest.mark.long
def test_best_model_and_evaluation_while_training(script: Runner) -> None:
    name = "eval_strategy" if "eval_strategy" in script.told else "evaluation_strategy"
    script.run(
        "out",
        do_train=True,
        do_eval=True,
        max_steps=4,
        eval_steps=2,
        save_steps=2,
        save_strategy="steps",
        load_best_model_at_end=True,
        metric_for_best_model="eval_accuracy",
        gradient_checkpointing=True,
        **{name: "steps"},
    )
    state = json.loads((script.folder / "out" / "trainer_state.json").read_text(encoding="utf-8"))
    assert "checkpoint-" in state["best_model_checkpoint"]
    adapter_only(script.folder / "out")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_other_files(script: Runner, kind: str) -> None:
    if kind == "csv":
        file = script.folder / "pairs.csv"
        lines = [f'{r["prompt"]},{r["response"]},"{_cell(r)}"' for r in ROWS]
        file.write_text("prompt,response,history\n" + "\n".join(lines) + "\n", encoding="utf-8")
    else:
        file = script.data("pairs.jsonl", ROWS)
    script.run(
        "out", max_steps=2, do_train=True, do_eval=True, train_file=file, validation_file=file
    )
    script.run("json", max_steps=2, do_train=True, do_eval=True)
    assert script.losses("out") == script.losses("json")


def _cell(row: dict) -> str:
    return json.dumps(row["history"], ensure_ascii=False).replace('"', '""')


@pytest.mark.long
def test_a_file_of_arguments(script: Runner) -> None:
    line = script.arguments("out", max_steps=2, do_train=True)
    given: dict[str, object] = {}
    while line:
        name = line.pop(0).removeprefix("--")
        given[name] = line.pop(0) if line and not line[0].startswith("--") else True
    numbers = {k: float(v) if "." in str(v) else int(v) for k, v in given.items() if _is_number(v)}
    file = script.folder / "arguments.json"
    file.write_text(json.dumps({**given, **numbers}), encoding="utf-8")
    subprocess.run(
        [sys.executable, script.script, file], env=script.env, cwd=script.folder, check=True
    )
    script.run("line", max_steps=2, do_train=True)
    assert script.losses("out") == script.losses("line")


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.replace(".", "", 1).isdigit()


@pytest.mark.long
def test_another_adapter_is_gone_on_with(script: Runner) -> None:
    script.run("first", max_steps=30, do_train=True)
    script.run("second", max_steps=2, do_train=True, adapter_name_or_path=script.folder / "first")
    assert script.losses("second")[1] < script.losses("first")[1] / 2


@pytest.mark.long
def test_target_modules_are_a_choice(script: Runner) -> None:
    script.run("default", max_steps=1, do_train=True, lora_target_modules=None)
    config = json.loads((script.folder / "default" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == {"query_key_value"}
    script.run("chosen", max_steps=1, do_train=True)
    config = json.loads((script.folder / "chosen" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == set(LAYERS.split(","))

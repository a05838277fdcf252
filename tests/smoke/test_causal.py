"""The causal series on tiny models of families that transformers knows, as a user runs it."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest

from tests import tiny_models
from tests.smoke.conftest import CAUSAL as SCRIPT
from tests.smoke.conftest import CAUSAL_LAYERS as LAYERS
from tests.smoke.conftest import ROWS, Runner
from tests.smoke.test_smoke import PYTHON, adapter_only, deepspeed, logits

pytestmark = pytest.mark.smoke
# Loads an adapter as its users do, and prints the logits of one text.
LOGITS = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = AutoModelForCausalLM.from_pretrained(base)
if adapter != base:
    model = PeftModel.from_pretrained(model, adapter)
with torch.no_grad():
    logits = model.eval()(input_ids=torch.tensor([tokenizer.encode("你好")])).logits
print("LOGITS", [round(x, 5) for x in logits[0, -1].float().tolist()[:20]])
"""


@functools.cache
def available() -> list[str]:
    return tiny_models.available()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory):
    """Folder of a kind's model, built once; skips where this release has no such models."""

    @functools.cache
    def folder(kind: str) -> Path:
        return tiny_models.build(kind, tmp_path_factory.mktemp("tiny") / kind)

    def get(kind: str) -> Path:
        if kind not in available():
            pytest.skip(f"this release of transformers has no {kind} models")
        return folder(kind)

    return get


@pytest.fixture
def start(tmp_path: Path, models, home: Path, zygote):
    """Make the runner of a kind; its arguments have that kind's layers."""

    def make(kind: str) -> tuple[Runner, dict[str, object]]:
        script = Runner(tmp_path, models(kind), home, zygote, SCRIPT)
        return script, {"lora_target_modules": LAYERS[kind]}

    return make


def learns(start, kind: str, **more: object) -> None:
    script, layers = start(kind)
    test = script.data("test.json", ROWS)
    script.run(
        "out",
        launcher=PYTHON,
        max_steps=100,
        do_train=True,
        do_eval=True,
        do_predict=True,
        test_file=test,
        **layers,
        **more,
    )
    answers = script.predictions("out")
    assert [a["prediction"] for a in answers] == [row["response"] for row in ROWS]
    results = script.results("out")
    assert results["eval_loss"] < 0.05
    assert results["eval_accuracy"] > 0.99
    assert results["perplexity"] < 1.1
    adapter_only(script.folder / "out")


def test_it_learns(start) -> None:
    """Trained to the end it answers each prompt with just the response it was taught: in a chat
    template whose end of a turn is not the end of the text, where this release has templates, else
    in the plain format, without a padding token.
    """
    learns(start, "qwen2" if "qwen2" in available() else "gpt2")


@pytest.mark.long
@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_every_family_learns(start, kind: str) -> None:
    learns(start, kind, gradient_checkpointing=True)


@pytest.mark.long
@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_default_layers(start, kind: str) -> None:
    """Which modules to adapt need not be said."""
    script, _ = start(kind)
    script.run("out", max_steps=2, do_train=True, lora_target_modules=None)
    adapter_only(script.folder / "out")


@pytest.mark.long
@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_two_ranks_under_deepspeed(start, kind: str, stage: int) -> None:
    """Sharded training gives one process's losses, and its ranks predict together.

    Two ranks average their own means, one process takes the mean of all tokens: the same where
    all responses are of one length. ZeRO-3 draws LoRA's first weights in another order.
    """
    script, layers = start(kind)
    pairs = script.data("equal.json", [{**row, "response": str(n)} for n, row in enumerate(ROWS)])
    layers["train_file"] = pairs
    launcher, options = deepspeed(stage)
    common = {"max_steps": 3, "do_train": True, "learning_rate": 1e-3, **layers}
    test = script.data("test.json", ROWS)
    predict = {"do_predict": True, "test_file": test, "max_target_length": 8}
    script.run("one", **common)
    script.run(
        "two",
        launcher=launcher,
        save_strategy="steps",
        save_steps=3,
        **common,
        **options,
        **predict,
    )
    assert script.losses("two").keys() == {1, 2, 3}
    assert script.losses("two") == pytest.approx(
        script.losses("one"), rel=1e-3 if stage == 2 else 2e-2
    )
    assert list((script.folder / "two" / "checkpoint-3").rglob("*zero_pp_rank_1_*")), "not sharded"
    assert [a["prompt"] for a in script.predictions("two")] == [row["prompt"] for row in ROWS]
    adapter_only(script.folder / "two")


def test_a_padded_vocabulary_keeps_its_rows_under_zero3(start) -> None:
    """The script sees none of them; the loss is that of a run that sees all."""
    import transformers

    script, layers = start("qwen2" if "qwen2" in available() else "gpt2")
    model = transformers.AutoModelForCausalLM.from_pretrained(script.model)
    rows = model.get_input_embeddings().weight.shape[0] + 40
    model.resize_token_embeddings(rows)
    padded = script.folder / "padded"
    shutil.copytree(script.model, padded)
    model.save_pretrained(padded)
    launcher, options = deepspeed(3)
    common = {"model_name_or_path": padded, "max_steps": 1, "do_train": True, **layers}
    script.run("one", **common)
    script.run("two", launcher=launcher, **common, **options)
    for out in ("one", "two"):
        run = json.loads((script.folder / out / "training_run.json").read_text("utf-8"))
        assert run["base_model"]["vocabulary_size"] == rows
    assert script.losses("two") == pytest.approx(script.losses("one"), rel=2e-2)


@pytest.mark.long
@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_interrupted_and_resumed(start, kind: str) -> None:
    """Losses after the interruption are those of the run that never stopped."""
    script, layers = start(kind)
    saving = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2, "do_train": True}
    saving |= {"lr_scheduler_type": "linear", "per_device_train_batch_size": 2, **layers}
    script.run("whole", **saving)
    script.run("resumed", resume_from_checkpoint=script.folder / "whole" / "checkpoint-2", **saving)
    whole, resumed = script.losses("whole"), script.losses("resumed")
    assert set(whole) == {1, 2, 3, 4, 5, 6}
    assert {s: resumed[s] for s in (3, 4, 5, 6)} == {s: whole[s] for s in (3, 4, 5, 6)}


@pytest.mark.long
@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_the_adapter_alone_gives_the_trained_logits(start, kind: str) -> None:
    """A fresh process with peft, not our code, loads what was saved."""
    script, layers = start(kind)
    script.run("out", max_steps=20, do_train=True, save_strategy="steps", save_steps=20, **layers)
    final, checkpoint, untrained = (
        logits(script, folder, LOGITS)
        for folder in (
            script.folder / "out",
            script.folder / "out" / "checkpoint-20",
            script.model,
        )
    )
    assert final == checkpoint
    assert final != untrained

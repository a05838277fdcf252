"""What upstream's script can do, the generated one can: its arguments, and runs that use them."""

from __future__ import annotations

import ast
import collections
import dataclasses
import functools
import json
from pathlib import Path

import pytest

from tests.smoke import hub
from tests.smoke.conftest import ROWS, UPSTREAM, Runner
from tests.smoke.test_smoke import PYTHON, adapter_only, deepspeed, logits

pytestmark = pytest.mark.smoke
REMOVED = {"block_size"}
ADDED = {
    "adapter_name_or_path",
    "allow_non_finite",
    "early_stopping_patience",
    "history_column",
    "ignore_pad_token_for_loss",
    "learn",
    "lora_alpha",
    "lora_bias",
    "lora_config",
    "lora_dropout",
    "lora_modules_to_save",
    "lora_rank",
    "lora_target_modules",
    "loraplus_lr_ratio",
    "max_new_tokens",
    "max_predict_samples",
    "max_source_length",
    "max_target_length",
    "messages_column",
    "num_beams",
    "preview",
    "prompt_column",
    "quantization",
    "response_column",
    "test_file",
}
# Upstream's own arguments that no offline run of this series can show, and why.
NOT_OFFLINE = {
    "model_type": "from scratch, AutoModel gives the types that transformers knows no head",
    "config_overrides": "goes with model_type",
}
# Each run's arguments; `test_upstreams_arguments_still_work` gives each run those the script has.
ARGUMENT_RUNS: dict[str, dict[str, object]] = {
    "files": {
        "model_revision": "main",
        "cache_dir": "cache",
        "use_fast_tokenizer": "false",
        "low_cpu_mem_usage": "false",
        "torch_dtype": "float32",
        "dtype": "float32",
        "token": "hf_none",
        "trust_remote_code": "true",
        "max_train_samples": 4,
        "max_eval_samples": 2,
        "overwrite_cache": True,
        "preprocessing_num_workers": 2,
        "keep_linebreaks": "false",
        "train_file": "pairs.json",
        "validation_file": None,
        "validation_split_percentage": 50,
    },
    "names": {
        "model_name_or_path": None,
        "config_name": "MODEL",
        "tokenizer_name": "MODEL",
        "streaming": True,
        "train_file": "pairs.json",
        "validation_file": "pairs.json",
    },
    "data set": {
        "model_name_or_path": "MODEL",
        "use_auth_token": True,
        "train_file": None,
        "validation_file": None,
        "dataset_name": "folder",
        "dataset_config_name": "default",
    },
}


def _own_arguments(file: Path) -> dict[str, str]:
    """The fields of a script's argument classes, and the expressions that make their defaults."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        field.target.id: _default(field)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Arguments")
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }


def _default(field: ast.AnnAssign) -> str:
    given = getattr(field.value, "keywords", [])
    return next((ast.unparse(k.value) for k in given if k.arg == "default"), "")


def test_every_argument_of_upstream_is_still_there(script: Runner) -> None:
    """Upstream's own and all of TrainingArguments, with their defaults, in what --help tells."""
    from transformers import TrainingArguments

    upstream = script.script.with_name(UPSTREAM)
    theirs, ours = _own_arguments(upstream), _own_arguments(script.script)
    assert set(ours) == set(theirs) - REMOVED | ADDED
    changed = {name for name in theirs if ours.get(name, theirs[name]) != theirs[name]}
    assert changed <= {"trust_remote_code"}
    trainers = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    assert len(trainers) > 50
    assert set(ours) | trainers <= script.told
    assert not REMOVED & script.told


def test_the_runs_give_each_argument_once_at_least(script: Runner) -> None:
    shown = {name for run in ARGUMENT_RUNS.values() for name in run} | set(NOT_OFFLINE)
    assert set(_own_arguments(script.script.with_name(UPSTREAM))) - REMOVED <= shown


@pytest.mark.long
@pytest.mark.parametrize("run", ARGUMENT_RUNS)
def test_upstreams_arguments_still_work(script: Runner, run: str) -> None:
    _data_folder(script.folder / "folder", ("train", "validation"))
    given = {
        name: script.model if value == "MODEL" else value
        for name, value in ARGUMENT_RUNS[run].items()
        if value is None or name in script.told
    }
    script.env["HF_TOKEN"] = "hf_none"
    script.run("out", launcher=PYTHON, max_steps=2, do_train=True, do_eval=True, **given)
    assert len(script.losses("out")) == 2
    results = script.results("out")
    assert results["eval_loss"] > 0
    if run == "files":
        assert (results["train_samples"], results["eval_samples"]) == (3, 2)
        assert list((script.folder / "cache").rglob("*.arrow"))


def _data_folder(folder: Path, splits: tuple[str, ...], kind: str = "json") -> None:
    """A data set as the hub has them: a folder with a file for each split."""
    folder.mkdir()
    for split in splits:
        if kind == "parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(
                pyarrow.Table.from_pylist(ROWS), folder / f"{split}.parquet"
            )
        else:
            (folder / f"{split}.json").write_text(json.dumps(ROWS), encoding="utf-8")


@pytest.mark.long
def test_a_named_data_set_with_a_test_split(script: Runner) -> None:
    """What a data set on the hub is, here in a folder: trained on, evaluated, its test answered."""
    _data_folder(script.folder / "folder", ("train", "validation", "test"), "parquet")
    named = {"train_file": None, "validation_file": None, "dataset_name": "folder"}
    common = {"max_steps": 3, "do_train": True, "do_eval": True}
    script.run("named", do_predict=True, max_predict_samples=4, **common, **named)
    script.run("files", **common)
    assert script.losses("named") == script.losses("files")
    assert script.results("named")["eval_loss"] == script.results("files")["eval_loss"]
    answered = [answer["prompt"] for answer in script.predictions("named")]
    assert answered == [row["prompt"] for row in ROWS[:4]]


@pytest.mark.long
@pytest.mark.parametrize("splits", [("train", "validation"), ("train",)], ids=len)
def test_a_named_data_set_is_streamed(script: Runner, splits: tuple[str, ...]) -> None:
    if "no_cuda" in script.told:
        pytest.skip("upstream's script of that time asks streams for their length")
    _data_folder(script.folder / "folder", splits)
    script.run(
        "out",
        train_file=None,
        validation_file=None,
        dataset_name="folder",
        streaming=True,
        do_train=True,
        do_eval=True,
        max_steps=3,
        per_device_train_batch_size=2,
        validation_split_percentage=1,
        max_train_samples=4,
        max_eval_samples=1,
    )
    assert len(script.losses("out")) == 3
    assert script.results("out")["eval_samples"] == 1


@pytest.mark.long
@pytest.mark.parametrize("stage", [2, 3])
def test_sharded_training_is_resumed(script: Runner, stage: int) -> None:
    """Two ranks go on from their checkpoint exactly; what they saved is the trained adapter."""
    launcher, options = deepspeed(stage)
    run = functools.partial(
        script.run,
        launcher=launcher,
        do_train=True,
        max_steps=4,
        save_strategy="steps",
        save_steps=2,
        **options,
    )
    run("whole")
    run("resumed", resume_from_checkpoint=script.folder / "whole" / "checkpoint-2")
    whole, resumed = script.losses("whole"), script.losses("resumed")
    assert set(whole) == {1, 2, 3, 4}
    assert {step: resumed[step] for step in (3, 4)} == {step: whole[step] for step in (3, 4)}
    final = logits(script, script.folder / "whole")
    assert final == logits(script, script.folder / "resumed")
    assert final == logits(script, script.folder / "whole" / "checkpoint-4")
    assert final != logits(script, script.model)


@pytest.mark.long
@pytest.mark.parametrize("amp", [{}, {"bf16": True}], ids=["plain", "autocast"])
def test_half_precision(script: Runner, amp: dict[str, object]) -> None:
    """A bfloat16 base learns by a float32 adapter."""
    name = "dtype" if "dtype" in script.told else "torch_dtype"
    options = {name: "bfloat16", "max_steps": 30, "do_train": True, "do_eval": True, **amp}
    script.run("out", **options)
    losses = script.losses("out")
    assert losses[30] < losses[1] / 3
    adapter_only(script.folder / "out")
    assert {str(value.dtype) for value in _adapter(script.folder / "out")} == {"torch.float32"}


def _adapter(folder: Path) -> list:
    import torch

    file = folder / "adapter_model.safetensors"
    if file.is_file():
        import safetensors.torch

        return list(safetensors.torch.load_file(file).values())
    return list(torch.load(folder / "adapter_model.bin", weights_only=True).values())


@pytest.mark.long
def test_gradient_checkpointing_and_few_checkpoints(script: Runner) -> None:
    """Recomputing changes no loss; --save_total_limit keeps the last ones."""
    common = {"do_train": True, "max_steps": 4}
    script.run("plain", **common)
    saving = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    script.run("out", gradient_checkpointing=True, **saving, **common)
    assert script.losses("out") == pytest.approx(script.losses("plain"), rel=1e-5)
    kept = {folder.name for folder in (script.folder / "out").glob("checkpoint-*")}
    assert kept == {"checkpoint-3", "checkpoint-4"}


@pytest.mark.long
def test_rows_are_grouped_by_length(script: Runner) -> None:
    """By the flag that the release has for it: long rows meet long ones, and all rows their turn."""
    flag = (
        {"train_sampling_strategy": "group_by_length"}
        if "train_sampling_strategy" in script.told
        else {"group_by_length": True}
    )
    long, short = ({"prompt": "1" * n, "response": "2" * n} for n in (30, 3))
    file = script.data("rows.json", [long, short] * 24)
    common = {
        "train_file": file,
        "validation_file": file,
        "history_column": None,
        "do_train": True,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-9,  # so that a batch's loss says no more than what is in it
    }
    script.run("grouped", **flag, **common)
    script.run("plain", **common)
    low, *grouped_mixed, high = _counted(script.losses("grouped"))
    assert 2 * low + sum(grouped_mixed) == 2 * high + sum(grouped_mixed) == 24
    _, *plain_mixed, _ = _counted(script.losses("plain"))
    # The releases sort 12 rows at a time here: no more than one pair of each twelve is mixed.
    assert sum(grouped_mixed) <= 4 < sum(plain_mixed)


def _counted(losses: dict[int, float]) -> list[int]:
    """How often each loss came up, from the lowest on."""
    counts = collections.Counter(round(loss, 2) for loss in losses.values())
    return [counts[loss] for loss in sorted(counts)]


@pytest.mark.long
def test_the_adapter_is_pushed_to_a_hub(script: Runner) -> None:
    """To a small one on this machine; the adapter, tokenizer and card arrive, no base weights."""
    if "no_cuda" in script.told:
        pytest.skip("releases of that time push with git and Git LFS, which needs a real hub")
    with hub.running() as there:
        script.env.update(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0", HF_ENDPOINT=there.url)
        script.run(
            "out",
            launcher=PYTHON,
            do_train=True,
            max_steps=2,
            push_to_hub=True,
            hub_model_id="me/model",
            hub_token="hf_none",
        )
    assert "Model save" in there.commits
    assert {"adapter_config.json", "README.md", "tokenizer_config.json"} <= set(there.files)
    saved = (script.folder / "out" / "adapter_model.safetensors").read_bytes()
    assert there.files["adapter_model.safetensors"] == saved
    assert not [name for name in there.files if name.startswith(("model.", "pytorch_model"))]

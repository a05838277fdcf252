"""What was trained is what is saved, loaded and gone on with: what users lost, with runs of its kind."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.smoke.conftest import ROWS, Case
from tests.smoke.test_user_errors import error_of

pytestmark = pytest.mark.smoke
LONG = pytest.mark.long


@pytest.fixture
def tied(case: Case) -> Case:
    """A case whose model's head is its embedding: the toy ChatGLM's and GPT-2's are, Qwen2's is made so."""
    config = json.loads((case.model / "config.json").read_text("utf-8"))
    if config.get("tie_word_embeddings", True):
        return case
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(case.model)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    folder = case.folder / "tied"
    shutil.copytree(case.model, folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    model.save_pretrained(folder)
    case.model = folder
    return case


def keeps(case: Case, name: str) -> Path:
    """Move what a run wrote out of the next one's way."""
    shutil.rmtree(case.folder / name, ignore_errors=True)
    return (case.folder / "out").rename(case.folder / name)


def trained(case: Case, **given: object) -> float:
    """Train and evaluate; the loss of evaluation."""
    options = {"do_train": True, "do_eval": True, "max_steps": 30, **given}
    case.ends(**options)
    return case.results("out")["eval_loss"]


def evaluated(case: Case, adapter: Path, **given: object) -> float:
    case.ends(do_eval=True, adapter_name_or_path=adapter, **given)
    return case.results("out")["eval_loss"]


def embedding_of(case: Case) -> str:
    names = {"chatglm": "word_embeddings", "gpt2": "wte", "qwen2": "embed_tokens"}
    config = json.loads((case.model / "config.json").read_text("utf-8"))
    return names[config["model_type"].replace("toy_", "")]


def test_little_smoothing_is_nearly_the_plain_loss(case: Case) -> None:
    trained(case, label_smoothing_factor=0.05)
    adapter = keeps(case, "A")
    plain = evaluated(case, adapter)
    assert evaluated(case, adapter, label_smoothing_factor=1e-4) == pytest.approx(plain, abs=0.01)
    assert plain < 1  # it has learnt


@pytest.mark.parametrize("what", ["lm_head", "the embedding"])
def test_of_tied_weights_what_is_trained_is_saved(tied: Case, what: str) -> None:
    name = embedding_of(tied) if what == "the embedding" else what
    loss = trained(tied, lora_modules_to_save=name, log_level="info")
    adapter = keeps(tied, "A")
    assert evaluated(tied, adapter) == pytest.approx(loss, abs=1e-5)
    assert list(adapter.glob("adapter_model.*"))


def counted(output: str) -> int:
    return int(re.search(r"Training ([\d,]+) of", output)[1].replace(",", ""))


def test_nothing_is_trained_that_is_not_saved(tied: Case) -> None:
    options = {"do_train": True, "max_steps": 1, "log_level": "info"}
    output = tied.ends(lora_modules_to_save="lm_head", **options)
    saved = sum(value.numel() for value in weights(tied.folder / "out").values())
    assert counted(output) == saved


def weights(folder: Path) -> dict:
    import torch

    file = folder / "adapter_model.safetensors"
    if file.is_file():
        import safetensors.torch

        return safetensors.torch.load_file(file)
    return torch.load(folder / "adapter_model.bin", weights_only=True)


@pytest.fixture
def added(case: Case) -> Case:
    """A case with a tokenizer of more tokens than the model has, and data that needs them."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(case.model, trust_remote_code=True)
    model_rows = json.loads((case.model / "config.json").read_text("utf-8"))["vocab_size"]
    more = model_rows - len(tokenizer) + 8
    tokenizer.add_tokens([f"<city_{number}>" for number in range(more)])
    tokenizer.save_pretrained(case.folder / "tokenizer")
    last = [f"<city_{more - 1 - number}>" for number in range(8)]
    rows = [
        {"prompt": f"{here}怎么走？", "response": f"{there}往东。"}
        for here, there in zip(last[::2], last[1::2], strict=True)
    ]
    case.cities = case.data("city.jsonl", rows)
    case.files = {"train_file": case.cities, "validation_file": case.cities}
    return case


@pytest.mark.parametrize("case", ["causal"], indirect=True)
def test_rows_of_added_tokens_are_trained_and_saved(added: Case) -> None:
    """By peft's own means where it has them; else the run is refused, and says what does it."""
    options = {**added.files, "tokenizer_name": added.folder / "tokenizer"}
    full = f"{embedding_of(added)},lm_head"
    status, output = added.start(do_train=True, do_eval=True, max_steps=30, **options)
    if status:
        said = rf"has 8 tokens that the model has not learnt.* give --lora_modules_to_save {full} "
        assert re.search(said, error_of(output))
        options["lora_modules_to_save"] = full
        trained(added, **options)
    loss = added.results("out")["eval_loss"]
    adapter = keeps(added, "A")
    options = {**added.files, "tokenizer_name": adapter}
    assert evaluated(added, adapter, **options) == pytest.approx(loss, abs=1e-5)
    status, output = added.start(do_eval=True, adapter_name_or_path=adapter, **added.files)
    assert status == 1
    assert re.search(rf"was trained with \d+ tokens.*--tokenizer_name {adapter}", error_of(output))


@LONG
@pytest.mark.parametrize("case", ["causal"], indirect=True)
def test_added_tokens_beside_a_head_trained_in_full(added: Case) -> None:
    options = {**added.files, "tokenizer_name": added.folder / "tokenizer"}
    status, output = added.start(do_train=True, lora_modules_to_save="lm_head", **options)
    assert status == 1
    assert f"give --lora_modules_to_save {embedding_of(added)},lm_head" in error_of(output)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora_alpha": 128}, r"was trained with --lora_alpha 32 \(this run: 128\)"),
        ({"lora_rank": 4}, r"was trained with --lora_rank 16 \(this run: 4\)"),
        ({"lora_modules_to_save": "lm_head"}, "was trained with --lora_modules_to_save none"),
    ],
)
def test_a_checkpoint_of_other_settings(case: Case, changes: dict, said: str) -> None:
    common = {"do_train": True, "save_strategy": "steps", "save_steps": 2}
    case.ends(max_steps=2, **common)
    checkpoint = case.folder / "out" / "checkpoint-2"
    status, output = case.start(max_steps=4, resume_from_checkpoint=checkpoint, **common, **changes)
    assert status == 1
    assert re.search(said, error_of(output))


def empty(folder: Path) -> None:
    import torch

    for file in folder.glob("adapter_model.*"):
        file.unlink()
    torch.save({}, folder / "adapter_model.bin")


def cut(folder: Path) -> None:
    [file] = folder.glob("adapter_model.*")
    file.write_bytes(file.read_bytes()[:-20])


def pointer(folder: Path) -> None:
    [file] = folder.glob("adapter_model.*")
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [(empty, "holds no weights"), (cut, "is no complete file"), (pointer, "is a git-lfs pointer")],
)
def test_an_adapter_without_weights(case: Case, damage, said: str) -> None:
    case.ends(do_train=True, max_steps=1)
    adapter = keeps(case, "A")
    damage(adapter)
    test = case.data("test.jsonl", ROWS)
    status, output = case.start(do_predict=True, test_file=test, adapter_name_or_path=adapter)
    assert status == 1
    assert said in error_of(output)


def test_a_clone_without_its_large_files(case: Case) -> None:
    folder = case.folder / "clone"
    shutil.copytree(case.model, folder)
    file = next(iter([*folder.glob("ice_text.model"), *folder.glob("tokenizer.json")]))
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    status, output = case.start(do_train=True, max_steps=1, model_name_or_path=folder)
    assert status == 1
    assert f"{file.name}' is a git-lfs pointer" in error_of(output)


@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        ("bfloat16", {"lora_modules_to_save": "lm_head"}),
        ("float16", {"lora_modules_to_save": "lm_head,the embedding"}),
        ("bfloat16", {"lora_bias": "all"}),
    ],
)
def test_a_half_precision_base_answers_without_being_told(
    case: Case, precision: str, changes: dict
) -> None:
    """With parts trained in full, which are float32 amid it."""
    changes = {k: v.replace("the embedding", embedding_of(case)) for k, v in changes.items()}
    name = "dtype" if "dtype" in case.told else "torch_dtype"
    case.ends(do_train=True, max_steps=2, **{name: precision}, **changes)
    adapter = keeps(case, "A")
    test = case.data("test.jsonl", ROWS)
    options = {"do_predict": True, "do_eval": True, "test_file": test, name: precision}
    case.ends(adapter_name_or_path=adapter, **options)
    assert len(case.predictions("out")) == len(ROWS)
    assert case.results("out")["eval_loss"] > 0


ENDS = {
    "a loss that is not finite": (
        {"learning_rate": 1e38, "max_steps": 5},
        r"The loss of step \d is (nan|inf)|of the adapter's weights.*are no longer finite",
    ),
    "a learning rate of nothing": (
        {"learning_rate": 0, "max_steps": 2},
        "2 steps have changed nothing in the LoRA matrices",
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_run_that_cannot_learn(case: Case, what: str) -> None:
    options, said = ENDS[what]
    status, output = case.start(do_train=True, **options)
    assert status == 1
    assert re.search(said, error_of(output))
    assert not list((case.folder / "out").glob("adapter_model.*"))


def test_a_loss_that_is_not_finite_goes_on_if_asked(case: Case) -> None:
    options = {"learning_rate": 1e38, "max_steps": 3, "allow_non_finite": True}
    case.ends(do_train=True, **options)
    losses = case.losses("out")
    assert len(losses) == 3 and losses[3] != 0


def test_the_folder_says_where_answers_end(case: Case) -> None:
    case.ends(do_train=True, max_steps=1)
    ends = json.loads((case.folder / "out" / "generation_config.json").read_text())["eos_token_id"]
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(
        case.folder / "out", trust_remote_code=True
    )
    spelled = tokenizer.convert_ids_to_tokens(ends)
    assert spelled[0] in ("<eop>", "<|im_end|>", "<|endoftext|>")
    run = json.loads((case.folder / "out" / "training_run.json").read_text())
    assert run["world_size"] == 1 and run["zero_stage"] is None
    assert run["base_model"]["name_or_path"] == str(case.model)


def test_another_base_model_is_told(case: Case) -> None:
    """Of the same shape, so that all weights find a place."""
    import transformers

    saving = {"do_train": True, "save_strategy": "steps", "save_steps": 1}
    case.ends(max_steps=1, **saving)
    adapter = keeps(case, "A")
    is_chatglm = case.script.name == "run_clm_lora.py"
    kind = transformers.AutoModel if is_chatglm else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(case.model, trust_remote_code=True)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    shutil.copytree(case.model, case.folder / "other")
    for pattern in ("*.safetensors", "*.bin"):
        for file in (case.folder / "other").glob(pattern):
            file.unlink()
    model.save_pretrained(case.folder / "other")
    options = {"do_eval": True, "adapter_name_or_path": adapter}
    assert "was trained on another base model" not in case.ends(**options)
    output = case.ends(model_name_or_path=case.folder / "other", **options)
    assert "was trained on another base model" in output
    keeps(case, "B")  # older scripts want a folder that is empty
    options = {"max_steps": 2, "resume_from_checkpoint": adapter / "checkpoint-1", **saving}
    status, output = case.start(model_name_or_path=case.folder / "other", **options)
    assert status == 1
    assert re.search(
        rf"checkpoint-1' was trained on another base model, '{case.model}'", error_of(output)
    )


def merged(case: Case, adapter: Path) -> Path:
    folder = case.folder / "merged"
    shutil.rmtree(folder, ignore_errors=True)
    trust = ["--trust_remote_code"] if list(case.model.glob("*.py")) else []
    case.program("-m", "tools", "merge", adapter, folder, *trust)
    return folder


def test_a_head_merged_that_was_the_embedding(tied: Case) -> None:
    """Its evaluation, below a new adapter that does nothing yet, is the run's own."""
    loss = trained(tied, lora_target_modules=f"{tied.layers},lm_head")
    tied.ends(do_eval=True, model_name_or_path=merged(tied, keeps(tied, "A")))
    assert tied.results("out")["eval_loss"] == pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize("case", ["causal"], indirect=True)
def test_added_tokens_are_merged(added: Case) -> None:
    import transformers

    options = {**added.files, "lora_modules_to_save": f"{embedding_of(added)},lm_head"}
    loss = trained(added, tokenizer_name=added.folder / "tokenizer", **options)
    folder = merged(added, keeps(added, "A"))
    added.ends(do_eval=True, model_name_or_path=folder, **added.files)
    assert added.results("out")["eval_loss"] == pytest.approx(loss, abs=1e-4)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = model.get_input_embeddings().weight.shape[0]
    assert rows == model.get_output_embeddings().weight.shape[0] == len(tokenizer)

"""tools/training/merge.py: one model of base and adapter, with the logits of the two together."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")
import base_model

from tests.payload import merge_table
from tests.payload.merge_table import KINDS, Case, load, load_tokenizer, logits
from tools import __main__ as tools
from tools.errors import UserError
from tools.training import destination, loading, merge

CHATGLM = next(kind for kind in KINDS if kind.name == "chatglm")
LLAMA = next(kind for kind in KINDS if kind.name == "llama" and kind.tied)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


# The module itself shows them all; every third has each pair of circumstances.
@pytest.mark.parametrize("case", list(merge_table.cases())[::3], ids=str)
def test_merged_weights_are_base_and_adapter(case, models):
    assert merge_table.difference(case, models) <= merge_table.TOLERANCE


@pytest.fixture
def base(models, tmp_path):
    """A base model's folder, to do anything with."""
    return shutil.copytree(merge_table.build(CHATGLM, models), tmp_path / "base")


@pytest.fixture
def adapter(base, tmp_path):
    made = merge_table.add_adapter(Case(CHATGLM, "attention", "none", False), base)
    merge_table.save_adapter(*made, tmp_path / "adapter")
    return tmp_path / "adapter"


def run(*arguments):
    return tools.main(["merge", *map(str, arguments), "--trust_remote_code"])


def refused(capsys, *arguments):
    """The one line that a merge is refused with."""
    before = sorted(os.listdir(Path(arguments[1]).absolute().parent))
    capsys.readouterr()
    assert tools.main(["merge", *map(str, arguments)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    assert sorted(os.listdir(Path(arguments[1]).absolute().parent)) == before
    return said


def test_the_merged_model_needs_no_peft(base, adapter, tmp_path, capsys):
    assert run(adapter, tmp_path / "new" / "merged") == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'new' / 'merged'}\n"
    merged = tmp_path / "new" / "merged"
    without, tokenizer = load(base), load_tokenizer(merged)
    expected = logits(peft.PeftModel.from_pretrained(load(base), adapter), tokenizer)
    torch.testing.assert_close(logits(load(merged), tokenizer), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(without, tokenizer), expected, atol=1e-2)
    assert sorted(os.listdir(tmp_path)) == ["adapter", "base", "new"]
    assert os.listdir(merged.parent) == ["merged"]
    modes = {file.stat().st_mode & 0o777 for file in merged.iterdir()}
    assert modes == {(merged.stat().st_mode & 0o666)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_keep_the_dtype_of_the_base(dtype, models, tmp_path):
    """Saved modules were trained in float32, and so were LoRA's."""
    half = load(merge_table.build(LLAMA, models)).to(dtype)
    half.save_pretrained(tmp_path / "base")
    load_tokenizer(merge_table.build(LLAMA, models)).save_pretrained(tmp_path / "base")
    case = Case(LLAMA, "all linear", "both", False)
    model, tokenizer, described = merge_table.add_adapter(case, tmp_path / "base")
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float() + 1e-4
    merge_table.save_adapter(model, tokenizer, described, tmp_path / "adapter")
    assert run(tmp_path / "adapter", tmp_path / "merged") == 0
    source = loading.find(tmp_path / "adapter")
    merged = merge.merged(loading.load_base(source), source)
    assert {weight.dtype for weight in merged.parameters()} == {dtype}
    written = loading.load_base(loading.Source(str(tmp_path / "merged"), None, True, False))
    assert {weight.dtype for weight in written.parameters()} == {dtype}
    state = written.state_dict()
    trained = dict(model.named_modules())["base_model.model.lm_head"].modules_to_save["default"]
    torch.testing.assert_close(state["lm_head.weight"], trained.weight.to(dtype), rtol=0, atol=0)


def test_it_generates_and_stops_as_the_adapter_says(base, adapter, tmp_path):
    assert run(adapter, tmp_path / "plain") == 0
    tokenizer = load_tokenizer(base)
    ids = torch.tensor([tokenizer.build_inputs_with_special_tokens([20, 21])])
    options = {"max_new_tokens": 8, "do_sample": False}
    free = load(tmp_path / "plain").generate(input_ids=ids, **options)[0, ids.shape[1] :].tolist()
    stop = free[2]
    settings = {"eos_token_id": [stop, tokenizer.eos_token_id], "pad_token_id": 3}
    (adapter / "generation_config.json").write_text(json.dumps(settings))
    assert run(adapter, tmp_path / "merged") == 0
    found = load(tmp_path / "merged").generate(input_ids=ids, **options)[0, ids.shape[1] :]
    assert found.tolist() == free[: free.index(stop) + 1]


def test_published_settings_that_newer_releases_do_not_save(base, adapter, tmp_path):
    settings = {"temperature": 0.9, "top_p": 0.6, "eos_token_id": 7}  # and no sampling
    (base / "generation_config.json").write_text(json.dumps(settings))
    assert run(adapter, tmp_path / "merged") == 0
    found = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert {**found, **settings} == found


# Which base.


def change_weights(base):
    """Another model of the same shape."""
    state = torch.load(base / "pytorch_model.bin")
    torch.save({name: weight + 1 for name, weight in state.items()}, base / "pytorch_model.bin")


def test_another_base_is_refused_unless_it_was_named(base, adapter, tmp_path, capsys):
    change_weights(base)
    said = refused(capsys, adapter, tmp_path / "merged", "--trust_remote_code")
    assert "is not the base model that" in said and "weights that were looked at" in said
    assert run(adapter, tmp_path / "merged", "--base", base) == 0
    warned = capsys.readouterr().err
    assert warned.startswith("warning: ") and "is not the base model that" in warned


def test_older_adapters_have_no_record(base, adapter, tmp_path):
    (adapter / base_model.RUN_FILE).unlink()
    change_weights(base)
    assert run(adapter, tmp_path / "merged") == 0


def test_a_hub_model_is_taken_at_the_commit_it_was_trained_at(base, adapter, tmp_path):
    """Its main branch has moved on to other weights meanwhile."""
    commits, cache = ("a" * 40, "b" * 40), tmp_path / "hub" / "models--me--toy"
    for commit in commits:
        shutil.copytree(base, cache / "snapshots" / commit)
    change_weights(cache / "snapshots" / commits[1])
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commits[1])
    for name, change in (
        ("adapter_config.json", {"base_model_name_or_path": "me/toy"}),
        (base_model.RUN_FILE, {}),
    ):
        value = json.loads((adapter / name).read_text())
        if name == base_model.RUN_FILE:
            value["base_model"] |= {"revision": commits[0], "code_revision": commits[0]}
        (adapter / name).write_text(json.dumps(value | change))

    ran = subprocess.run(
        [sys.executable, "-m", "tools", "merge", "adapter", "merged", "--trust_remote_code"],
        env={
            **os.environ,
            "HF_HOME": str(tmp_path),
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HUGGINGFACE_HUB_CACHE": str(tmp_path / "hub"),
            "PYTHONPATH": str(ROOT),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "wrote merged\n"
    assert "warning" not in ran.stderr


# What is wrong with what is given.


def spoil(file, content):
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def weights_of(folder):
    return next(
        folder / name
        for name in ("adapter_model.safetensors", "adapter_model.bin", "pytorch_model.bin")
        if (folder / name).is_file()
    )


def cut(file):
    spoil(file, file.read_bytes()[:100])


def set_kind(file, kind):
    spoil(file, json.dumps({**json.loads(file.read_text()), "peft_type": kind}))


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda a, b: spoil(a / "adapter_config.json", "{"), "cannot read"),
        (lambda a, b: spoil(a / "adapter_config.json", "[]"), "holds no JSON object"),
        (lambda a, b: spoil(a / "adapter_config.json", "{}"), "no adapter of the type None"),
        (lambda a, b: set_kind(a / "adapter_config.json", "MAGIC"), "of the type 'MAGIC'"),
        (lambda a, b: (a / "adapter_config.json").unlink(), "holds no adapter_config.json"),
        (lambda a, b: shutil.rmtree(a), "holds no adapter_config.json"),
        (lambda a, b: weights_of(a).unlink(), "has no file of weights"),
        (lambda a, b: spoil(weights_of(a), ""), "is no complete file of weights"),
        (lambda a, b: cut(weights_of(a)), "is no complete file of weights"),
        (lambda a, b: spoil(weights_of(a), POINTER), "is a git-lfs pointer"),
        (lambda a, b: (b / "config.json").unlink(), "holds no config.json: give a model's"),
        (lambda a, b: spoil(b / "config.json", "{"), "cannot read"),
        (lambda a, b: spoil(b / "config.json", "{}"), "cannot load"),
        (lambda a, b: weights_of(b).unlink(), "holds no weights"),
        (lambda a, b: spoil(weights_of(b), ""), "cannot load"),
        (lambda a, b: cut(weights_of(b)), "cannot load"),
        (lambda a, b: spoil(weights_of(b), POINTER), "is a git-lfs pointer"),
        (lambda a, b: spoil(b / "ice_text.model", POINTER), "is a git-lfs pointer"),
        (lambda a, b: shutil.rmtree(b), "cannot load"),
    ],
)
def test_what_is_broken_is_told_in_one_line(break_it, message, base, adapter, tmp_path, capsys):
    break_it(adapter, base)
    assert message in refused(capsys, adapter, tmp_path / "merged", "--trust_remote_code")


def test_remote_code_runs_only_when_it_is_trusted(adapter, tmp_path, capsys):
    assert "let it run with --trust_remote_code" in refused(capsys, adapter, tmp_path / "merged")


def test_base_and_adapter_are_not_mixed_up(base, adapter, tmp_path, capsys):
    assert "holds no adapter_config.json" in refused(capsys, base, tmp_path / "merged")
    said = refused(capsys, adapter, tmp_path / "merged", "--base", adapter)
    assert "is an adapter and not a model" in said


@pytest.mark.parametrize("shape", [{"layers": 1}, {"hidden_size": 16}])
def test_an_adapter_of_a_larger_model_is_refused(shape, adapter, tmp_path, capsys):
    from tests import toy_chatglm

    other = toy_chatglm.build(tmp_path / "other", **shape)
    given = (adapter, tmp_path / "merged", "--base", other, "--trust_remote_code")
    (adapter / base_model.RUN_FILE).unlink()
    assert "does not fit the model" in refused(capsys, *given)


def test_a_prompt_is_nothing_to_merge(adapter, models, tmp_path, capsys):
    shutil.rmtree(adapter)
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(load(merge_table.build(LLAMA, models)), config).save_pretrained(adapter)
    assert "changes no weights" in refused(capsys, adapter, tmp_path / "merged")


# Where it is written.


def test_what_is_there_is_kept(adapter, tmp_path, capsys):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").write_text("mine")
    assert "is not empty" in refused(capsys, adapter, tmp_path / "merged")
    assert os.listdir(tmp_path / "merged") == ["mine.txt"]


@pytest.mark.parametrize(
    "make, name, message",
    [
        (lambda place: place.symlink_to("nowhere"), "d", "is a symbolic link"),
        (lambda place: place.symlink_to(place.parent), "d", "is a symbolic link"),
        (lambda place: place.write_text(""), "d", "is a file"),
        (lambda place: place.parent.write_text(""), "f/d", "is no folder"),
        (lambda place: place.parent.parent.write_text(""), "f/g/d", "is no folder"),
        (lambda place: None, "adapter/d", "is inside"),
        (lambda place: None, "base/d/e", "is inside"),
        (lambda place: None, "adapter", "is inside"),
        (lambda place: None, "/proc", "is a mount point"),
        (lambda place: None, "/dev/null/d", "is no folder"),
    ],
)
def test_where_nothing_can_be_written(make, name, message, adapter, tmp_path, capsys):
    make(tmp_path / name)
    args = (adapter, tmp_path / name, "--trust_remote_code")
    tools.main(["merge", *map(str, args)])
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1
    assert not list(tmp_path.rglob(".*-*"))


def test_an_unwritable_parent_or_too_small_a_disk(adapter, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)
        assert "is not writable" in refused(capsys, adapter, tmp_path / "merged")
    full = shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert "GB free" in refused(capsys, adapter, tmp_path / "merged")


def test_an_empty_folder_and_a_missing_parent_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    for dest in (tmp_path / "empty", tmp_path / "a" / "b"):
        destination.check(dest, [])
        with destination.written(dest) as folder:
            (folder / "file").write_text("")
        assert os.listdir(dest) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no"), OSError(28, "full")])
def test_nothing_is_left_of_what_fails(error, tmp_path):
    expected = UserError if isinstance(error, OSError) else type(error)

    def fail():
        with destination.written(tmp_path / "a" / "b") as folder:
            (folder / "file").write_text("")
            raise error

    with pytest.raises(expected):
        fail()
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_nothing(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "copy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert run(adapter, tmp_path / "merged") == 130
    assert sorted(os.listdir(tmp_path)) == ["adapter", "base"]


def test_an_adapter_of_a_quantised_base(base, adapter, tmp_path, capsys, monkeypatch):
    """Where such weights cannot be had it is refused, and put on the published ones if these are named."""
    file = adapter / base_model.RUN_FILE
    run_of = json.loads(file.read_text())
    run_of["base_model"]["quantization"] = "4bit"
    file.write_text(json.dumps(run_of))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    said = refused(capsys, adapter, tmp_path / "merged", "--trust_remote_code")
    assert "--quantization 4bit" in said
    assert run(adapter, tmp_path / "merged", "--base", base) == 0
    assert "was trained on weights of 4bit, and" in capsys.readouterr().err

"""tools/training/port: the toy family's code, as old as the published, on this stack."""

import inspect
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
from head_on_labels import CHUNKS, HeadOnLabels

from tests.smoke.real_chat import PAIRS, by_heart
from tests.toy_chatglm import build, family, figures
from tools import __main__ as tools
from tools.errors import UserError
from tools.training import stacks
from tools.training.port import folder as folders
from tools.training.port import port, trial

ROOT = Path(__file__).resolve().parents[2]
IS_OLD = not hasattr(transformers, "DynamicCache")


def runs_unported(kind):
    return IS_OLD and kind != "glm4"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("port")


@pytest.fixture(scope="module")
def made(place):
    """kind → the folder of its old code, and that of the port; on an old stack the first twice."""
    known = {}

    def make(kind):
        if kind not in known:
            old = family.build(place / kind, kind)
            new = old if runs_unported(kind) else place / f"ported_{kind}"
            if new != old:
                port.port(str(old), new, trust=True)
            known[kind] = (old, new)
        return known[kind]

    return make


KINDS = [kind for kind in family.KINDS if not (IS_OLD and kind == "glm4")]


def load(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    return model.eval(), tokenizer


def example(tokenizer, prompt, response):
    """(input ids, labels), each (1, length)."""
    if hasattr(tokenizer, "build_chat_input"):
        asked = tokenizer.build_chat_input(prompt, [])["input_ids"][0].tolist()
        answer = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(response))
        answer = [*answer, tokenizer.get_ends()[0]]
    else:
        asked = tokenizer(prompt)["input_ids"]
        answer = [*tokenizer(response, add_special_tokens=False)["input_ids"]]
        answer = [*answer, tokenizer.eos_token_id]
    ids = torch.tensor([asked + answer])
    labels = ids.clone()
    labels[0, : len(asked)] = -100
    return ids, labels


def answers(model, tokenizer):
    return [model.chat(tokenizer, prompt, do_sample=False, max_length=60)[0] for prompt, _ in PAIRS]


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_is_merged_and_chats(kind, made, tmp_path):
    folder = made(kind)[1]
    model, tokenizer = load(folder)
    model = by_heart(model, [example(tokenizer, *pair) for pair in PAIRS])
    assert answers(model, tokenizer) == [response for _, response in PAIRS]
    model.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    adapter, merged = str(tmp_path / "adapter"), str(tmp_path / "merged")
    assert tools.main(["merge", adapter, merged, "--trust_remote_code"]) == 0
    shutil.rmtree(adapter)
    again, words = load(merged)
    assert answers(again, words) == [response for _, response in PAIRS]
    ids, _ = example(tokenizer, *PAIRS[0])
    torch.testing.assert_close(again(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.skipif(IS_OLD, reason="needs no port")
def test_it_computes_what_an_old_release_does(made, tmp_path):
    python = stacks.python("v4.28.0")
    if not python.is_file():
        pytest.skip("no environment for v4.28.0 here")
    kinds = [kind for kind in family.KINDS if kind != "glm4"]
    ran = subprocess.run(
        [python, "-m", "tests.toy_chatglm.figures", tmp_path / "old.json"]
        + [made(kind)[0] for kind in kinds],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    for kind, old in zip(kinds, json.loads((tmp_path / "old.json").read_text())):
        new = json.loads(json.dumps(figures.figures(made(kind)[1])))
        assert [name for name in old if old[name] != new[name]] == [], kind


@pytest.mark.skipif(IS_OLD, reason="needs no port")
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_may_be_resized(kind, made):
    """As upstream's script does, under ZeRO-3 always."""
    if runs_unported(kind):
        pytest.skip("its code says itself whether they may")
    model, tokenizer = load(made(kind)[1])
    rows = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(8)  # what is there stays
    assert model.get_input_embeddings().weight.shape[0] == rows
    model.resize_token_embeddings(rows + 8)
    ids = torch.tensor([[rows + 7, *tokenizer("a")["input_ids"]]])
    assert model(ids).logits.isfinite().all()
    assert model.get_input_embeddings().weight.shape[0] == rows + 8


def test_the_first_is_as_large_as_asked_for(tmp_path):
    """As the demo has it; the others are of one size."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("你叫什么名字？\n我叫小雨。\n")
    sizes = ("--hidden-size", "64", "--corpus", corpus)
    command = [sys.executable, "-m", "tests.toy_chatglm", tmp_path / "large", *sizes]
    subprocess.run([*command, "--kind", "chatglm6b"], check=True, cwd=ROOT)
    folder = tmp_path / "large"
    if not IS_OLD:
        folder = tmp_path / "new"
        port.port(str(tmp_path / "large"), folder, trust=True)
    model, tokenizer = load(folder)
    assert model.get_input_embeddings().weight.shape == (400, 64)
    assert tokenizer.decode(tokenizer("我叫小雨。")["input_ids"][:-2]) == "我叫小雨。"
    with pytest.raises(ValueError, match="a toy glm4 is of one size: leave out hidden_size"):
        family.build(tmp_path / "none", "glm4", hidden_size=64)


def test_the_firsts_loss_is_the_same_on_any_number_of_ranks(made):
    """A `forward` that takes any name is taken for one that weighs tokens, its loss multiplied."""
    model, _ = load(made("chatglm6b")[1])
    takes = inspect.signature(model.forward).parameters.values()
    assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in takes)


@pytest.mark.parametrize("how", ["", "target_modules", "modules_to_save"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_loss_comes_from_labels_positions_alone(kind, how, made):
    """Whether or not its code says what its head is, and whatever peft puts around that."""
    model, tokenizer = load(made(kind)[1])
    ids, labels = example(tokenizer, "你好吗？", "好。")
    given = {"input_ids": ids, "labels": labels}
    head = "lm_head" if kind == family.FIRST else "output_layer"
    names = {"target_modules": ["query_key_value"], **({how: [head]} if how else {})}
    model = peft.get_peft_model(
        model, peft.LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, **names)
    )
    with torch.no_grad():
        expected = model(**given)["loss"]
        head = HeadOnLabels(model)
        head.chunk = 2
        torch.testing.assert_close(model(**given).loss, expected, rtol=1e-5, atol=0)
    assert head.way == CHUNKS


def test_files_are_as_they_were(made):
    old, new = made("chatglm6b")
    for file in old.glob("*"):
        if file.name not in folders.CONFIGS:
            assert (new / file.name).read_bytes() == file.read_bytes()
    for name in folders.CONFIGS:
        before, after = (json.loads((folder / name).read_text()) for folder in (old, new))
        assert before.pop("auto_map").keys() == after.pop("auto_map").keys()
        assert before == after


def test_what_is_large_is_linked(place, tmp_path, monkeypatch):
    old = family.build(place / "linked", "chatglm2")
    monkeypatch.setattr(folders, "LARGEST_COPY", 10_000)
    weights = old / "pytorch_model.bin"
    mode = weights.stat().st_mode
    for name, break_it in (("hard", None), ("soft", "link"), ("copy", "symlink")):
        if break_it:
            monkeypatch.setattr(os, break_it, lambda *_: (_ for _ in ()).throw(OSError(18, "")))
        (tmp_path / name).mkdir()
        folders.write(old, folders.read(old), tmp_path / name)
        assert (tmp_path / name / weights.name).read_bytes() == weights.read_bytes()
    assert (tmp_path / "hard" / weights.name).samefile(weights)
    assert (tmp_path / "soft" / weights.name).is_symlink()
    assert not (tmp_path / "copy" / weights.name).is_symlink()
    assert weights.stat().st_mode == mode


@pytest.mark.skipif(IS_OLD, reason="needs no port")
def test_a_hubs_model_is_taken_at_a_revision(tmp_path, place):
    cache = tmp_path / "hub" / "models--me--toy"
    snapshot = cache / "snapshots" / ("a" * 40)
    family.build(snapshot, "chatglm3")
    (cache / "refs").mkdir()
    (cache / "refs" / "old").write_text("a" * 40)
    ran = subprocess.run(
        [sys.executable, "-m", "tools", "port", "me/toy", "new", "--revision", "old"]
        + ["--trust_remote_code"],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, "wrote new\n"), ran.stderr
    assert (tmp_path / "new" / "pytorch_model.bin").is_file()


# What is refused.


def refused(capsys, *arguments):
    """The one line that a port is refused with; nothing is left of it."""
    capsys.readouterr()
    dest = Path(arguments[1])
    before = sorted(os.listdir(dest.parent))
    assert tools.main(["port", *map(str, arguments), "--trust_remote_code"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    assert sorted(os.listdir(dest.parent)) == before
    return said


def edit(file, change):
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def test_code_that_runs_here_needs_no_port(tmp_path, capsys):
    """The other toy is of our own time; the family's are of the old stack's."""
    own = family.build(tmp_path / "own", "chatglm2") if IS_OLD else build(tmp_path / "own")
    said = refused(capsys, own, tmp_path / "new")
    assert f"transformers {transformers.__version__} runs the code of {own} as it is" in said


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda f: shutil.copy(folders.ADAPTER, f), "is a ported folder already"),
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "cannot read"),
        (lambda f: (f / "pytorch_model.bin").unlink(), "holds no weights"),
        (lambda f: (f / "modeling_toy_glm.py").unlink(), "holds no modeling_toy_glm.py"),
        (lambda f: edit(f / "tokenizer_config.json", lambda _: {}), "no class for AutoTokenizer"),
        (
            lambda f: edit(
                f / "config.json", lambda c: {**c, "auto_map": {"AutoModel": "me/x--a.B"}}
            ),
            "holds no a.py, which auto_map names: it is in me/x",
        ),
        (
            lambda f: edit(f / "config.json", lambda c: {**c, "auto_map": {"AutoModel": "../a.B"}}),
            "which is no class of a file",
        ),
    ],
)
def test_what_is_broken_is_told_in_one_line(break_it, message, place, tmp_path, capsys):
    folder = family.build(tmp_path / "broken", "chatglm2")
    break_it(folder)
    assert message in refused(capsys, folder, tmp_path / "new")


def test_a_folder_without_code(tmp_path, capsys):
    folder = family.build(tmp_path / "plain", "chatglm2")
    for name in folders.CONFIGS:
        edit(folder / name, lambda c: {k: v for k, v in c.items() if k != "auto_map"})
    assert "brings no code of its own" in refused(capsys, folder, tmp_path / "new")
    assert "has no revisions" in refused(capsys, folder, tmp_path / "new", "--revision", "main")
    assert "cannot find me/none" in refused(capsys, "me/none", tmp_path / "new")


def test_code_runs_only_when_it_is_trusted(tmp_path, capsys):
    folder = family.build(tmp_path / "old", "chatglm2")
    assert tools.main(["port", str(folder), str(tmp_path / "new")]) == 1
    assert "let it run with --trust_remote_code" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


UNKNOWN = [
    ("configuration_toy_glm.py", "num_layers", "num_blocks", "takes no num_layers"),
    ("tokenization_toy_glm2.py", "def _pad(", "def _fill(", "has no _pad of its own"),
    ("tokenization_toy_glm2.py", "model_path", "path", "has an SPTokenizer that takes neither"),
    ("modeling_toy_glm.py", "def _reorder_cache", "def _other", "has no _reorder_cache of its own"),
    ("modeling_toy_glm.py", "def _init_weights", "def _other", "has no _init_weights of its own"),
    ("modeling_toy_glm.py", "empty_init", "is_empty", "takes no empty_init"),
]


@pytest.mark.skipif(IS_OLD, reason="needs no port")
@pytest.mark.parametrize("file, old, new, message", UNKNOWN)
def test_unknown_code_is_refused(file, old, new, message, tmp_path):
    """What the trial of a port says, here without its process."""
    folder = family.build(tmp_path / f"{tmp_path.name}_unknown", "chatglm2")
    text = (folder / file).read_text().replace(old, new)
    (folder / file).write_text(text)
    dest = tmp_path / f"{tmp_path.name}_new"
    dest.mkdir()
    folders.write(folder, folders.read(folder), dest)
    assert message in trial.failure(dest)


@pytest.mark.skipif(IS_OLD, reason="needs no port")
def test_an_unknown_folder_leaves_nothing(tmp_path):
    folder = family.build(tmp_path / "unknown", "chatglm2")
    file = folder / "modeling_toy_glm.py"
    file.write_text(file.read_text().replace("def _reorder_cache", "def _other"))
    with pytest.raises(UserError, match="cannot port .* has no _reorder_cache of its own, so"):
        port.port(str(folder), tmp_path / "new", trust=True)
    assert os.listdir(tmp_path) == ["unknown"]

"""Adapters to go on training: read whole or refused, and every weight in its place."""

import json
import os
import sys

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
pytest.importorskip("transformers")
from adapter_weights import _is_whole_safetensors
from test_lora import ToyConfig, ToyGLM, add_lora, arguments, make_model, run_arguments, trainable

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"


def trained(**changes):
    """A model with an adapter whose weights are all different from a fresh one's."""
    model = add_lora(make_model(), arguments(**changes), run_arguments())
    with torch.no_grad():
        for number, parameter in enumerate(trainable(model).values()):
            parameter.fill_(0.1 + number)
    return model


def load(folder, **shape):
    torch.manual_seed(0)
    given = arguments(adapter_name_or_path=str(folder))
    return add_lora(ToyGLM(ToyConfig(**shape)), given, run_arguments())


def rewrite(folder, change):
    """Give `folder` the weights that `change` returns for those it has, as a .bin file."""
    weights = peft.get_peft_model_state_dict(trained())
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        (folder / name).unlink(missing_ok=True)
    torch.save(change({name: value.clone() for name, value in weights.items()}), weights_of(folder))


def weights_of(folder):
    paths = [path for path in folder.iterdir() if path.name.startswith("adapter_model.")]
    return paths[0] if paths else folder / "adapter_model.bin"


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def renamed(weights):
    name = next(iter(weights))
    weights[f"{name}.other"] = weights.pop(name)
    return weights


SPOILT = {
    "no weights in it": (
        lambda a: rewrite(a, lambda _: {}),
        "the adapter in '.*A' holds no weights",
    ),
    "no file": (lambda a: weights_of(a).unlink(), "the adapter in '.*A' has no file of weights"),
    "an empty file": (lambda a: os.truncate(weights_of(a), 0), "is no complete file of weights"),
    "half a file": (lambda a: cut(weights_of(a)), "is no complete file of weights"),
    "half an older file": (
        lambda a: (rewrite(a, lambda weights: weights), cut(weights_of(a))),
        "adapter_model.bin' is no complete file of weights",
    ),
    "a pointer": (
        lambda a: weights_of(a).write_text(POINTER),
        "is a git-lfs pointer and not the file itself: fetch it with `git lfs pull`",
    ),
    "a list": (lambda a: rewrite(a, lambda _: [1]), "holds something else than an adapter's"),
    "numbers": (lambda a: rewrite(a, lambda _: {"a": 1}), "holds something else than an adapter's"),
    "one weight of four": (
        lambda a: rewrite(a, lambda weights: dict([*weights.items()][:1])),
        "does not fit the model: 3 weights are in only one of them, such as 'base_model.* in the model",
    ),
    "another name": (
        lambda a: rewrite(a, renamed),
        "does not fit the model: 2 weights are in only one of them, such as 'base_model",
    ),
    "another rank": (
        lambda a: (a / "adapter_config.json").write_text(
            (a / "adapter_config.json").read_text().replace('"r": 8', '"r": 4')
        ),
        r"4 are of another shape, such as 'base_model.*', \[8, 16\] and not the model's \[4, 16\]",
    ),
    "settings of no kind": (
        lambda a: (a / "adapter_config.json").write_text("{}"),
        "cannot load '.*A'",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_an_adapter_that_is_not_all_there_is_refused(what, tmp_path):
    folder = tmp_path / "A"
    trained().save_pretrained(folder)
    load(folder)
    spoil, said = SPOILT[what]
    spoil(folder)
    with pytest.raises(ValueError, match=f"^--adapter_name_or_path: .*{said}") as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{}, {"lora_modules_to_save": "lm_head"}])
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (
            {"num_layers": 3},
            "2 weights are in only one of them, such as 'base_model.* in the model",
        ),
        ({"num_layers": 1}, "2 weights are in only one of them, such as .* in the adapter"),
        ({"hidden_size": 24}, "are of another shape, such as"),
        ({"hidden_size": 8, "num_layers": 3}, "2 weights are in only .*; .* are of another shape"),
    ],
)
def test_an_adapter_of_another_model_is_refused(changes, shape, said, tmp_path):
    trained(**changes).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=f"^--adapter_name_or_path: .*does not fit.*{said}"
    ) as error:
        load(tmp_path, **shape)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("with_base_weights", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora_bias": "all"},
        {"lora_bias": "lora_only"},
        {"lora_modules_to_save": "lm_head"},
        {"lora_target_modules": "word_embeddings,dense"},
    ],
)
def test_every_weight_finds_its_place(changes, with_base_weights, tmp_path):
    model = trained(**changes)
    if not hasattr(peft.utils, "INCLUDE_LINEAR_LAYERS_SHORTHAND"):
        if with_base_weights:
            pytest.skip("this release of peft never adds base weights")
        model.save_pretrained(tmp_path)
    else:
        model.save_pretrained(tmp_path, save_embedding_layers=with_base_weights)
    before, after = trainable(model), trainable(load(tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_base_weights_that_the_model_lacks_are_refused(tmp_path):
    """They would be loaded, and be in none of the checkpoints."""

    def with_other_embeddings(weights):
        weights["base_model.model.word_embeddings.weight"] = torch.zeros(4, 16)
        return weights

    trained().save_pretrained(tmp_path)
    rewrite(tmp_path, with_other_embeddings)
    with pytest.raises(
        ValueError, match="1 weights are in only .*word_embeddings.* in the adapter"
    ):
        load(tmp_path)


def safetensors_bytes(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_safetensors_are_as_long_as_they_say(tmp_path):
    path = tmp_path / "a.safetensors"
    entry = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    whole = safetensors_bytes({"__metadata__": {"format": "pt"}, "a": entry}, bytes(12))
    path.write_bytes(whole)
    assert _is_whole_safetensors(path)
    broken = [whole[:length] for length in range(len(whole))] + [whole + b"0", bytes(len(whole))]
    broken += map(safetensors_bytes, ([], 1, {"a": 1}, {"a": {}}, {"a": {"data_offsets": "ab"}}))
    for content in broken:
        path.write_bytes(content)
        assert not _is_whole_safetensors(path), content


def test_safetensors_without_their_package(tmp_path, monkeypatch):
    trained().save_pretrained(tmp_path)
    weights_of(tmp_path).unlink()
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors_bytes({}))
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ValueError, match="is read by the package safetensors: install it"):
        load(tmp_path)

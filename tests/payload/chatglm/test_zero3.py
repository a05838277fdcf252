"""When the model is asked to build its weights the plain way."""

import importlib
import json
import types

import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("torch")
import zero3
from zero3 import zero3_model_kwargs

MODELING = """
from transformers import PretrainedConfig, PreTrainedModel

class WithConfig(PretrainedConfig):
    model_type = "with"

class With(PreTrainedModel):
    config_class = WithConfig
    def __init__(self, config, empty_init=True):
        super().__init__(config)

class Without(PreTrainedModel):
    config_class = WithConfig
    def __init__(self, config):
        super().__init__(config)
"""


@pytest.fixture
def source(tmp_path):
    """A function that returns the arguments for a model folder whose AutoModel is the given one."""

    def make(name, **changes):
        folder = tmp_path / "toy_remote"
        folder.mkdir(exist_ok=True)
        (folder / "modeling_toy.py").write_text(MODELING)
        auto_map = {"AutoModel": f"modeling_toy.{name}"} if name else None
        (folder / "config.json").write_text(json.dumps({"auto_map": auto_map}))
        options = {
            "model_name_or_path": str(folder),
            "cache_dir": str(tmp_path / "hub"),
            "model_revision": "main",
            "trust_remote_code": True,
            **changes,
        }
        return types.SimpleNamespace(auto_map=auto_map), types.SimpleNamespace(**options)

    return make


@pytest.fixture
def _on(monkeypatch):
    monkeypatch.setattr(zero3, "_zero3_is_on", lambda: True)


@pytest.mark.usefixtures("_on")
@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("With", {}, {"empty_init": False}),
        ("With", {"token": "secret"}, {"empty_init": False}),
        ("With", {"token": None}, {"empty_init": False}),
        ("With", {"use_auth_token": False}, {"empty_init": False}),
        ("Without", {}, {}),
        (None, {}, {}),
        ("With", {"trust_remote_code": False}, {}),
        ("With", {"model_name_or_path": None}, {}),
    ],
)
def test_only_classes_that_take_it_are_told(source, name, changes, expected):
    assert zero3_model_kwargs(*source(name, **changes)) == expected


def test_nothing_without_zero3(source):
    assert not zero3._zero3_is_on()
    assert zero3_model_kwargs(*source("With")) == {}


@pytest.mark.parametrize("stage", [2, 3])
def test_the_training_arguments_decide(source, stage):
    pytest.importorskip("deepspeed")
    for place in ("transformers.integrations", "transformers.deepspeed"):
        try:
            made = importlib.import_module(place).HfDeepSpeedConfig
            break
        except (ImportError, AttributeError):
            continue
    # The library keeps a weak reference: it is on for as long as this object lives.
    config = made({"zero_optimization": {"stage": stage}, "train_micro_batch_size_per_gpu": 1})
    assert zero3._zero3_is_on() is (stage == 3)
    expected = {"empty_init": False} if stage == 3 else {}
    assert zero3_model_kwargs(*source("With")) == expected
    del config

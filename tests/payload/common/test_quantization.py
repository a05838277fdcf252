"""Base models of four or eight bits: which stacks hold them, what is told, what is computed."""

import sys
import types

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import base_model
import quantization
from test_lora import add_lora, arguments, make_model, run_arguments
from user_error import UserError

DOES = hasattr(peft, "prepare_model_for_kbit_training")


def test_nothing_is_asked_of_the_loading_by_default():
    assert quantization.quantized(arguments()) == {}


def _refused(kind):
    with pytest.raises(UserError) as error:
        quantization.quantized(arguments(quantization=kind))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unknown_kind():
    assert _refused("2bit") == "--quantization must be 4bit or 8bit, not '2bit'."


@pytest.mark.parametrize("kind", quantization.QUANTIZATIONS)
def test_what_cannot_be(kind, monkeypatch):
    monkeypatch.setattr(quantization, "_zero3_is_on", lambda: True)
    assert "does not go with ZeRO-3" in _refused(kind)
    monkeypatch.setattr(quantization, "_zero3_is_on", lambda: False)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert "does not go with ZeRO-3 or FSDP" in _refused(kind)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    wanted = "needs the package bitsandbytes" if DOES else "take a newer stack"
    assert wanted in _refused(kind)


def test_a_model_made_from_its_configuration():
    with pytest.raises(UserError, match="was made from its configuration: leave the argument out"):
        add_lora(make_model(), arguments(quantization="4bit"), run_arguments())


def test_another_quantisation_is_told(tmp_path):
    here = base_model._describe_base(make_model())
    assert here["quantization"] is None
    (tmp_path / base_model.RUN_FILE).write_text('{"base_model": {"quantization": "4bit"}}')
    with pytest.raises(
        UserError, match="was trained on weights of 4bit, and this run has weights that"
    ):
        base_model._check_same_base(str(tmp_path), here)


def test_what_training_computes_in():
    halves = [{"bf16": True}, {"fp16": True}, {}]
    found = [quantization._trained_in(types.SimpleNamespace(**half)) for half in halves]
    assert found == [torch.bfloat16, torch.float16, None]
    named = {"bfloat16": torch.bfloat16, "auto": None, None: None}
    for name, dtype in named.items():
        assert quantization._named_dtype(types.SimpleNamespace(torch_dtype=name)) is dtype

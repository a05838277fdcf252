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
RUN = types.SimpleNamespace(device=torch.device("cpu"), bf16=False, fp16=False, fsdp="")


def test_nothing_is_asked_of_the_loading_by_default():
    assert quantization.quantized(arguments(), RUN) == {}


def _refused(kind, run=RUN):
    with pytest.raises(UserError) as error:
        quantization.quantized(arguments(quantization=kind), run)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unknown_kind():
    assert _refused("2bit") == "--quantization must be 4bit or 8bit, not '2bit'."


@pytest.mark.parametrize("kind", quantization.QUANTIZATIONS)
def test_what_cannot_be(kind, monkeypatch):
    monkeypatch.setattr(quantization, "_zero3_is_on", lambda: True)
    assert "does not go with ZeRO-3" in _refused(kind)
    monkeypatch.setattr(quantization, "_zero3_is_on", lambda: False)
    sharded = types.SimpleNamespace(**{**vars(RUN), "fsdp": "full_shard"})
    assert "does not go with ZeRO-3 or FSDP" in _refused(kind, sharded)
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
        UserError, match="was trained on --quantization 4bit, and this run has weights"
    ):
        base_model._check_same_base(str(tmp_path), here)


@pytest.mark.parametrize(
    ("run", "named", "dtype"),
    [
        ({"bf16": True}, None, torch.bfloat16),
        ({"fp16": True}, "bfloat16", torch.float16),
        ({}, "bfloat16", torch.bfloat16),
        ({}, "auto", torch.float32),
        ({}, None, torch.float32),
    ],
)
def test_what_four_bits_are_multiplied_in(run, named, dtype):
    model_args = types.SimpleNamespace(torch_dtype=named)
    assert quantization._compute_dtype(model_args, types.SimpleNamespace(**run)) is dtype

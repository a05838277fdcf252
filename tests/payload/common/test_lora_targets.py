"""Which modules are adapted where nothing is said of them, and what the log says."""

import logging
import types

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import lora_targets
from test_lora import add_lora, arguments, make_model, run_arguments
from torch import nn

from tests import tiny_models


class Parts(nn.Module):
    """A module of nothing but named parts."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Unlearning(Parts):
    @torch.no_grad()
    def forward(self, hidden):
        return self.keys(hidden)


class Model(Parts):
    """A model whose head is `lm_head`, where it has one."""

    def __init__(self, model_type="new", **parts):
        super().__init__(**parts)
        self.config = types.SimpleNamespace(model_type=model_type)

    def get_output_embeddings(self):
        return getattr(self, "lm_head", None)


def linear():
    return nn.Linear(2, 2)


def mlp():
    return Parts(up=linear(), down=linear())


def layers(*blocks, name="mlp"):
    return nn.ModuleList(Parts(attn=Parts(q=linear(), o=linear()), **{name: b}) for b in blocks)


def chosen(**parts):
    return lora_targets._target_modules(Model(**parts), None)


def test_peft_knows_a_type():
    model = Model("gpt2", c_attn=linear(), up=linear())
    assert list(lora_targets._target_modules(model, None)) == ["c_attn"]


def test_a_type_that_peft_does_not_know():
    assert chosen(layers=layers(mlp(), mlp()), lm_head=linear()) == ["q", "o", "up", "down"]


def test_nothing_to_adapt():
    with pytest.raises(ValueError, match="A 'new' model has no linear module that is adapted"):
        chosen(lm_head=linear())


@pytest.mark.parametrize(
    "routed",
    [
        lambda: Parts(experts=nn.ModuleList([mlp()]), gate=linear(), shared=mlp()),
        lambda: Parts(experts=Parts(up=nn.Parameter(torch.ones(2, 2, 2))), gate=linear()),
        lambda: Parts(router=Parts(layer=linear()), up=linear(), down=linear()),
    ],
    ids=["lists", "tensors", "router"],
)
def test_experts(routed):
    """Neither they, nor their routers, nor the same block of a layer without them."""
    assert chosen(layers=layers(mlp(), routed())) == ["q", "o"]


def test_experts_beside_the_attention():
    """There is no block to leave out; what has one name with a part of theirs is named in full."""
    layer = Parts(q=linear(), up=linear(), experts=nn.ModuleList([mlp()]), router=linear())
    assert chosen(layers=nn.ModuleList([layer])) == ["q", "layers.0.up"]


def test_what_runs_without_gradients():
    attention = Parts(q=linear(), keys=linear(), indexer=Unlearning(keys=linear()))
    assert chosen(attn=attention) == ["q", "attn.keys"]


def test_all_linear_is_left_to_peft():
    if hasattr(peft.utils, "INCLUDE_LINEAR_LAYERS_SHORTHAND"):
        assert lora_targets._target_modules(Model(), "all-linear") == "all-linear"


@pytest.mark.parametrize("kind", tiny_models.GLMS)
def test_all_of_an_adapter_of_a_native_glm_learns(kind, tmp_path):
    if kind not in tiny_models.available():
        pytest.skip(f"this release of transformers has no {kind} models")
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_models.build(kind, tmp_path))
    targets = lora_targets._target_modules(model, None)
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.1, target_modules=targets)
    model = peft.get_peft_model(model, config)
    ids = torch.arange(40)[None]  # more than the indexer picks
    model(input_ids=ids, labels=ids).loss.backward()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None for p in learning.values())
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in learning} == set(targets)


def test_the_log_says_what_is_adapted(caplog):
    with caplog.at_level(logging.INFO, logger="lora"):
        add_lora(make_model(), arguments(), run_arguments())
    others = "word_embeddings, positions, dense, lm_head"
    assert f"LoRA on query_key_value; none on {others}." in caplog.text

"""What shows that a run learns nothing."""

import logging

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import learning_checks
from adapter_trainer import AdapterTrainer
from test_lora import BATCH, add_lora, arguments, make_model
from torch.utils.checkpoint import checkpoint
from user_error import UserError

from tests import tiny_models


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_losses_and_weights_that_are_not_finite(value):
    learning_checks._require_finite_loss(torch.tensor(3.0), 1)
    with pytest.raises(UserError, match=f"The loss of step 7 is {value}: the run ends"):
        learning_checks._require_finite_loss(torch.tensor(value), 7)
    good = {"a": torch.zeros(2), "b": torch.ones(2)}
    learning_checks._require_finite_weights(good)
    with pytest.raises(UserError, match="1 of the adapter's weights, such as 'b', are no longer"):
        learning_checks._require_finite_weights({**good, "b": torch.tensor([1.0, value])})


def state(**changes):
    zeros = {f"x.{name}.default": torch.zeros(2, 2) for name in ("lora_B", "lora_embedding_A")}
    return {"x.lora_A.default": torch.ones(2, 2), **zeros, **changes}


def test_matrices_that_stayed_zero(caplog):
    learning_checks._require_learnt(state(), 0)
    learning_checks._require_learnt(state(**{"y.lora_B.default": torch.ones(1)}), 3)
    learning_checks._require_learnt({"x.lora_magnitude": torch.zeros(1)}, 3)
    with pytest.raises(UserError, match="3 steps have changed nothing in the LoRA matrices"):
        learning_checks._require_learnt(state(), 3)
    learning_checks._require_learnt(state(**{"head.modules_to_save": torch.ones(1)}), 3)
    assert "error: 3 steps have changed nothing" in caplog.text


class Recomputing(torch.nn.Module):
    """Checkpoints the block that it wraps, in one of torch's two ways, or passes that over."""

    def __init__(self, block, reentrant):
        super().__init__()
        self.block, self.reentrant = block, reentrant

    def forward(self, hidden, hide):
        if self.reentrant is None:
            return self.block(hidden, hide)
        return checkpoint(self.block, hidden, hide, use_reentrant=self.reentrant)


@pytest.mark.parametrize("how", [True, False, None])
def test_checkpointing_that_is_ignored(caplog, how):
    model = make_model()
    model.layers = torch.nn.ModuleList(Recomputing(block, how) for block in model.layers)
    model = add_lora(model, arguments(), transformers.TrainingArguments("out", report_to=[]))
    model.enable_input_require_grads()
    with learning_checks._watch_checkpointing(model.train()):
        model(**BATCH).loss.backward()
    said = "--gradient_checkpointing has no effect: the code of ToyGLM passes it over"
    assert (said in caplog.text) is (how is None)


@pytest.mark.parametrize("ignored", [True, False])
def test_the_trainer_tells_it_once(training_args, tmp_path, caplog, ignored):
    kind = "qwen2" if "qwen2" in tiny_models.available() else "gpt2"
    folder = tiny_models.build(kind, tmp_path / kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    if ignored:  # as GLM-4's published code has it
        model.gradient_checkpointing_enable = lambda *args, **kwargs: None
    args = training_args(gradient_checkpointing=True, max_steps=3, save_strategy="no")
    target = "q_proj" if kind == "qwen2" else "c_attn"
    model = add_lora(model, arguments(lora_target_modules=target), args)
    rows = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}] * 4
    with caplog.at_level(logging.WARNING):
        AdapterTrainer(model=model, args=args, train_dataset=rows).train()
    assert caplog.text.count("--gradient_checkpointing has no effect") == int(ignored)

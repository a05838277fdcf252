"""Tokens weigh in LoRA's loss what they weigh in the release's own training of all weights.

With plain gradient descent the first step of LoRA's B is that of the full weight, seen through A:
dB = scale * dW @ A^T. Both runs accumulate batches of unequal length.
"""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import lora
from adapter_trainer import AdapterTrainer
from prompt_response import PairCollator
from test_lora import EOP, GMASK, SOP, ToyGLM, ToyTokenizer, arguments, make_model

from tests import tiny_models

# Of 2, 3, 9 and 14 tokens that count, in four batches of one row.
ROWS = [
    {"input_ids": [10, GMASK, SOP, *ids, EOP], "labels": [-100, -100, SOP, *ids, EOP]}
    for ids in ([11], [12, 13], list(range(14, 22)), list(range(22, 35)))
]
STEP = 1e-3


def toy():
    return make_model(0), ToyTokenizer(), "query_key_value"


class AnyNames(ToyGLM):
    """Takes whatever it is given, as code that comes with models does, and weighs nothing by it."""

    def forward(self, input_ids=None, labels=None, **ignored):
        return super().forward(input_ids=input_ids, labels=labels)


def tiny(tmp_path):
    kind = "qwen2" if "qwen2" in tiny_models.available() else "gpt2"
    folder = tiny_models.build(kind, tmp_path / kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return model, tokenizer, "q_proj" if kind == "qwen2" else "c_attn"


def first_step(cls, model, tokenizer, args, data_args):
    """Train for one step of plain gradient descent; (loss that is logged, evaluation's loss)."""
    weights = [p for p in model.parameters() if p.requires_grad]
    trainer = cls(
        model=model,
        args=args,
        train_dataset=ROWS,
        eval_dataset=ROWS,
        data_collator=PairCollator(tokenizer, data_args),
        optimizers=(torch.optim.SGD(weights, lr=STEP), None),
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    return next(e["loss"] for e in trainer.state.log_history if "loss" in e), before


# The release does not know the toy for a causal model, and would smooth its loss without the shift.
KINDS = [("toy", 0.0), ("any names", 0.0), ("tiny", 0.0), ("tiny", 0.1)]


@pytest.mark.parametrize(("kind", "smoothing"), KINDS)
def test_as_in_the_releases_own_training(training_args, data_args, tmp_path, kind, smoothing):
    changes = {
        "gradient_accumulation_steps": 4,
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "max_steps": 1,
        "max_grad_norm": 0.0,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "save_strategy": "no",
        "label_smoothing_factor": smoothing,
        "label_names": ["labels"],
    }
    made = [tiny(tmp_path) if kind == "tiny" else toy() for _ in range(2)]
    (full, tokenizer, target), (base, _, _) = made
    if kind == "any names":
        base.__class__ = AnyNames
    args = training_args(**changes)
    wrapped = lora.add_lora(
        base, tokenizer, lambda t: [EOP], arguments(lora_rank=2, lora_target_modules=target), args
    )
    weights = {n: p for n, p in full.named_parameters() if f".{target}.weight" in n}
    begun = {name: weight.detach().clone() for name, weight in weights.items()}
    factors = {n: p.detach().clone() for n, p in wrapped.named_parameters() if "lora_A" in n}

    expected = first_step(transformers.Trainer, full, tokenizer, args, data_args)
    found = first_step(AdapterTrainer, wrapped, tokenizer, args, data_args)

    assert found == pytest.approx(expected, rel=1e-4)
    learnt = {n: p.detach() for n, p in wrapped.named_parameters() if "lora_B" in n}
    assert len(learnt) == len(weights) > 0
    scale = 32 / 2
    for name, weight in weights.items():
        change = weight.detach() - begun[name]
        if target == "c_attn":  # GPT-2 keeps its weights transposed
            change = change.T
        stem = next(n for n in learnt if name.rpartition(".weight")[0] in n)
        a = factors[stem.replace("lora_B", "lora_A")]
        torch.testing.assert_close(learnt[stem], scale * change @ a.T, rtol=2e-2, atol=1e-7)

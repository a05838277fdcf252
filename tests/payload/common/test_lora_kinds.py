"""Adapters of other kinds than plain LoRA: trained, resumed, and saved for the base as others have it."""

import dataclasses
import logging
import types

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
pytest.importorskip("transformers")
import eva
import lora
import loraplus
from test_adapter_trainer import adapter_of, assert_same, make  # noqa: F401
from test_lora import BATCH, add_lora, arguments, make_model, run_arguments
from user_error import UserError

IDS = {"input_ids": BATCH["input_ids"]}
KNOWN = {field.name for field in dataclasses.fields(peft.LoraConfig)}
if "use_dora" not in KNOWN:
    pytest.skip("this release of peft knows plain LoRA", allow_module_level=True)
PATTERNS = {"rank_pattern": {"dense": 3}, "alpha_pattern": {"query_key_value": 7}}
BOTH = {"target_modules": ["query_key_value", "dense"]}
KINDS = {
    "DoRA": {"use_dora": True},
    "PiSSA": {"init_lora_weights": "pissa"},
    "PiSSA, DoRA": {"init_lora_weights": "pissa", "use_dora": True},
    "PiSSA, rsLoRA, patterns": {
        "init_lora_weights": "pissa",
        "use_rslora": True,
        **PATTERNS,
        **BOTH,
    },
    "drawn PiSSA": {"init_lora_weights": "pissa_niter_4"},
    "OLoRA": {"init_lora_weights": "olora", **BOTH},
    "EVA": {"init_lora_weights": "eva", "r": 2, **BOTH},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_what_was_trained(make, tmp_path, kind):  # noqa: F811
    """On a plain base, by peft itself; and a resumed run ends where the whole one did."""
    changes = {"lora_config": {"r": 2, **KINDS[kind]}, "lora_rank": 8, "lora_dropout": 0.1}
    whole = make(output_dir=str(tmp_path / "whole"), lora_changes=changes)
    whole.train()
    whole.save_model()
    expected = whole.model.eval()(**IDS).logits
    untrained = make_model()(**IDS).logits
    assert not torch.allclose(expected, untrained, atol=1e-2)
    for folder in (tmp_path / "whole", tmp_path / "whole" / "checkpoint-6"):
        loaded = peft.PeftModel.from_pretrained(make_model(), folder).eval()
        torch.testing.assert_close(loaded(**IDS).logits, expected, rtol=1e-4, atol=1e-4)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged(**IDS).logits, expected, rtol=1e-4, atol=1e-4)
    resume(make, tmp_path, lora_changes=changes, whole=whole)


def resume(make, tmp_path, whole, **options):  # noqa: F811
    """From its middle on the run ends where the whole one did."""
    place = str(tmp_path / "whole" / "checkpoint-2")
    resumed = make(output_dir=str(tmp_path / "resumed"), resume_from_checkpoint=place, **options)
    resumed.train(place)
    assert_same(adapter_of(whole.model), adapter_of(resumed.model))


def test_another_beginning_is_refused(make, tmp_path):  # noqa: F811
    """Drawn with another seed, the base lacks something else."""
    changes = {"lora_config": {"init_lora_weights": "pissa_niter_1", "r": 2}}
    make(output_dir=str(tmp_path / "one"), max_steps=2, lora_changes=changes).train()
    other = make(output_dir=str(tmp_path / "two"), lora_changes={"lora_config": {"r": 4}})
    assert not other.model.initial_adapter
    place = str(tmp_path / "one" / "checkpoint-2")
    again = make(
        output_dir=str(tmp_path / "two"), resume_from_checkpoint=place, lora_changes=changes
    )
    for name, value in again.model.initial_adapter.items():
        again.model.initial_adapter[name] = value * 1.5
    with pytest.raises(UserError, match="does not begin as this run's does"):
        again.train(place)


def test_a_base_that_no_adapter_restores(monkeypatch):
    """As LoftQ leaves it, which holds the base in fewer bits."""
    from peft.tuners.lora.layer import LoraLayer

    def rounds(layer, adapter_name, *args):
        weight = layer.get_base_layer().weight
        weight.data = (weight.data * 8).round() / 8

    monkeypatch.setattr(LoraLayer, "pissa_init", rounds)
    given = arguments(lora_config={"init_lora_weights": "pissa"})
    with pytest.raises(UserError, match="change 2 of the base model's own weights otherwise than"):
        add_lora(make_model(), given, run_arguments())


def test_a_part_taken_of_two_modules():
    """A tied head's part would be missing in the embedding."""
    model = make_model()
    model.lm_head.weight = model.word_embeddings.weight
    given = {"init_lora_weights": "pissa", "target_modules": ["lm_head"]}
    with pytest.raises(UserError, match="change 1 of the base model's own weights otherwise"):
        add_lora(model, arguments(lora_config=given), run_arguments())


def test_eva_s_data_leave_the_random_numbers_alone(make):  # noqa: F811
    trainer = make(max_steps=1, lora_changes={"lora_config": {"init_lora_weights": "eva", "r": 2}})
    state = torch.random.get_rng_state()
    eva._initialise_from_data(trainer, None)
    assert torch.equal(state, torch.random.get_rng_state())
    first = next(value for name, value in adapter_of(trainer.model).items() if "lora_A" in name)
    torch.testing.assert_close(first @ first.T, torch.eye(2), rtol=0, atol=1e-4)


def test_eva_that_does_not_settle_ends():
    """peft itself would go through the data for ever."""
    batches = eva._Batches([{"input_ids": torch.ones(1, 2)}], torch.device("cpu"))
    for _ in range(eva.MOST_EVA_PASSES):
        list(batches)
    with pytest.raises(UserError, match="have not settled in 100 passes"):
        list(batches)


def test_loraplus(make, tmp_path):  # noqa: F811
    """The second matrices have their own rate; a resumed run is the same."""
    changes = {"loraplus_lr_ratio": 4.0, "lora_dropout": 0.1}
    whole = make(output_dir=str(tmp_path / "whole"), weight_decay=0.1, lora_changes=changes)
    whole.train()
    names = {id(p): name for name, p in whole.model.named_parameters()}
    groups = whole.optimizer.param_groups
    rates = {("lora_B" in names[id(p)]): g["lr"] for g in groups for p in g["params"]}
    assert rates == {False: pytest.approx(1e-2), True: pytest.approx(4e-2)}
    assert {g["weight_decay"] for g in groups} == {0.1}
    resume(make, tmp_path, whole, weight_decay=0.1, lora_changes=changes)


@pytest.mark.parametrize(
    ("ratio", "helper", "said"),
    [(0.0, True, "must be above 0, not 0.0."), (4.0, False, "has no create_loraplus_optimizer")],
)
def test_loraplus_that_cannot_be(monkeypatch, ratio, helper, said):
    if not helper:
        monkeypatch.setattr(loraplus, "_helper", lambda: None)
    with pytest.raises(UserError, match=said):
        add_lora(make_model(), arguments(loraplus_lr_ratio=ratio), run_arguments())


def test_loraplus_beside_an_optimizer_of_deepspeed_s(make, monkeypatch):  # noqa: F811
    trainer = make(lora_changes={"loraplus_lr_ratio": 4.0})
    monkeypatch.setattr(trainer, "_uses_deepspeed", lambda: True)
    config = types.SimpleNamespace(get_value=lambda name: {"type": "AdamW"})
    monkeypatch.setattr(trainer, "_deepspeed_config", lambda: config)
    with pytest.raises(UserError, match="DeepSpeed's configuration names an optimizer"):
        trainer.train()


def test_rows_of_tokens_beside_added_ones(caplog):
    """What the file asks for and what added tokens need go together."""
    model = make_model()
    added = {"word_embeddings": [70, 71]}
    assert lora._with_tokens(model, [3, 70], added) == {"word_embeddings": [3, 70, 71]}
    assert lora._with_tokens(model, {"lm_head": [5]}, added) == {"lm_head": [5], **added}
    with caplog.at_level(logging.INFO, logger="lora"):
        given = arguments(lora_config={"trainable_token_indices": [3, 4]})
        names = [
            n
            for n, p in add_lora(model, given, run_arguments()).named_parameters()
            if p.requires_grad
        ]
    assert sum("trainable_tokens_delta" in name for name in names) == 1

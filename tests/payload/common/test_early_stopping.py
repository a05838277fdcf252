"""Early stopping: what is refused, and that it ends a run with the best adapter."""

import types

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from early_stopping import EarlyStoppingArguments, make_callbacks
from test_adapter_trainer import make_trainer


def data(patience):
    return EarlyStoppingArguments(early_stopping_patience=patience)


def test_never_by_default():
    assert EarlyStoppingArguments().early_stopping_patience is None
    assert make_callbacks(data(None), types.SimpleNamespace(load_best_model_at_end=False)) == []


@pytest.mark.parametrize(
    ("patience", "best", "said"),
    [(0, True, "must be at least 1, not 0"), (2, False, "needs --load_best_model_at_end")],
)
def test_errors_take_one_line(patience, best, said):
    training = types.SimpleNamespace(load_best_model_at_end=best)
    with pytest.raises(ValueError, match=said) as caught:
        make_callbacks(data(patience), training)
    assert "\n" not in str(caught.value)


def test_a_run_without_progress_stops(training_args, data_args):
    """What is learnt at this learning rate no loss shows: two evaluations more are all there is."""
    args = training_args(
        max_steps=20,
        learning_rate=1e-30,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
    )
    trainer = make_trainer(args, data_args)
    for callback in make_callbacks(data(2), args):
        trainer.add_callback(callback)
    trainer.train()
    assert trainer.state.global_step == 3
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-1")

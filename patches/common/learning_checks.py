"""Whether a run learns at all: what shows that it does not is told, and ends it."""

import contextlib
import logging

import torch
from user_error import UserError

logger = logging.getLogger(__name__)


def _require_finite_loss(loss, step):
    """Raise UserError if the loss of a batch, a tensor, is NaN or infinite."""
    if not torch.isfinite(loss).all():
        raise UserError(
            f"The loss of step {step} is {loss.max().item()}: the run ends, nothing of it is saved. Lower "
            "--learning_rate, or look at the data and the precision; --allow_non_finite goes on."
        )


def _require_finite_weights(state):
    """Raise UserError if one of an adapter's weights, {name: tensor}, holds NaN or infinity."""
    bad = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise UserError(
            f"{len(bad)} of the adapter's weights, such as {bad[0]!r}, are no longer finite: they are not "
            "saved. Lower --learning_rate; --allow_non_finite saves them all the same."
        )


def _require_learnt(state, steps):
    """Raise UserError if training has left an adapter, {name: tensor}, where it began.

    Each pair of matrices begins with one of zeros, so that nothing is added to the model. If other
    weights were trained as well, it is logged, for they are worth saving.
    """
    zeros = [v for name, v in state.items() if "lora_B" in name or "lora_embedding_A" in name]
    if not steps or not zeros or any(value.any() for value in zeros):
        return
    said = (
        f"{steps} steps have changed nothing in the LoRA matrices: see --learning_rate, its warm-up, and "
        "whether the loss depends on the modules that are adapted."
    )
    if all("lora_" in name for name in state):
        raise UserError(said)
    logger.error("error: %s", said)


@contextlib.contextmanager
def _watch_checkpointing(model):
    """Warn if the training step within did not recompute activations, as checkpointing does."""
    adapted = (module for module in model.modules() if len(getattr(module, "lora_A", ())))
    layer, runs = next(adapted, None), []
    if layer is None:
        yield
        return
    hook = layer.register_forward_pre_hook(lambda *_: runs.append(True))
    try:
        yield
    finally:
        hook.remove()
    if len(runs) == 1:  # forward only, and not again before backward
        logger.warning(
            "--gradient_checkpointing has no effect: the code of %s passes it over.",
            type(model.get_base_model()).__name__,
        )

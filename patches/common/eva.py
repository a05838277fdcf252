"""EVA: an adapter whose first matrices, and whose ranks, come from what its layers see of the data."""

import contextlib
import logging

import peft
import torch
from adapter_weights import _read_adapter, _train_what_is_saved
from user_error import UserError

logger = logging.getLogger(__name__)

EVA = "eva"
MOST_EVA_PASSES = 100  # over the data, before it is clear that the matrices will not settle


class _Batches:
    """A data loader's batches for peft, which begins anew until it has enough, at most MOST_EVA_PASSES times."""

    def __init__(self, loader, device):
        self.loader, self.device, self.passes = loader, device, 0

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        self.passes += 1
        if self.passes > MOST_EVA_PASSES:
            raise UserError(
                f"--lora_config: the matrices of {EVA} have not settled in {MOST_EVA_PASSES} passes over the "
                "training data: give larger batches (--per_device_train_batch_size), or a smaller rank."
            )
        for batch in self.loader:
            yield {name: value.to(self.device) for name, value in batch.items()}


def _learnt_positions(batch, config):
    """Return a mask, as large as the ids, of the positions that count: (rows, positions)."""
    ids = batch["input_ids"]
    mask = torch.ones_like(ids, dtype=torch.bool)
    if "labels" in batch and config.eva_config.use_label_mask:
        mask = batch["labels"] != config.eva_config.label_mask_value
    return mask


def _vectors(hidden, mask, name):
    """Return what a layer is given at the positions that count: (vectors, size)."""
    hidden = hidden[0] if isinstance(hidden, (tuple, list)) else hidden
    for one in (mask, mask.T):  # ChatGLM-6B's code has positions first
        if hidden.shape[:-1] == one.shape:
            return hidden[one]
    return hidden.flatten(0, -2)


def _awaits_data(model):
    """Return whether the adapter of a peft model, just made, is still to be given its matrices."""
    config = model.peft_config[model.active_adapter]
    return getattr(config, "init_lora_weights", None) == EVA


def _first_matrices(model, folder):
    """Return {layer: its first matrix} of the adapter in `folder`: of no rows where it has none."""
    weights = _read_adapter(folder)
    found = {}
    for path, module in model.named_modules():
        if hasattr(module, "lora_A"):
            known = weights.get(f"{path}.lora_A.weight")
            found[path] = torch.empty(0, 1) if known is None else known
    return found


def _initialise_from_data(trainer, checkpoint):
    """Give the adapter of `trainer.model` its matrices: from the training data, or as large as a checkpoint's.

    Draws nothing from the random numbers that training goes on with.

    Args:
        trainer: a Trainer that is about to train.
        checkpoint: the folder that it will go on from, or None.

    Raises:
        UserError: weights are partitioned by ZeRO-3, or the data do not do.
    """
    model = trainer.model
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise UserError(
            f"--lora_config: {EVA} looks through the model before DeepSpeed does, not under ZeRO-3."
        )
    cuda = [trainer.args.device] if trainer.args.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), contextlib.ExitStack() as stack:
        if checkpoint:
            options = {"eva_state_dict": _first_matrices(model, checkpoint)}
        else:
            logger.info("Looking through the training data for the adapter's matrices.")
            model.to(trainer.args.device)
            loader = trainer.get_train_dataloader()
            options = {
                "dataloader": _Batches(loader, trainer.args.device),
                "prepare_model_inputs_fn": _learnt_positions,
                "prepare_layer_inputs_fn": _vectors,
                "show_progress_bar": False,
            }
            stack.enter_context(trainer.compute_loss_context_manager())
        with torch.no_grad():
            peft.initialize_lora_eva_weights(model, **options)
    _train_what_is_saved(model)

"""What the releases' Trainer settles otherwise than an adapter needs it."""

import inspect
import logging

import torch

logger = logging.getLogger(__name__)


def _use_one_gpu(args):
    """Keep a single process to one GPU: models' own code cannot stand torch.nn.DataParallel."""
    if args.n_gpu > 1:
        logger.warning(
            "One of %d GPUs is used: start the script with torchrun --nproc_per_node %d, or with "
            "deepspeed, to use all.",
            args.n_gpu,
            args.n_gpu,
        )
        args._n_gpu = 1  # as the releases themselves do for models that are spread over GPUs


def _checkpoint_beside_ranks(args):
    """Have gradient checkpointing go with the ranks of torch's DDP, unless arguments say otherwise.

    Releases look for unused parameters in all but models of their own, which a peft model is not;
    with checkpoints that enter backward again, torch then takes each parameter for one used twice.
    """
    if not args.gradient_checkpointing:
        return
    if hasattr(args, "gradient_checkpointing_kwargs"):
        args.gradient_checkpointing_kwargs = args.gradient_checkpointing_kwargs or {
            "use_reentrant": False
        }
    elif args.ddp_find_unused_parameters is None:
        args.ddp_find_unused_parameters = False


def _takes_loss_options(model):
    """Return whether a model weighs its loss by what the releases count of all batches' tokens.

    Of the releases' own models those do whose `forward` takes any name. Code that comes with a
    model may take any, too, and ignore it: its loss is a mean, which would come out multiplied by
    the number of batches that are accumulated, and of ranks.
    """
    takes = inspect.signature(model.forward).parameters
    any_other = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    is_own = type(model).__module__.partition(".")[0] == "transformers"
    weighs = "num_items_in_batch" in takes or (any_other and is_own)
    return getattr(model, "accepts_loss_kwargs", weighs)


def _half_beside_float(model):
    """Return the half precision of a model in which other weights than LoRA's are float32, or None.

    These, trained in full, are float32 for the optimizer's sake, and meet the others in the middle
    of the model.
    """
    weights = list(model.named_parameters())
    halves = {w.dtype for _, w in weights if w.dtype in (torch.float16, torch.bfloat16)}
    floats = any(
        w.requires_grad and w.dtype is torch.float32 and "lora_" not in name for name, w in weights
    )
    return halves.pop() if len(halves) == 1 and floats else None

"""LoRA+: the second matrix of each pair learns faster than the first, by peft's own optimizer helper."""

import importlib
import inspect
import math

from user_error import UserError

# What optimizers that take a model's weights in another form than as groups are made with.
NO_GROUPS = {"params", "model", "optimizer_dict"}


def _helper():
    """Return peft's function that makes the optimizer, or None where this release has none."""
    try:
        return importlib.import_module("peft.optimizers").create_loraplus_optimizer
    except (ImportError, AttributeError):
        return None


def _check_ratio(ratio):
    """Raise UserError if `--loraplus_lr_ratio` is no ratio, or this peft cannot do it."""
    if ratio is None:
        return
    if not 0 < ratio < math.inf:
        raise UserError(f"--loraplus_lr_ratio must be above 0, not {ratio}.")
    if _helper() is None:
        raise UserError(
            "--loraplus_lr_ratio: this release of peft has no create_loraplus_optimizer."
        )


def _loraplus_optimizer(trainer, ratio):
    """Return the optimizer that the training arguments ask for, LoRA's B matrices at `ratio` times the rate.

    Raises:
        UserError: that optimizer takes no groups of weights.
    """
    args, find = trainer.args, trainer.get_optimizer_cls_and_kwargs
    takes = inspect.signature(find).parameters
    kind, options = find(args, trainer.model) if len(takes) > 1 else find(args)
    if NO_GROUPS & set(options):
        raise UserError(
            f"--loraplus_lr_ratio does not go with --optim {getattr(args.optim, 'value', args.optim)}."
        )
    return _helper()(
        model=trainer.model,
        optimizer_cls=kind,
        loraplus_lr_ratio=ratio,
        loraplus_weight_decay=args.weight_decay,
        **options,
    )

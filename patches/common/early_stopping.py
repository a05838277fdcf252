"""Early stopping: its argument, and the Trainer's callback for it."""

from dataclasses import dataclass, field
from typing import Optional

from transformers import EarlyStoppingCallback
from user_error import UserError


@dataclass
class EarlyStoppingArguments:
    """When to stop before the last step; a base class for the script's data arguments."""

    early_stopping_patience: Optional[int] = field(
        default=None,
        metadata={
            "help": "Stop training after so many evaluations in a row without a better "
            "--metric_for_best_model. Needs --load_best_model_at_end. Default: never."
        },
    )


def make_callbacks(data_args, training_args):
    """Return the callbacks that the arguments ask for, a list for `Trainer(callbacks=…)`.

    Raises:
        UserError: the patience is no positive number, or nothing is evaluated while training.
    """
    patience = data_args.early_stopping_patience
    if patience is None:
        return []
    if patience < 1:
        raise UserError(f"--early_stopping_patience must be at least 1, not {patience}.")
    if not training_args.load_best_model_at_end:
        raise UserError(
            "--early_stopping_patience needs --load_best_model_at_end, with evaluations and "
            "checkpoints at the same steps."
        )
    return [EarlyStoppingCallback(early_stopping_patience=patience)]

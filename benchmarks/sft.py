"""Rival (c): trl's SFTTrainer, on the same rows and the same adapter, encoded by our script.

It is given token ids and which of them are answers, so that it learns from just what ours does.
"""

from __future__ import annotations

import trl

# Its defaults save memory at the price of speed; the others compute as ours does.
VARIANTS = {
    "trl": {},
    "trl, no checkpointing": {"gradient_checkpointing": False},
    "trl as ours": {"bf16": False, "gradient_checkpointing": False},
    "trl packing": {"bf16": False, "gradient_checkpointing": False, "packing": True},
    "trl packing, defaults": {"packing": True},
}
SHARED = (
    "output_dir",
    "per_device_train_batch_size",
    "num_train_epochs",
    "learning_rate",
    "lr_scheduler_type",
    "report_to",
    "save_strategy",
    "disable_tqdm",
    "use_cpu",
    "seed",
    "deepspeed",
)
LONGEST = 1024  # trl's default; longer rows would be cut


def trainer_class(variant: str) -> type:
    """An SFTTrainer that takes what the script gives its Trainer."""
    changes = VARIANTS[variant]

    class Sft(trl.SFTTrainer):
        def __init__(self, model, args, train_dataset, processing_class, **unused):
            longest = max(LONGEST, *map(len, train_dataset["input_ids"]))
            shared = {name: getattr(args, name) for name in SHARED}
            config = trl.SFTConfig(**shared, max_length=longest, **changes)
            rows = train_dataset.map(
                lambda row: {"completion_mask": [int(label != -100) for label in row["labels"]]},
                remove_columns=[name for name in train_dataset.column_names if name != "input_ids"],
            )
            super().__init__(
                model=model, args=config, train_dataset=rows, processing_class=processing_class
            )

        def create_model_card(self, **unused):
            """The script's last call; this trainer's own method takes other arguments."""

    return Sft

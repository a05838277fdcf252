"""What DeepSpeed must know before a model is loaded into its partitions."""

import torch


def join_process_group(training_args):
    """Let DeepSpeed take up the process group that there is, before any model is loaded.

    On a CPU transformers makes the group without telling DeepSpeed, which under ZeRO-3 then takes
    each rank for the only one, and refuses the batch size or partitions wrongly.

    Args:
        training_args: transformers.TrainingArguments; nothing is done unless `deepspeed` is set.
    """
    if not getattr(training_args, "deepspeed", None):
        return
    import deepspeed

    if torch.distributed.is_initialized() and not deepspeed.comm.is_initialized():
        deepspeed.init_distributed()

"""Whether DeepSpeed partitions the model's weights while they load."""

import importlib


def _zero3_is_on():
    """Return whether the training arguments in force ask for ZeRO stage 3."""
    # The function has moved: integrations package, integrations module, deepspeed module. Only an
    # import that succeeds and has the name counts, whichever release this is.
    for place in ("transformers.integrations", "transformers.deepspeed"):
        try:
            is_enabled = getattr(importlib.import_module(place), "is_deepspeed_zero3_enabled", None)
        except ImportError:
            continue
        if is_enabled is not None:
            return is_enabled()
    return False

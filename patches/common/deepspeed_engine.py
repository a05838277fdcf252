"""DeepSpeed's checkpoints without the frozen base model."""

import contextlib
import functools
import inspect
import logging

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def _engines_without_frozen_weights():
    """While this lasts, DeepSpeed's engines save and expect trainable weights only."""
    import deepspeed

    engine = deepspeed.DeepSpeedEngine
    # Patched on the class, since the engine is made, and may be loaded into, in the middle of
    # the releases' own training loop.
    settings = {
        "save_checkpoint": {"exclude_frozen_parameters": True},
        "load_checkpoint": {"load_module_strict": False},
    }
    originals = {name: getattr(engine, name) for name in settings}
    for name, extra in settings.items():
        takes = inspect.signature(originals[name]).parameters
        if not set(extra) <= set(takes):
            logger.warning("This DeepSpeed's checkpoints hold the frozen weights too.")
            continue
        setattr(engine, name, functools.partialmethod(originals[name], **extra))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(engine, name, original)

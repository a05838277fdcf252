"""DeepSpeed's checkpoints without the frozen base model."""

import contextlib
import functools
import inspect
import logging
import os

from nodes import _of_all_ranks

logger = logging.getLogger(__name__)


def _latest_on_each_node(save, engine, save_dir, *args, **kwargs):
    """Save as DeepSpeed's engine does, and `latest`, which only its first rank writes, on all nodes."""
    result = save(engine, save_dir, *args, **kwargs)
    if engine.use_node_local_storage():
        path, tag = os.path.join(save_dir, "latest"), None
        if engine.global_rank == 0:
            with open(path, encoding="utf-8") as file:
                tag = file.read()
        tag = _of_all_ranks(tag)[0]
        if engine.local_rank == 0 and engine.global_rank > 0:
            with open(path, "w", encoding="utf-8") as file:
                file.write(tag)
    return result


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
    save = engine.save_checkpoint
    engine.save_checkpoint = lambda self, *args, **kw: _latest_on_each_node(save, self, *args, **kw)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(engine, name, original)

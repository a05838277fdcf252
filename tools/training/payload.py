"""The payload's own functions, for the tools that go on from what the generated script wrote.

The script stands alone, so its modules import each other by bare names; here they are found in
patches/ under these names. They need a training stack's python.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

from tools.errors import UserError
from tools.regenerate.series import ROOT

LAYERS = ("common", "chatglm", "causal")


@contextlib.contextmanager
def stack() -> Iterator[None]:
    """This python's training stack, imported, and quiet for as long: a tool's output is its own.

    Raises UserError where there is none.
    """
    # DeepSpeed greets on the standard output, other libraries with warnings of their own upkeep.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torch

            if not torch.cuda.is_available():  # or DeepSpeed warns that it has found none
                os.environ.setdefault("DS_ACCELERATOR", "cpu")
            import peft  # noqa: F401
            from transformers.utils import logging
        except ImportError as error:
            raise UserError(f"{error}: run this with a training stack's python") from None
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.set_verbosity_error()
        if not sys.stderr.isatty():
            logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if has_bars:
                logging.enable_progress_bar()


def module(name: str) -> ModuleType:
    """The module ``name`` of patches/, whichever layer it is of."""
    for layer in LAYERS:
        folder = str(ROOT / "patches" / layer)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return importlib.import_module(name)

"""The payload's own functions, for the tools that go on from what the generated script wrote.

The script stands alone, so its modules import each other by bare names; here they are found in
patches/ under these names. They need a training stack's python.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tools.errors import UserError
from tools.regenerate.series import ROOT

LAYERS = ("common", "chatglm", "causal")


def require_stack() -> None:
    """Raise UserError where this python has no training stack."""
    try:
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error}: run this with a training stack's python") from None


def module(name: str) -> ModuleType:
    """The module ``name`` of patches/, whichever layer it is of."""
    for layer in LAYERS:
        folder = str(ROOT / "patches" / layer)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return importlib.import_module(name)

"""Functions that other patches' calls name: nothing of upstream changes.

(nothing)  →  def encode_prompt(…), def stop_ids(…), def lead_ids(…), …
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.script import Script


def apply(patch: Patch) -> None:
    patch.graft(before=patch.script.main)


def verify(script: Script) -> None:
    for name in ("encode_prompt", "stop_ids", "lead_ids", "encode_pair"):
        script.require(name in script.defined, f"the series says what {name} is")

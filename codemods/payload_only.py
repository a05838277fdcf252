"""Functions that other patches' calls name: nothing of upstream changes.

(nothing)  →  def build_prompt(…), def encode_pair(…)
"""

from __future__ import annotations

from .patch import Patch
from .script import Script


def apply(patch: Patch) -> None:
    patch.graft(before=patch.anchors.main)


def verify(script: Script) -> None:
    for name in ("build_prompt", "encode_pair"):
        script.require(name in script.functions, f"the series says what {name} is")

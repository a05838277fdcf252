"""Arguments are taken as they are meant, and what cannot work is told before any work.

parser = HfArgumentParser(…)  →  parser = LenientArgumentParser(…)
"""

from __future__ import annotations

import libcst as cst

from .engine.patch import Patch
from .engine.script import Script

PARSER = "LenientArgumentParser"


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.first_argument_class)
    patch.replace(
        a.parser_call.func,
        cst.Name(PARSER),
        "arguments may be spelled as the command line has them",
    )


def verify(script: Script) -> None:
    script.one_call(PARSER)
    plain = script.calls("HfArgumentParser")
    script.require(not plain, "no other parser is made", *plain)
    bases = script.bases(PARSER) if PARSER in script.classes else ()
    script.require("HfArgumentParser" in bases, f"{PARSER} is a HfArgumentParser")

"""Arguments are taken as they are meant, and what cannot work is told before any work.

parser = HfArgumentParser(…)  →  parser = LenientArgumentParser(…)
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.promises import one_call
from .engine.script import Script

PARSER = "LenientArgumentParser"


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.first_argument_class)
    what = "arguments may be spelled as the command line has them"
    patch.replace(script.parser_call.func, PARSER, what)


def verify(script: Script) -> None:
    one_call(script, PARSER)
    plain = script.calls_to("transformers.HfArgumentParser")
    script.require(not plain, "no other parser is made", *plain)
    bases = script.bases(PARSER) if PARSER in script.classes else ()
    script.require("HfArgumentParser" in bases, f"{PARSER} is a HfArgumentParser")

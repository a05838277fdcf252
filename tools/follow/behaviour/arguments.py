"""The command-line arguments that a script defines."""

from __future__ import annotations

import dataclasses

from tools.follow.behaviour.scenarios import SCENARIOS
from tools.follow.behaviour.script import Script


def arguments(script: Script) -> dict[str, tuple[str, str, str]]:
    """Argument → (default, type, metadata) as labels, of the classes that the parser is given."""
    script.run(SCENARIOS[0])
    classes = [c for c in script.rec.parsed if dataclasses.is_dataclass(c)]
    return {f.name: _shown(script, f) for c in classes for f in dataclasses.fields(c)}


def _shown(script: Script, field: dataclasses.Field) -> tuple[str, str, str]:
    label = script.rec.label
    if field.default_factory is not dataclasses.MISSING:
        default = f"made: {label(field.default_factory())}"
    else:
        default = "MISSING" if field.default is dataclasses.MISSING else label(field.default)
    return default, str(field.type), label(dict(field.metadata))

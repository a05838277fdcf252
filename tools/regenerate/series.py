"""Read patches/series.toml: which patches make a series, in which order."""

from __future__ import annotations

import hashlib
import importlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from codemods.engine import payload as payloads
from tools.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SERIES_FILE = ROOT / "patches" / "series.toml"


@dataclass(frozen=True)
class Entry:
    """One patch of a series."""

    name: str
    layer: str
    why: str
    codemod: ModuleType
    payload: tuple[payloads.Payload, ...]
    changes_defaults: tuple[str, ...]
    digest: str  # of the codemod and its payload, as they are in this checkout


@dataclass(frozen=True)
class Series:
    name: str
    script: str
    entries: tuple[Entry, ...]


def names(file: Path = SERIES_FILE) -> list[str]:
    """The series there are, in the order of their file."""
    return list(_table(file).get("series", {}))


def _table(file: Path) -> dict:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{file.name} cannot be read: {error}") from None


def load(name: str, file: Path = SERIES_FILE) -> Series:
    """The series called ``name``; UserError if there is none or its file is not right."""
    table = _table(file)
    known = table.get("series", {})
    if name not in known:
        raise UserError(
            f"no series {name!r} in patches/{file.name}: choose from {', '.join(known)}"
        )
    layers = known[name]["layers"]
    entries = tuple(_entry(p, file) for p in table.get("patch", ()) if p["layer"] in layers)
    return Series(name, known[name]["script"], entries)


def _entry(table: dict, file: Path) -> Entry:
    try:
        module = importlib.import_module(f"codemods.{table['codemod']}")
        named, layer = table.get("payload", ()), table["layer"]
        payload = tuple(payloads.read(m, layer) for m in named)
        texts = [Path(module.__file__).read_bytes()]
        texts += [payloads.path(m, layer).read_bytes() for m in named]
        return Entry(
            table["name"],
            layer,
            table["why"],
            module,
            payload,
            tuple(table.get("changes_defaults", ())),
            hashlib.sha256(b"\0".join(texts)).hexdigest(),
        )
    except (KeyError, ImportError, OSError, SyntaxError) as error:
        raise UserError(f"patches/{file.name}: patch {table.get('name', '?')!r}: {error}") from None

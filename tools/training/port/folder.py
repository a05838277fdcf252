"""A ported model's folder: what is taken as it is, and the modules that its configurations name."""

from __future__ import annotations

import ast
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.errors import UserError
from tools.training import model_folder

ADAPTER = Path(__file__).with_name("chatglm_port.py")
CONFIGS = ("config.json", "tokenizer_config.json")
LARGEST_COPY = 1 << 20  # bytes; what is larger is linked

# What goes before the published class, by what auto_map calls it.
OURS = {
    "AutoConfig": ["PortedConfig"],
    "AutoTokenizer": ["PortedTokenizer"],
    "AutoModelForSequenceClassification": ["PortedModel"],
}
GENERATING = ["PortedGeneration", "PortedModel"]

PORTED = "ported_"  # before the name of the published module

MODULE = '''"""Written by `python -m tools port`: the published classes, for newer releases."""

{imports}
{rest}'''
BESIDE = """
if TYPE_CHECKING:  # never run: some releases take along only the files that are named here
"""
CLASS = """

class {name}({bases}):
    {body}
"""


@dataclass(frozen=True)
class Published:
    """A class of a model's own code, and what auto_map of which of CONFIGS calls it."""

    file: str
    kind: str
    module: str
    name: str

    def ported(self) -> str:
        """The module that its ported class is in."""
        return f"{PORTED}{self.module}"


def read(folder: Path) -> list[Published]:
    """The classes that a model's configurations name.

    Raises:
        UserError: a file is missing or broken, or the code is not in the folder.
    """
    if (folder / ADAPTER.name).exists():
        raise UserError(f"{folder} is a ported folder already")
    classes = []
    for file in CONFIGS:
        if not (folder / file).is_file():
            raise UserError(f"{folder} holds no {file}: give a model's folder")
        mapped = model_folder.read_object(folder / file).get("auto_map") or {}
        classes += [Published(file, kind, *_class(folder, mapped[kind])) for kind in mapped]
    if not classes:
        raise UserError(f"{folder} brings no code of its own: there is nothing to port")
    for kind in ("AutoConfig", "AutoModel", "AutoTokenizer"):
        if all(each.kind != kind for each in classes):
            raise UserError(f"{folder}: auto_map names no class for {kind}")
    return classes


def _class(folder: Path, reference: object) -> tuple[str, str]:
    """(module, class) of an entry of auto_map; a tokenizer's is a list, the slow one first."""
    named = reference[0] if isinstance(reference, list) and reference else reference
    place, mark, name = str(named).rpartition("--")
    module, _, name = name.partition(".")
    if not module.isidentifier() or not name.isidentifier():
        raise UserError(f"{folder}: auto_map names {reference!r}, which is no class of a file")
    if not (folder / f"{module}.py").is_file():
        where = f": it is in {place}" if mark else ""
        raise UserError(f"{folder} holds no {module}.py, which auto_map names{where}")
    return module, name


def write(source: Path, classes: list[Published], dest: Path) -> None:
    """Fill the folder ``dest``; what is large is linked to ``source``, the rest is copied."""
    shutil.copyfile(ADAPTER, dest / ADAPTER.name)
    _write_modules(source, classes, dest)
    for file in CONFIGS:
        _write_config(source / file, classes, dest / file)
    take_rest(source, dest)


def take_rest(source: Path, dest: Path) -> None:
    """Add to ``dest`` the files of ``source`` that it lacks, but those in hidden folders."""
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        is_hidden = any(part.startswith(".") for part in place.parts[:-1])
        if path.is_file() and not is_hidden and not (dest / place).exists():
            (dest / place).parent.mkdir(parents=True, exist_ok=True)
            _take(path.resolve(), dest / place)


def _take(file: Path, dest: Path) -> None:
    if file.stat().st_size > LARGEST_COPY:
        for link in (os.link, os.symlink):  # the first kind stays on one disk
            try:
                return link(file, dest)
            except OSError:
                continue
    return shutil.copyfile(file, dest)


def _write_modules(source: Path, classes: list[Published], dest: Path) -> None:
    """Write a module for each published one that has a class in ``classes``."""
    config = next(each for each in classes if each.kind == "AutoConfig")
    for module in sorted({each.module for each in classes}):
        # A class that auto_map names more than once stands there once.
        held = {each.name: each for each in classes if each.module == module}
        text = _module(list(held.values()), config, _imported(source, module))
        (dest / f"{PORTED}{module}.py").write_text(text, encoding="utf-8")


def _imported(source: Path, module: str) -> list[str]:
    """The modules beside ``module`` that it imports, wherever in its text; and those that they do."""
    found, ahead = set(), [module]
    while ahead:
        text = (source / f"{ahead.pop()}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module not in found:
                found.add(node.module)
                ahead.append(node.module)
    return sorted(found - {module})


def _module(classes: list[Published], config: Published, beside: list[str]) -> str:
    """The text of a module that derives ``classes``, all of one published module."""
    ours, texts, imports = set(), [], []
    for each in classes:
        bases = OURS.get(each.kind, GENERATING)
        ours.update(bases)
        bases, body = [*bases, f"Published{each.name}"], f'"""Of {each.module}."""'
        if "PortedModel" in bases:
            body = f"config_class = {config.name}"
        if "PortedGeneration" in bases:
            bases.append("GenerationMixin")
        imports.append(f"from .{each.module} import {each.name} as Published{each.name}")
        texts.append(CLASS.format(name=each.name, bases=", ".join(bases), body=body))
    imports.append(f"from .{ADAPTER.stem} import {', '.join(sorted(ours))}")
    if "PortedModel" in ours:
        imports.append(f"from .{config.ported()} import {config.name}")
    imports.sort()
    if "PortedGeneration" in ours:
        imports[:0] = ["from transformers import GenerationMixin", ""]
    if beside:
        imports[:0] = ["from typing import TYPE_CHECKING", ""]
        texts[:0] = [BESIDE, *(f"    from .{name} import *  # noqa: F403\n" for name in beside)]
    return MODULE.format(imports="\n".join(imports), rest="".join(texts))


def _write_config(source: Path, classes: list[Published], dest: Path) -> None:
    """Write a configuration whose auto_map names the ported modules."""
    settings = json.loads(source.read_text(encoding="utf-8"))
    for each in classes:
        if each.file == source.name:
            ported = f"{each.ported()}.{each.name}"
            is_list = isinstance(settings["auto_map"][each.kind], list)
            settings["auto_map"][each.kind] = [ported, None] if is_list else ported
    text = json.dumps(settings, ensure_ascii=False, indent=2) + "\n"
    dest.write_text(text, encoding="utf-8")

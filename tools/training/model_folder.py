"""What folders of adapters and base models hold, looked at before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from tools.errors import UserError
from tools.training import payload

ADAPTER_CONFIG = "adapter_config.json"
# What from_pretrained takes, the first kind that is there; each may be cut into shards.
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
VOCABULARIES = ("*.model", "tokenizer.json", "vocab.json")


def read_object(file: Path) -> dict:
    """The JSON object in a file."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"cannot read {file}: it holds no JSON object")
    return value


def adapter_settings(folder: Path) -> dict:
    """What the adapter's configuration says."""
    if not (folder / ADAPTER_CONFIG).is_file():
        raise UserError(f"{folder} holds no {ADAPTER_CONFIG}: give an adapter's folder")
    return read_object(folder / ADAPTER_CONFIG)


def base_name(folder: Path, settings: dict) -> str:
    """The base model's folder or name, which the adapter in ``folder`` remembers."""
    name = settings.get("base_model_name_or_path")
    if not name or not isinstance(name, str):
        raise UserError(f"{folder / ADAPTER_CONFIG} names no base model: give --base")
    return name


def weight_files(folder: Path) -> list[Path]:
    """The files that a model's weights are in, [] for none."""
    for pattern in WEIGHTS:
        files = sorted(folder.glob(pattern))
        if files:
            return files
    return []


def _is_pointer(file: Path) -> bool:
    pointer = payload.module("git_lfs").GIT_LFS_POINTER
    with open(file, "rb") as opened:
        return opened.read(len(pointer)) == pointer


def check_model(folder: Path) -> None:
    """Raise UserError for a folder that holds no whole model."""
    if not (folder / "config.json").is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            raise UserError(f"{folder} is an adapter and not a model: give its base model")
        raise UserError(f"{folder} holds no config.json: give a model's folder")
    read_object(folder / "config.json")
    weights = weight_files(folder)
    if not weights:
        raise UserError(f"{folder} holds no weights, {' or '.join(WEIGHTS)}")
    vocabularies = [file for pattern in VOCABULARIES for file in sorted(folder.glob(pattern))]
    for file in (*weights, *vocabularies):
        if _is_pointer(file):
            raise UserError(
                f"{file} is a git-lfs pointer and not the file: fetch it with `git lfs pull`"
            )


def brings_code(folder: Path) -> bool:
    """Whether a model or a tokenizer here is of a class that comes with it."""
    files = [folder / name for name in ("config.json", "tokenizer_config.json")]
    return any("auto_map" in read_object(file) for file in files if file.is_file())


def weights_size(folder: Path) -> int:
    """Bytes that the model's weights take on the disk."""
    return sum(file.stat().st_size for file in weight_files(folder))

"""Merge an adapter into its base model: ``python -m tools merge ADAPTER DEST``.

Needs a training stack's python, not the light one. What DEST then holds is an ordinary model
folder: it loads without peft, and a base model that brings its own code still does.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from tools.errors import UserError


def _base_of(adapter: Path, given: str | None) -> str:
    """The base model's folder or name, which the adapter remembers."""
    file = adapter / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{adapter} holds no adapter_config.json: give an adapter's folder"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    base = given or config.get("base_model_name_or_path")
    if not base:
        raise UserError(f"{file} names no base model: give --base")
    return base


def _load(base: str, trust: bool):
    """(model, tokenizer's class) of the base, in the class that its configuration maps."""
    import transformers

    kwargs = {"trust_remote_code": trust}
    config = transformers.AutoConfig.from_pretrained(base, **kwargs)
    mapped = getattr(config, "auto_map", None) or {}
    own = "AutoModel" in mapped and "AutoModelForCausalLM" not in mapped
    cls = transformers.AutoModel if own else transformers.AutoModelForCausalLM
    return cls.from_pretrained(base, config=config, torch_dtype="auto", **kwargs)


def merge(adapter: Path, dest: Path, base: str | None = None, trust: bool = False) -> None:
    """Write base and adapter as one model to ``dest``, whole or not at all.

    Args:
        adapter: a folder with adapter_config.json, such as the trainer's output folder.
        dest: the folder to make; must not exist, or be empty.
        base: the base model, where it isn't the one that the adapter was trained on.
        trust: run the code that comes with the base model, as ChatGLM's does.

    Raises:
        UserError: no adapter, no base, a full ``dest``, or a base that cannot be loaded.
    """
    try:
        import peft
        import transformers
    except ImportError as error:
        raise UserError(f"{error}: run this with a training stack's python") from None
    base = _base_of(adapter, base)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise UserError(f"{dest} is not empty: give another folder")
    try:
        model = peft.PeftModel.from_pretrained(_load(base, trust), str(adapter))
        merged = model.merge_and_unload()
        place = adapter if (adapter / "tokenizer_config.json").exists() else base
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=trust)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot merge {adapter} into {base}: {reason[:300]}") from None
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as staging:
        merged.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        if os.path.isdir(base):  # a hub's model keeps its code there, a folder's must come along
            for file in Path(base).glob("*.py"):
                shutil.copy(file, staging)
        os.chmod(staging, 0o755)
        if dest.exists():
            dest.rmdir()
        os.rename(staging, dest)
        os.mkdir(staging)  # for the context manager to remove

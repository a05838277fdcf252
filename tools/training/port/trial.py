"""Whether model folders' code works on this stack: a tiny model of it is made, trained, asked.

That is done in a process of its own, offline and without a GPU, since models' code changes what it
finds: ``python -m tools.training.port.trial RESULT FOLDER…``. Needs a training stack's python.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.errors import UserError
from tools.regenerate.series import ROOT
from tools.training import launch, loading

# Sizes of the published configurations, made small. The vocabulary stays: its ids mean something.
TINY = {
    "num_layers": 2,
    "hidden_size": 16,
    "inner_hidden_size": 16,
    "ffn_hidden_size": 16,
    "num_attention_heads": 2,
    "kv_channels": 8,
    "multi_query_group_num": 1,
}
TEXTS = ["a", "b c d"]


def failures(published: Path, ported: Path, name: str) -> list[str | None]:
    """Of each folder what goes wrong with its code, in one line; None if nothing does.

    The ported one is tried under the ``name`` that it will have, and only where the other fails.
    """
    with tempfile.TemporaryDirectory() as place:
        result = Path(place, "result.json")
        folders = [Path(place, "published"), Path(place, "as", name)]
        folders[1].parent.mkdir()
        for link, folder in zip(folders, (published, ported), strict=True):
            link.symlink_to(folder.resolve())
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        own = {"PYTHONPATH": path, "HF_MODULES_CACHE": str(Path(place, "modules"))}
        ran = subprocess.run(
            [sys.executable, "-m", __name__, result, *folders],
            env={**os.environ, **launch.OFFLINE, **own},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if not result.is_file():
            last = (ran.stderr.strip() or f"exit status {ran.returncode}").splitlines()[-1]
            raise UserError(f"cannot try the code of {published}: {last[:300]}")
        return json.loads(result.read_text(encoding="utf-8"))


def failure(folder: Path) -> str | None:
    """What goes wrong with the code in ``folder``, here, in one line; None if nothing does."""
    try:
        model, tokenizer = _tiny(folder)
        _train(model, tokenizer)
        _ask(model, tokenizer)
    except Exception as error:  # code of any kind may raise any
        return f"{type(error).__name__}: {loading.reason(error)[:300]}"
    return None


def _tiny(folder: Path):
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    config = copy.deepcopy(config)
    for name, size in TINY.items():
        if hasattr(config, name):
            setattr(config, name, size)
    if hasattr(config, "quantization_bit"):
        config.quantization_bit = 0
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_config(config, trust_remote_code=True).float()
        for weight in model.parameters():  # the published constructors leave some unset
            torch.nn.init.normal_(weight, std=0.1)
    return model, tokenizer


def _train(model, tokenizer) -> None:
    """A step with checkpointed activations, which must have been asked for and be at work."""
    import torch

    model.gradient_checkpointing_enable()
    if not any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise RuntimeError("gradient_checkpointing_enable() enables nothing")
    model.enable_input_require_grads()
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    model.train()(input_ids=ids, labels=ids).loss.backward()
    model.gradient_checkpointing_disable()


def _ask(model, tokenizer) -> None:
    """Answers to a padded batch, greedy and by beams."""
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    for beams in (1, 2):
        model.eval().generate(**batch, max_new_tokens=3, do_sample=False, num_beams=beams)


def main(result: Path, *folders: Path) -> None:
    """Write the failures of the folders up to the first that has none."""
    found = []
    for folder in folders:
        found.append(failure(folder))
        if found[-1] is None:
            break
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""``python -m tests.toy_chatglm.real CODE_DIR DEST``: ChatGLM-6B's published code at toy size.

``CODE_DIR`` is a checkout of the published model, of which only the code and two configuration
files are read; its weights and its tokenizer's model may be absent or Git LFS pointers:

    GIT_LFS_SKIP_SMUDGE=1 git clone https://huggingface.co/THUDM/chatglm-6b CODE_DIR

``DEST`` becomes a model folder with that code, a small configuration, a sentencepiece model
trained on our corpus and random weights. Nothing is downloaded. The published code loads with
transformers before 4.34.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from . import bundled_corpus, randomise, train_tokenizer, write_json

# Pieces that the published tokenizer looks up by name, and those it writes into the text for
# line breaks, tabs and runs of blanks.
CONTROL_PIECES = [
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<unused_0>",
    "<sop>",
    "<eop>",
    "<ENC>",
    "<dBLOCK>",
]
WRITTEN_PIECES = ["<n>", "<|tab|>", *(f"<|blank_{length}|>" for length in range(2, 81))]
CONFIGS = ("config.json", "tokenizer_config.json")


def build_real(
    code: Path,
    dest: Path,
    *,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 4,
    vocab_size: int = 512,
    seed: int = 0,
) -> Path:
    """Write the model folder ``dest`` around the code in ``code`` and return its path.

    Raises:
        FileNotFoundError: ``code`` lacks a configuration file, or the code that it names.
    """
    code, dest = Path(code), Path(dest)
    config, tokenizer_config = (_read_json(code / name) for name in CONFIGS)
    dest.mkdir(parents=True, exist_ok=True)
    for file in _code_files(code, config, tokenizer_config):
        shutil.copyfile(file, dest / file.name)
    pieces = train_tokenizer(
        bundled_corpus(),
        vocab_size,
        CONTROL_PIECES,
        written_out=WRITTEN_PIECES,
        dummy_prefix=True,
    )
    (dest / "ice_text.model").write_bytes(pieces)
    write_json(dest / "tokenizer_config.json", {**tokenizer_config, "num_image_tokens": 0})
    small = {
        "hidden_size": hidden_size,
        "inner_hidden_size": 4 * hidden_size,
        "num_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocab_size,
    }
    write_json(dest / "config.json", {**config, **_token_ids(pieces), **small})
    _write_weights(dest, seed)
    return dest


def _read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _code_files(code: Path, *configs: dict) -> list[Path]:
    """The modules that the configurations name, and those beside them that the modules import."""
    named = {
        f"{reference.split('.')[0]}.py"
        for config in configs
        for references in config["auto_map"].values()
        for reference in (references if isinstance(references, list) else [references])
        if reference
    }
    missing = sorted(name for name in named if not (code / name).is_file())
    if missing:
        raise FileNotFoundError(
            f"{code} has no {', '.join(missing)}, which its configuration names"
        )
    return [file for file in sorted(code.glob("*.py")) if not file.name.startswith("test_")]


def _token_ids(tokenizer_model: bytes) -> dict[str, int]:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer_model)
    names = {"bos": "<sop>", "eos": "<eop>", "mask": "[MASK]", "gmask": "[gMASK]", "pad": "<pad>"}
    return {f"{name}_token_id": pieces.piece_to_id(piece) for name, piece in names.items()}


def _write_weights(folder: Path, seed: int) -> None:
    """Random weights, in the half precision that the published constructor asks for."""
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_config(config, trust_remote_code=True, empty_init=False).half()
    randomise(model, seed)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.toy_chatglm.real",
        description=__doc__.split("\n\n")[0].partition(": ")[2],
    )
    parser.add_argument(
        "code", metavar="CODE_DIR", type=Path, help="checkout of the published model"
    )
    parser.add_argument("dest", metavar="DEST", type=Path, help="folder to write")
    options = parser.parse_args()
    try:
        print(build_real(options.code, options.dest))
    except OSError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()

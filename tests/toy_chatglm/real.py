"""``python -m tests.toy_chatglm.real CODE_DIR DEST``: a published ChatGLM's code at toy size.

``CODE_DIR`` is a checkout of ChatGLM-6B, ChatGLM2-6B, ChatGLM3-6B or GLM-4-9B, of which only the
code and two configuration files are read (GLM-4's may be absent); weights and the tokenizer's model
may be Git LFS pointers:

    GIT_LFS_SKIP_SMUDGE=1 git clone https://huggingface.co/THUDM/chatglm-6b CODE_DIR

``DEST`` becomes a model folder with that code, a small configuration, a vocabulary made from our
corpus and random weights. Nothing is downloaded. The published code loads on old releases of
transformers only, as it is; the weights are made without it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from . import bundled_corpus, family, train_tokenizer, weights, write_json

# Pieces that ChatGLM-6B's tokenizer looks up by name, and those it writes into the text for line
# breaks, tabs and runs of blanks.
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
FIRST_SIZES = {
    "hidden_size": 64,
    "inner_hidden_size": 256,
    "num_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
}
MODULES = ("configuration_chatglm", "modeling_chatglm", "tokenization_chatglm")


def build_real(code: Path, dest: Path, *, dtype: str | None = None, seed: int = 0) -> Path:
    """Write the model folder ``dest`` around the code in ``code`` and return its path.

    ``dtype`` is the weights', by default that of the configuration.

    Raises:
        FileNotFoundError: ``code`` lacks a configuration file, or the code that it names.
    """
    code, dest = Path(code), Path(dest)
    kind = kind_of(code)
    dest.mkdir(parents=True, exist_ok=True)
    for file in sorted(code.glob("*.py")):
        if not file.name.startswith("test_"):
            shutil.copyfile(file, dest / file.name)
    config, tokenizer_config = _first(code, dest) if kind == "chatglm" else _later(kind, code, dest)
    if dtype:
        config["torch_dtype"] = dtype
    write_json(dest / "tokenizer_config.json", tokenizer_config)
    write_json(dest / "config.json", config)
    weights.write(dest / "pytorch_model.bin", config, seed)
    return dest


def kind_of(code: Path) -> str:
    """Which of the family published code is of, by what its tokenizer's text defines.

    Raises FileNotFoundError where a module is missing.
    """
    for name in MODULES:
        if not (Path(code) / f"{name}.py").is_file():
            raise FileNotFoundError(f"{code} has no {name}.py")
    text = (Path(code) / "tokenization_chatglm.py").read_text(encoding="utf-8")
    if "num_image_tokens" in text:
        return "chatglm"
    if "class SPTokenizer" not in text:
        return "glm4"
    return "chatglm3" if "def build_single_message" in text else "chatglm2"


def _first(code: Path, dest: Path) -> tuple[dict, dict]:
    """ChatGLM-6B's two configurations; its vocabulary is written."""
    config, tokenizer_config = (
        json.loads((code / name).read_text(encoding="utf-8"))
        for name in ("config.json", "tokenizer_config.json")
    )
    pieces = train_tokenizer(
        bundled_corpus(),
        FIRST_SIZES["vocab_size"],
        CONTROL_PIECES,
        written_out=WRITTEN_PIECES,
        dummy_prefix=True,
    )
    (dest / "ice_text.model").write_bytes(pieces)
    return {**config, **_token_ids(pieces), **FIRST_SIZES}, {
        **tokenizer_config,
        "num_image_tokens": 0,
    }


def _later(kind: str, code: Path, dest: Path) -> tuple[dict, dict]:
    """The two configurations of the others, whatever ``code`` says of them over ours."""
    count = family.write_vocabulary(kind, dest, bundled_corpus(), dummy_prefix=True)
    own, own_tokenizer = family.settings(kind, count, *MODULES)
    published = (
        json.loads((code / name).read_text(encoding="utf-8")) if (code / name).is_file() else {}
        for name in ("config.json", "tokenizer_config.json")
    )
    config, tokenizer_config = published
    sizes = {name: own[name] for name in (*family.SIZES, "padded_vocab_size")}
    return {**own, **config, **sizes}, {**own_tokenizer, **tokenizer_config}


def _token_ids(tokenizer_model: bytes) -> dict[str, int]:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer_model)
    names = {"bos": "<sop>", "eos": "<eop>", "mask": "[MASK]", "gmask": "[gMASK]", "pad": "<pad>"}
    return {f"{name}_token_id": pieces.piece_to_id(piece) for name, piece in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.toy_chatglm.real",
        description=__doc__.split("\n\n")[0].partition(": ")[2],
    )
    parser.add_argument(
        "code", metavar="CODE_DIR", type=Path, help="checkout of the published model"
    )
    parser.add_argument("dest", metavar="DEST", type=Path, help="folder to write")
    parser.add_argument("--dtype", help="of the weights (default: the configuration's)")
    options = parser.parse_args()
    try:
        print(build_real(options.code, options.dest, dtype=options.dtype))
    except OSError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()

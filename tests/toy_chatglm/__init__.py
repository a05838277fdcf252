"""Builds a toy ChatGLM: a model folder of our own code with ChatGLM-6B's conventions.

``build(dest)`` writes what a published model folder holds (configuration, remote code, tokenizer,
weights), small enough to train and to generate with on one CPU core. Nothing is downloaded, and
the same arguments give the same files. The folder loads with ``AutoModel.from_pretrained(dest,
trust_remote_code=True)`` on transformers 4.28 and on 5.x.

Importing this module imports neither torch nor transformers nor sentencepiece; ``build`` does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from .vocabulary import BUILTIN_PIECES, train_tokenizer

_HERE = Path(__file__).resolve().parent
_CODE = ("configuration_toy_chatglm.py", "modeling_toy_chatglm.py", "tokenization_toy_chatglm.py")
_SPECIAL_PIECES = ["[MASK]", "[gMASK]", "<sop>", "<eop>", "<n>", "<|tab|>"]
# The pieces every text needs (specials, one per byte), and room for characters and words.
MIN_VOCAB_SIZE = len(BUILTIN_PIECES) + len(_SPECIAL_PIECES) + 256 + 34


def build(
    dest: Path,
    *,
    hidden_size: int = 32,
    layers: int = 2,
    heads: int = 4,
    vocab_size: int = 400,
    seed: int = 0,
    corpus: Iterable[str] | None = None,
) -> Path:
    """Write the model folder ``dest`` (created; its own files overwritten) and return its path.

    The tokenizer is trained on ``corpus`` (texts; by default the bundled ``corpus.txt``) and has
    at most ``vocab_size`` pieces; the embedding has ``vocab_size`` rows.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size is {vocab_size}; the smallest that works is {MIN_VOCAB_SIZE}")
    dest = Path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    config, tokenizer_config = first_settings(dest, hidden_size, layers, heads, vocab_size, corpus)
    write_json(dest / "tokenizer_config.json", tokenizer_config)
    write_json(dest / "config.json", config)
    for name in _CODE:
        shutil.copyfile(_HERE / "remote_code" / name, dest / name)
    _write_weights(dest / "pytorch_model.bin", config, seed)
    return dest


def first_settings(
    dest: Path,
    hidden_size: int = 32,
    layers: int = 2,
    heads: int = 4,
    vocab_size: int = 400,
    corpus: Iterable[str] | None = None,
) -> tuple[dict, dict]:
    """config.json and tokenizer_config.json of a toy ChatGLM-6B; its vocabulary is written."""
    corpus = bundled_corpus() if corpus is None else corpus
    tokenizer_model = train_tokenizer(corpus, vocab_size, _SPECIAL_PIECES)
    (dest / "ice_text.model").write_bytes(tokenizer_model)
    config = _model_config(tokenizer_model, hidden_size, layers, heads, vocab_size)
    return config, _tokenizer_config()


def bundled_corpus() -> list[str]:
    return (_HERE / "corpus.txt").read_text(encoding="utf-8").splitlines()


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tokenizer_config() -> dict:
    return {
        "tokenizer_class": "ChatGLMTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_toy_chatglm.ChatGLMTokenizer", None]},
        "bos_token": "<sop>",
        "eos_token": "<eop>",
        "end_token": "</s>",
        "gmask_token": "[gMASK]",
        "mask_token": "[MASK]",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "do_lower_case": False,
        "remove_space": False,
        "num_image_tokens": 0,
    }


def _model_config(
    tokenizer_model: bytes, hidden_size: int, layers: int, heads: int, vocab_size: int
) -> dict:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer_model)
    model_class = "modeling_toy_chatglm.ChatGLMForConditionalGeneration"
    return {
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_toy_chatglm.ChatGLMConfig",
            "AutoModel": model_class,
            "AutoModelForSeq2SeqLM": model_class,
        },
        "model_type": "chatglm",
        "bos_token_id": pieces.piece_to_id("<sop>"),
        "eos_token_id": pieces.piece_to_id("<eop>"),
        "mask_token_id": pieces.piece_to_id("[MASK]"),
        "gmask_token_id": pieces.piece_to_id("[gMASK]"),
        "pad_token_id": pieces.piece_to_id("<pad>"),
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "inner_hidden_size": 4 * hidden_size,
        "num_layers": layers,
        "num_attention_heads": heads,
        "layernorm_epsilon": 1e-5,
        "max_sequence_length": 2048,
        "position_encoding_2d": True,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
    }


def _write_weights(path: Path, config: dict, seed: int) -> None:
    """Random weights, the same for the same seed whatever the stack; torch's global seed is kept.

    A pickled state dict (as ChatGLM-6B's) is what both transformers versions read without more.
    """
    import torch

    from .remote_code.configuration_toy_chatglm import ChatGLMConfig
    from .remote_code.modeling_toy_chatglm import ChatGLMForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        model = ChatGLMForConditionalGeneration(ChatGLMConfig(**config), empty_init=False)
    randomise(model, seed)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state["lm_head.weight"] = state["transformer.word_embeddings.weight"]
    torch.save(state, path)


def randomise(model, seed: int) -> None:
    """Give a ChatGLM weights of a spread with which it, though frozen, has something to say."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "layernorm" in name:
                parameter.fill_(1.0)
            else:
                embedding = name.endswith("word_embeddings.weight")
                std = 0.3 if embedding else parameter.shape[1] ** -0.5
                parameter.normal_(std=std, generator=generator)

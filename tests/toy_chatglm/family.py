"""The toy family: ChatGLM-6B, ChatGLM2, ChatGLM3 and GLM-4 with the habits of their time.

``build(dest, kind)`` writes a model folder whose code (old_code/, our own) does what the published
code does and newer releases of transformers object to: it loads where that loads. Vocabulary and
settings of the last three also go around the published code itself (``real``).
"""

from __future__ import annotations

import base64
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import bundled_corpus, first_settings, weights, write_json
from .vocabulary import train_tokenizer

FIRST, *LATER = KINDS = ("chatglm6b", "chatglm2", "chatglm3", "glm4")
VOCABULARY = "tokenizer.model"
HERE = Path(__file__).resolve().parent
TOKENIZERS = {kind: f"tokenization_toy_glm{kind[-1]}" for kind in LATER}
# Sizes at which the models train on a CPU; every head has eight numbers.
SIZES = {
    "num_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "kv_channels": 8,
    "ffn_hidden_size": 64,
    "multi_query_group_num": 2,
    "seq_length": 2048,
}
MODELS = ("AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
GLM4_SPECIAL = [
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
]
GLM4_TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build(dest: Path, kind: str, seed: int = 0, **sizes) -> Path:
    """Write the model folder ``dest`` of a kind (one of KINDS) and return its path.

    ``sizes`` and ``corpus``, as ``first_settings`` has them, are for ChatGLM-6B's kind alone.
    """
    if sizes and kind != FIRST:
        raise ValueError(f"a toy {kind} is of one size: leave out {', '.join(sizes)}")
    dest = Path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    for file in sorted((HERE / "old_code").glob("*.py")):
        if ("first" in file.name) <= (kind == FIRST):
            shutil.copyfile(file, dest / file.name)
    if kind == FIRST:
        config, tokenizer = _first(dest, **sizes)
    else:
        count = write_vocabulary(kind, dest, bundled_corpus(), dummy_prefix=False)
        modules = ("configuration_toy_glm", "modeling_toy_glm", TOKENIZERS[kind])
        config, tokenizer = settings(kind, count, *modules)
        if kind == "glm4":
            config["auto_map"] |= dict.fromkeys(
                MODELS, f"{modules[1]}.GLM4ForConditionalGeneration"
            )
    write_json(dest / "config.json", config)
    write_json(dest / "tokenizer_config.json", tokenizer)
    weights.write(dest / "pytorch_model.bin", config, seed)
    return dest


def _first(dest: Path, **sizes) -> tuple[dict, dict]:
    """The two configurations of a toy ChatGLM-6B, whose arithmetic is the other toy's."""
    for file in sorted((HERE / "remote_code").glob("*.py")):
        shutil.copyfile(file, dest / file.name)
    config, tokenizer = first_settings(dest, **sizes)
    model = "modeling_toy_glm_first.ChatGLMForConditionalGeneration"
    config["auto_map"] = {
        "AutoConfig": "configuration_toy_glm.FirstConfig",
        "AutoModel": model,
        "AutoModelForSeq2SeqLM": model,
    }
    named = ["tokenization_toy_glm_first.ChatGLMTokenizer", None]
    # What the published configuration does not say either.
    del config["tie_word_embeddings"], tokenizer["clean_up_tokenization_spaces"]
    return config, {**tokenizer, "auto_map": {"AutoTokenizer": named}}


def byte_pairs(corpus: Sequence[str], size: int) -> bytes:
    """GLM-4's kind of vocabulary: a line a token, base64 and rank; each byte, then characters."""
    counts = Counter(char for text in corpus for char in text if len(char.encode()) > 1)
    tokens = [bytes([value]) for value in range(256)]
    for char, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        raw = char.encode()
        # Byte pairs are merged one at a time, so all on the way to the character must be there.
        tokens += [raw[:end] for end in range(2, len(raw) + 1) if raw[:end] not in tokens]
    lines = (f"{base64.b64encode(token).decode()} {i}" for i, token in enumerate(tokens[:size]))
    return "".join(f"{line}\n" for line in lines).encode()


def model_settings(kind: str, pieces: int) -> dict:
    """config.json without auto_map, for a vocabulary of so many pieces."""
    ends = (
        {"eos_token_id": [pieces, pieces + 7, pieces + 9], "pad_token_id": pieces}
        if kind == "glm4"
        else {"eos_token_id": 2, "pad_token_id": 0}
    )
    return {
        "architectures": ["ChatGLMModel"],
        "model_type": "chatglm",
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_query_key_layer_scaling": True,
        "apply_residual_connection_post_layernorm": False,
        "attention_dropout": 0.0,
        "attention_softmax_in_fp32": True,
        "bias_dropout_fusion": True,
        "fp32_residual_connection": False,
        "hidden_dropout": 0.0,
        "layernorm_epsilon": 1e-05,
        "multi_query_attention": True,
        "original_rope": True,
        "post_layer_norm": True,
        "rmsnorm": True,
        "use_cache": True,
        "torch_dtype": "float32",
        "tie_word_embeddings": False,
        "padded_vocab_size": -(-(pieces + 32) // 64) * 64,
        **SIZES,
        **ends,
    }


def tokenizer_settings(kind: str, pieces: int) -> dict:
    """tokenizer_config.json without auto_map, for a vocabulary of so many pieces."""
    settings = {"remove_space": False, "do_lower_case": False}
    if kind != "glm4":
        return {**settings, "tokenizer_class": "ChatGLMTokenizer"}
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    return {
        **settings,
        "tokenizer_class": "ChatGLM4Tokenizer",
        "added_tokens_decoder": {
            str(pieces + i): {"content": token, "special": True, **flags}
            for i, token in enumerate(GLM4_SPECIAL)
        },
        "additional_special_tokens": GLM4_SPECIAL,
        "chat_template": GLM4_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
    }


def settings(kind: str, pieces: int, configuration: str, modeling: str, tokenization: str):
    """config.json and tokenizer_config.json, whose code is in these three modules."""
    model = f"{modeling}.ChatGLMForConditionalGeneration"
    tokenizer = tokenizer_settings(kind, pieces)
    mapped = {"AutoConfig": f"{configuration}.ChatGLMConfig", **dict.fromkeys(MODELS, model)}
    named = [f"{tokenization}.{tokenizer['tokenizer_class']}", None]
    return (
        {"auto_map": mapped, **model_settings(kind, pieces)},
        {"auto_map": {"AutoTokenizer": named}, **tokenizer},
    )


def write_vocabulary(kind: str, dest: Path, corpus: Sequence[str], dummy_prefix: bool) -> int:
    """Write the vocabulary's file; how many pieces it has."""
    if kind == "glm4":
        content = byte_pairs(corpus, 480)
        count = content.count(b"\n")
    else:
        import sentencepiece

        content = train_tokenizer(corpus, 420, (), dummy_prefix=dummy_prefix)
        count = sentencepiece.SentencePieceProcessor(model_proto=content).get_piece_size()
    (dest / VOCABULARY).write_bytes(content)
    return count

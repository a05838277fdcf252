"""Random weights under the published names, made without the published code.

So a folder is the same on every release of transformers, also where that code does not load.
"""

from __future__ import annotations

from pathlib import Path

Shapes = dict[str, tuple[int, ...]]


def first_shapes(config: dict) -> Shapes:
    """ChatGLM-6B's: biases everywhere, a head that is the embedding, a rotation in each layer."""
    hidden, inner, rows = (config[n] for n in ("hidden_size", "inner_hidden_size", "vocab_size"))
    shapes = {"transformer.word_embeddings.weight": (rows, hidden)}
    for layer in range(config["num_layers"]):
        place = f"transformer.layers.{layer}"
        shapes[f"{place}.attention.rotary_emb.inv_freq"] = (
            hidden // config["num_attention_heads"] // 4,
        )
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes |= _linear(f"{place}.{norm}", (hidden,))
        shapes |= _linear(f"{place}.attention.query_key_value", (3 * hidden, hidden))
        shapes |= _linear(f"{place}.attention.dense", (hidden, hidden))
        shapes |= _linear(f"{place}.mlp.dense_h_to_4h", (inner, hidden))
        shapes |= _linear(f"{place}.mlp.dense_4h_to_h", (hidden, inner))
    return shapes | _linear("transformer.final_layernorm", (hidden,))


def later_shapes(config: dict) -> Shapes:
    """ChatGLM2-6B's and later: keys in groups, a gate in the feed-forward part, a head of its own."""
    hidden, inner, rows = (
        config[name] for name in ("hidden_size", "ffn_hidden_size", "padded_vocab_size")
    )
    size = config["kv_channels"]
    heads = size * (config["num_attention_heads"] + 2 * config["multi_query_group_num"])
    shapes = {
        "transformer.embedding.word_embeddings.weight": (rows, hidden),
        "transformer.rotary_pos_emb.inv_freq": (size // 4,),
    }
    for layer in range(config["num_layers"]):
        place = f"transformer.encoder.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{place}.{norm}.weight"] = (hidden,)
        shapes |= _linear(f"{place}.self_attention.query_key_value", (heads, hidden))
        shapes[f"{place}.self_attention.dense.weight"] = (
            hidden,
            size * config["num_attention_heads"],
        )
        shapes[f"{place}.mlp.dense_h_to_4h.weight"] = (2 * inner, hidden)
        shapes[f"{place}.mlp.dense_4h_to_h.weight"] = (hidden, inner)
    shapes["transformer.encoder.final_layernorm.weight"] = (hidden,)
    shapes["transformer.output_layer.weight"] = (rows, hidden)
    return shapes


def _linear(name: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def write(path: Path, config: dict, seed: int) -> None:
    """Write weights of the configuration's dtype, the same for the same seed.

    Their spread is one with which the model, though frozen, has something to say.
    """
    import torch

    is_first = "inner_hidden_size" in config
    shapes = first_shapes(config) if is_first else later_shapes(config)
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, config["torch_dtype"])
    state = {name: _draw(name, shape, generator).to(dtype) for name, shape in shapes.items()}
    if is_first:  # one tensor, as the published files hold it and as every release ties it
        state["lm_head.weight"] = state["transformer.word_embeddings.weight"]
    torch.save(state, path)


def _draw(name: str, shape: tuple[int, ...], generator):
    import torch

    if name.endswith("inv_freq"):
        return 1.0 / 10000 ** (torch.arange(shape[0]) / shape[0])
    if name.endswith("bias"):
        return torch.zeros(shape)
    if "layernorm" in name:
        return torch.ones(shape)
    std = 0.3 if name.endswith("word_embeddings.weight") else shape[1] ** -0.5
    return torch.randn(shape, generator=generator) * std

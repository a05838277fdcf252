"""Worker: write a model folder to measure with, large enough that computing is what takes time."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import transformers

from tests import tiny_models, toy_chatglm


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("family", choices=("chatglm", *tiny_models.FAMILIES))
    parser.add_argument("dest", type=Path)
    parser.add_argument("--vocabulary", type=int, help="rows of the embedding, used or not")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--half", action="store_true", help="bfloat16 weights")
    args = parser.parse_args()
    heads = args.width // (128 if args.width >= 1024 else 32)
    if args.family == "chatglm":
        sizes = {"hidden_size": args.width, "layers": args.layers, "heads": heads}
        toy_chatglm.build(args.dest, vocab_size=args.vocabulary or 1000, **sizes)
        if args.half:
            halve(args.dest)
        return
    tiny_models.build(args.family, args.dest)
    shape = {
        "hidden_size": args.width,
        # Three matrices as large as the two of ChatGLM's, four times as wide as the model.
        "intermediate_size": args.width * 8 // 3 // 32 * 32 if args.vocabulary else 4 * args.width,
        "num_hidden_layers": args.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
    }
    if args.vocabulary:
        shape["vocab_size"] = args.vocabulary
    config = transformers.AutoConfig.from_pretrained(args.dest, **shape)
    config.head_dim = args.width // heads
    torch.manual_seed(0)
    if args.half:
        torch.set_default_dtype(torch.bfloat16)
    # Billions of weights are drawn on a GPU, where there is one.
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(args.dest)


def halve(folder: Path) -> None:
    """Make the weights of a toy ChatGLM bfloat16."""
    file = folder / "pytorch_model.bin"
    state = torch.load(file)
    del state["lm_head.weight"]  # the embedding, which it stays
    state = {name: weight.to(torch.bfloat16) for name, weight in state.items()}
    state["lm_head.weight"] = state["transformer.word_embeddings.weight"]
    torch.save(state, file)


if __name__ == "__main__":
    main()

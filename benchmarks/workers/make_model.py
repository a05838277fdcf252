"""Worker: write a model folder to measure with, large enough that computing is what takes time."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import transformers

from tests import tiny_models, toy_chatglm

SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("chatglm", "llama"))
    parser.add_argument("dest", type=Path)
    args = parser.parse_args()
    if args.kind == "chatglm":
        toy_chatglm.build(args.dest, hidden_size=SHAPE["hidden_size"], vocab_size=1000)
        return
    tiny_models.build(args.kind, args.dest)
    config = transformers.AutoConfig.from_pretrained(args.dest, **SHAPE)
    config.head_dim = SHAPE["hidden_size"] // SHAPE["num_attention_heads"]
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(args.dest)


if __name__ == "__main__":
    main()

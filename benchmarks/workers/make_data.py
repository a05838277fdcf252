"""Worker: write rows to a JSON lines file, counted with a model's tokenizer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import transformers

from benchmarks import corpus
from tests.toy_chatglm import bundled_corpus


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--variant", choices=corpus.VARIANTS, default="short")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model, trust_remote_code=True)
    with open(args.out, "w", encoding="utf-8") as file:
        for row in corpus.rows(tokenizer, bundled_corpus(), args.count, args.variant):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

"""``python -m tests.toy_chatglm.figures OUT FOLDER…``: what ChatGLMs compute, to be compared.

Run with one stack on the published code and with another on the ported: OUT (JSON, a list with an
object for each folder; bits of floats as integers) must be the same.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from pathlib import Path

WORDS = [
    "你好",
    "天气",
    "\n",
    "\t",
    "  ",
    "   ",
    "a b",
    " c",
    "问：",
    "!",
    " , ok",
    "𠮷",
    "é",
    "1 + 1",
]
SPECIAL = [
    "[gMASK]", "[MASK]", "[sMASK]", "<sop>", "<eop>", "</s>", "<pad>", "<unk>", "<n>", "<|tab|>",
    "<|user|>", "<|assistant|>", "<|endoftext|>", "sop",
]  # fmt: skip
PROMPTS = ["你好", "问：1 + 1 = ?", "a b c 天气"]


def texts(count: int, words: list[str], seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(count)]


def load(folder: Path):
    """(model, tokenizer), as anybody loads them; weights in float32."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, torch_dtype=torch.float32)
    return model.float().eval(), tokenizer


def until_end(tokenizer, ids) -> list[int]:
    """An answer without what follows its end, which releases fill in different ways."""
    return list(itertools.takewhile(lambda i: i != tokenizer.eos_token_id, ids.tolist()))


def bits(tensor) -> list[int]:
    import torch

    kinds = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}
    return tensor.contiguous().view(kinds[tensor.dtype]).flatten().tolist()


def figures(folder: Path) -> dict:
    import torch
    from transformers import AutoModel

    model, tokenizer = load(folder)
    batch = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    single = {"input_ids": torch.tensor([tokenizer(PROMPTS[1])["input_ids"]])}
    found = {}
    with torch.no_grad():
        for name, inputs in (("single", single), ("padded", batch)):
            logits = model(**inputs).logits
            hidden = (inputs["input_ids"] == tokenizer.pad_token_id)[..., None]
            found[f"logits, {name}"] = bits(logits.masked_fill(hidden, 0))
        for beams in (1, 3):
            options = {"max_new_tokens": 12, "do_sample": False, "num_beams": beams}
            options["length_penalty"] = 0.0  # releases disagree on what is a length
            for name, inputs in (("single", single), ("padded", batch)):
                ids = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
                found[f"ids, {name}, {beams} beams"] = [until_end(tokenizer, row) for row in ids]
    found |= training(model, single["input_ids"])
    half = AutoModel.from_pretrained(folder, trust_remote_code=True).half().eval()
    with torch.no_grad():
        found["logits, half"] = bits(half(**single).logits)
    plain, spelt = texts(1000, WORDS, 0), texts(500, WORDS + SPECIAL, 1)
    for name, several in (("plain texts", plain), ("texts with special tokens", spelt)):
        encoded = [encode(tokenizer, text) for text in several]
        found[f"encodings, {name}"] = encoded
        known = [ids for ids in encoded if isinstance(ids, list)]
        for skip in (True, False):
            decoded = [tokenizer.decode(ids, skip_special_tokens=skip) for ids in known]
            found[f"decodings, {name}, {'without' if skip else 'with'} special tokens"] = decoded
    return found


def encode(tokenizer, text: str) -> list[int] | str:
    try:
        return tokenizer(text)["input_ids"]
    except Exception as error:  # GLM-4's refuses to read its special tokens in some places
        return type(error).__name__


def training(model, ids) -> dict:
    """Loss and gradients, without and with checkpoints of activations."""
    found = {}
    for name in ("plain", "checkpointed"):
        if name == "checkpointed":
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        model.zero_grad()
        loss = model.train()(input_ids=ids, labels=ids).loss
        loss.backward()
        norms = [p.grad.float().norm() for p in model.parameters() if p.grad is not None]
        found[f"loss, {name}"] = loss.item()
        found[f"gradients, {name}"] = round(sum(norms).item(), 3)
    return found


def main() -> None:
    out, *folders = map(Path, sys.argv[1:])
    out.write_text(json.dumps([figures(folder) for folder in folders]), encoding="utf-8")


if __name__ == "__main__":
    main()

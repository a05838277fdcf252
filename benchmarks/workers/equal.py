"""Worker: loss and gradients of the same batches, padded as the recipe does and as the script does."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import datasets
import torch
import transformers

from benchmarks import recipe, rivals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=4)
    args, rest = parser.parse_known_args()
    script = rivals.load_script(args.script)
    parser = transformers.HfArgumentParser(
        (script.ModelArguments, script.DataTrainingArguments, transformers.TrainingArguments)
    )
    given = [*rest, "--output_dir", str(args.out.with_suffix(".run"))]
    model_args, data_args, training_args = parser.parse_args_into_dataclasses(given)
    folder = model_args.model_name_or_path
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    model_args.lora_dropout = 0.0
    model = script.add_lora(model, tokenizer, script.stop_ids, model_args, training_args)
    unsettle(model)
    raw = datasets.load_dataset("json", data_files={"train": data_args.train_file})
    padded = recipe.encode(raw["train"], tokenizer, data_args, script.build_prompt)
    ours = script.encode_datasets(raw, script.encode_pair, tokenizer, data_args, training_args)
    collator, worst = script.PairCollator(tokenizer, data_args), {"loss": 0.0, "gradient": 0.0}
    size = training_args.per_device_train_batch_size
    for start in range(0, args.batches * size, size):
        rows = range(start, start + size)
        one = step(model, recipe.collate([padded[i] for i in rows]))
        other = step(model, collator([ours["train"][i] for i in rows]))
        worst = {name: max(worst[name], apart(one[name], other[name])) for name in worst}
    args.out.write_text(json.dumps(worst), encoding="utf-8")


def unsettle(model) -> None:
    """Give a new adapter gradients: lora_B is zero at first, and with it the gradient of lora_A."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)


def step(model, batch) -> dict:
    """The loss of a batch and the gradients it gives."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    gradients = [p.grad.flatten().clone() for p in model.parameters() if p.requires_grad]
    return {"loss": loss.detach(), "gradient": torch.cat(gradients)}


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / one.abs().max())


if __name__ == "__main__":
    main()

"""Rival (a): the hand-made recipe, written from its description.

It encodes row by row and pads every training example to the longest that the limits allow, 1152
tokens by default; its labels are padded with -100. Nothing is left to do for the collator.
"""

from __future__ import annotations

import datasets
import transformers


def encode_rows(batch, *, tokenizer, limits, build_prompt):
    """Encode a batch for ``Dataset.map(batched=True)``: {"input_ids", "labels"}, all of one length."""
    length = limits.max_source_length + limits.max_target_length
    features = {"input_ids": [], "labels": []}
    for prompt, response, history in zip(
        batch["prompt"], batch["response"], batch["history"], strict=True
    ):
        if not prompt or not response:
            continue
        source = tokenizer.encode(text=build_prompt(prompt, history), add_special_tokens=False)
        target = tokenizer.encode(text=response, add_special_tokens=False)
        source = source[: limits.max_source_length - 1]
        target = target[: limits.max_target_length - 2]
        ids = tokenizer.build_inputs_with_special_tokens(source, target)
        context = ids.index(tokenizer.bos_token_id)
        labels = [-100] * context + ids[context:]
        pad = length - len(ids)
        features["input_ids"].append(ids + [tokenizer.pad_token_id] * pad)
        features["labels"].append(labels + [-100] * pad)
    return features


def encode(rows: datasets.Dataset, tokenizer, limits, build_prompt, **options) -> datasets.Dataset:
    """All rows, as the recipe encodes them; ``options`` go to ``Dataset.map``."""
    return rows.map(
        encode_rows,
        batched=True,
        remove_columns=rows.column_names,
        fn_kwargs={"tokenizer": tokenizer, "limits": limits, "build_prompt": build_prompt},
        **options,
    )


def padded(rows: datasets.Dataset, tokenizer, limits, _training_args) -> datasets.Dataset:
    """Encoded rows of any model, each padded on the right to the longest that the limits allow."""
    length = limits.max_source_length + limits.max_target_length
    fill = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    values = {"input_ids": fill, "labels": -100, "attention_mask": 0}

    def pad(row):
        return {
            name: row[name] + [values[name]] * (length - len(row["input_ids"]))
            for name in values
            if name in row
        }

    unused = [name for name in rows.column_names if name not in values]
    return rows.map(pad, remove_columns=unused)


def collate(rows: list[dict]) -> dict:
    return transformers.default_data_collator(rows)

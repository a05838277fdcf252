"""Tokens that a tokenizer has beyond the base model's: their rows are trained and saved, or refused."""

import dataclasses

import peft
from embedding_rows import embedding_rows
from user_error import UserError


def _published_rows(model, model_args):
    """Return how many rows the base model's embedding had before any resize, None if not known."""
    name = model_args.config_name or model_args.model_name_or_path
    if name is None:
        return None
    # The configuration in memory was resized with the model; that on disk was just read.
    config = type(model.config).from_pretrained(
        name,
        revision=getattr(model.config, "_commit_hash", None) or model_args.model_revision,
        cache_dir=model_args.cache_dir,
        local_files_only=True,
    )
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return getattr(config, "padded_vocab_size", getattr(config, "vocab_size", None))


def _name_of(model, module):
    """Return the last part of a module's name in the model, None if it has none there."""
    found = (name for name, known in model.named_modules() if known is module)
    return next((name.rpartition(".")[2] for name in found), None)


def _hindrance(embedding, otherwise_trained):
    """Return in words why rows of an embedding cannot be trained by themselves, "" if they can.

    Args:
        embedding: the model's input embedding.
        otherwise_trained: names of what else is trained of it or of the head.
    """
    if otherwise_trained:
        return f"with {', '.join(sorted(otherwise_trained))} adapted or trained as well"
    if hasattr(embedding.weight, "ds_id"):
        return "under ZeRO-3"
    known = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    return "" if "trainable_token_indices" in known else "with this release of peft"


def _token_settings(model, model_args, targets, modules_to_save):
    """Return the settings of a LoraConfig by which the rows of added tokens are trained and saved.

    Without them these rows would stay as random as the resize left them, and be lost at the end.

    Args:
        model: the loaded base, its embeddings resized.
        model_args: the script's.
        targets, modules_to_save: names of modules, those to adapt and those to train in full.

    Raises:
        UserError: peft, or DeepSpeed's partitions, leave no way to do so.
    """
    published, rows = _published_rows(model, model_args), embedding_rows(model)
    if published is None or rows <= published:
        return {}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    layers = {_name_of(model, embedding): embedding}
    if head is not None:
        layers[_name_of(model, head)] = head
    if set(layers) <= set(modules_to_save):
        return {}
    adapted = set(targets) if isinstance(targets, list) else set()
    hindrance = _hindrance(embedding, set(layers) & (adapted | set(modules_to_save)))
    if hindrance:
        raise UserError(
            f"The tokenizer has {rows - published} tokens that the model has not learnt, and {hindrance} "
            f"their rows alone cannot be trained: give --lora_modules_to_save {','.join(layers)} to train "
            "and save all rows."
        )
    is_tied = head is not None and head.weight is embedding.weight
    alone = [_name_of(model, embedding)] if is_tied else list(layers)
    return {"trainable_token_indices": {name: list(range(published, rows)) for name in alone}}

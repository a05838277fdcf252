"""How many rows a model's embedding has, also where ZeRO-3 hides it; and no fewer than these."""

import torch


def embedding_rows(model):
    """Return how many rows the input embedding has; a ZeRO-3 partition counts as the whole it is of."""
    weight = model.get_input_embeddings().weight
    return getattr(weight, "ds_shape", weight.shape)[0]


def grow_embeddings(model, new_num_tokens=None, pad_to_multiple_of=None, **options):
    """Resize as `model.resize_token_embeddings` does, but never to fewer rows than there are.

    Under ZeRO-3 whoever looks at the weight's shape sees no row, and would cut those away by which
    a published vocabulary exceeds its tokenizer's.

    Args:
        model: a model of transformers, changed in place.
        new_num_tokens, pad_to_multiple_of, options: as the method has them in some release.

    Returns:
        The input embedding.
    """
    there = embedding_rows(model)
    rows = max(new_num_tokens or 0, there)
    if pad_to_multiple_of:
        rows = -(-rows // pad_to_multiple_of) * pad_to_multiple_of
    if rows == there:
        return model.get_input_embeddings()
    is_partition = hasattr(model.get_input_embeddings().weight, "ds_id")
    resized = model.resize_token_embeddings(rows, **options)
    if is_partition:
        # Old releases put the rows that were there into the first rank's only.
        layers = filter(None, (resized, model.get_output_embeddings()))
        for weight in [weight for layer in layers for weight in layer.parameters()]:
            if not hasattr(weight, "ds_id"):
                torch.distributed.broadcast(weight.data, 0)
    return resized

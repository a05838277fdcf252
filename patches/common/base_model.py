"""Which base model an adapter belongs to: recorded where it is saved, compared where it is used."""

import json
import os
import re

import torch
from adapter_weights import _gathered
from embedding_rows import embedding_rows
from user_error import UserError

RUN_FILE = "training_run.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
SAMPLED_VALUES = 4  # of each weight
HALVES = {torch.float16, torch.bfloat16}


def _quantization_settings(config):
    """Return what a model's configuration says of how its weights are quantised, {} if they are not."""
    settings = getattr(config, "quantization_config", None) or {}
    return settings if isinstance(settings, dict) else settings.to_dict()


def _quantization_name(config):
    """Return how a model's weights are quantised, by its configuration: 4bit, 8bit, another method's name; or None."""
    known = _quantization_settings(config)
    if not known:
        return None
    for kind in ("4bit", "8bit"):
        if known.get(f"load_in_{kind}"):
            return kind
    method = known.get("quant_method")
    return str(getattr(method, "value", method))


def _kind_of_weights(name):
    """Return in words what `_quantization_name` returns."""
    return f"weights of {name}" if name else "weights that are not quantised"


def _first_values(parameter):
    """Return the first few values of a weight, on the CPU; a call for all ranks."""
    with _gathered([parameter]):
        return parameter.detach().flatten()[:SAMPLED_VALUES].cpu()


def _sample(model):
    """Return {dtype: {name of a weight: its first values}} of a model that has no adapter yet.

    What the rows that were added to an embedding hold does not change it. Of quantised weights it
    has bytes.
    """
    sample = {}
    for name, parameter in model.named_parameters():
        if not parameter.is_complex():
            kind = str(parameter.dtype).rpartition(".")[2]
            sample.setdefault(kind, {})[name] = _first_values(parameter).tolist()
    return sample


def _describe_base(model):
    """Return what tells the base model from others, as JSON has it; a call for all ranks.

    Args:
        model: the loaded base, its embeddings resized, without an adapter.

    Returns:
        name_or_path; revision and code_revision, the commits of a hub model's weights and code or
        None; vocabulary_size, the rows of its embedding; quantization, see `_quantization_name`;
        compute_dtype, what weights of four bits are multiplied in; sample, see `_sample`.
    """
    config = model.config
    # A hub model's own code is imported from a package named after the commit.
    package = type(model).__module__.split(".")[-2:][0]
    return {
        "name_or_path": getattr(config, "_name_or_path", None) or None,
        "revision": getattr(config, "_commit_hash", None),
        "code_revision": package if COMMIT.fullmatch(package) else None,
        "vocabulary_size": embedding_rows(model),
        "quantization": _quantization_name(config),
        "compute_dtype": _quantization_settings(config).get("bnb_4bit_compute_dtype"),
        "sample": _sample(model),
    }


def _is_same_value(there, here):
    """Return whether two samples of a weight are of one, each perhaps rounded to its own dtype."""
    # Between the two half precisions it was rounded twice.
    if there.is_floating_point() != here.is_floating_point():
        return True  # one is quantised, and the other not
    tolerance = 2**-7 if {there.dtype, here.dtype} == HALVES else 0
    rounded = here.to(there.dtype).to(here.dtype)
    return len(here) == len(there) and torch.allclose(
        there.to(here.dtype), rounded, rtol=tolerance, atol=0, equal_nan=True
    )


def _base_difference(here, there):
    """Return in words how two base models differ in weights, "" if they don't.

    Args:
        here, there: what `_describe_base` returned for them, perhaps loaded in other precisions;
            weights that releases of transformers name otherwise are not compared. {} differs from
            nothing.
    """
    one, other = (_by_name(record.get("sample") or {}) for record in (here, there))
    common = sorted(one.keys() & other.keys())
    differing = [name for name in common if not _is_same_value(other[name], one[name])]
    if not differing:
        return ""
    return (
        f"{len(differing)} of {len(common)} weights that were looked at, such as {differing[0]!r}"
    )


def _by_name(sample):
    """Return {name: first values, a tensor of the weight's own dtype} of a `_sample`."""
    return {
        name: torch.tensor(values, dtype=getattr(torch, kind))
        for kind, weights in sample.items()
        for name, values in weights.items()
    }


def _read_run(folder):
    """Return what the run that saved the adapter in `folder` recorded, {} where nothing is."""
    try:
        with open(os.path.join(folder, RUN_FILE), encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _check_same_base(folder, here):
    """Refuse a checkpoint that was trained on another base model than the run's, `here`.

    Raises:
        UserError: weights differ.
    """
    there = _read_run(folder).get("base_model") or {}
    ways = [record.get("quantization") for record in (there, here)]
    if there and ways[0] != ways[1]:
        was, now = map(_kind_of_weights, ways)
        raise UserError(
            f"{folder!r} was trained on {was}, and this run has {now}: go on with what it was trained on, or "
            "start anew in another --output_dir."
        )
    difference = _base_difference(here, there)
    if difference:
        raise UserError(
            f"{folder!r} was trained on another base model, {there.get('name_or_path')!r}: {difference} differ "
            "from this one's; go on with that one, or start anew in another --output_dir."
        )

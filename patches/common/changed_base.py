"""Adapters that begin as a part of the base model's weights, which these then lack: PiSSA's, OLoRA's.

Such an adapter means nothing on the base as others have it. What is saved is therefore what was
learnt beyond its beginning, an adapter of twice the rank: where W became W - B0 A0 and B A was
learnt, [B, -B0] [A; A0] on W is the same. It is what peft's `save_pretrained` makes of it, given
`path_initial_model_for_weight_conversion`; but here without a second adapter in the model, which
DeepSpeed's would not stand, and with the beginning in the file, so that a resumed run can compare.
"""

import collections
import functools
import json
import os

import torch
from adapter_weights import (
    _adapter_file,
    _put_adapter,
    _read_weights,
    _write_weights,
)
from base_model import _first_values
from user_error import UserError


def _watched(model):
    """Return what tells later whether a model's weights are what they are now; a call for all ranks."""
    return [(parameter, _first_values(parameter).clone()) for parameter in model.parameters()]


def _restores(layer, before):
    """Return whether a LoRA layer, as it is, adds just what its weight lacks of `before`."""
    weight = layer.get_base_layer().weight
    if not weight.is_floating_point():
        return False
    added = layer.get_delta_weight(layer.active_adapters[0]).detach().flatten()[: len(before)].cpu()
    # What the weight's own precision rounds away, here and in the model that is loaded later.
    size = before.abs().max() + added.abs().max()
    error = (_first_values(weight).double() + added.double() - before.double()).abs().max()
    return bool(error <= 16 * torch.finfo(weight.dtype).eps * size)


def _initial_adapter(model, watched):
    """Return the matrices that an adapter which has changed its base begins with; {} if it has not.

    Args:
        model: a peft model, just made.
        watched: `_watched` of its base, before.

    Returns:
        {name as in an adapter's file: tensor on the CPU}.

    Raises:
        UserError: the base has been changed otherwise than by what the adapter adds.
    """
    changed = {id(p): old for p, old in watched if not torch.equal(old, _first_values(p))}
    left = {id(parameter) for parameter in model.parameters()}
    replaced = sum(id(parameter) not in left for parameter, _ in watched)
    if not changed and not replaced:
        return {}
    held = collections.Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    for layer in [m for m in model.modules() if hasattr(m, "get_delta_weight")]:
        key = id(getattr(layer.get_base_layer(), "weight", None))
        # What another module has too, as an embedding the head's, lacks it there.
        if key in changed and held[key] == 1 and _restores(layer, changed[key]):
            del changed[key]
    if changed or replaced:
        raise UserError(
            f"--lora_config: these settings change {len(changed) + replaced} of the base model's own "
            "weights otherwise than by what the adapter adds, so no adapter could be saved that fits "
            "the model as others load it: choose another init_lora_weights."
        )
    state = model.state_dict()
    return {
        _file_name(name): value.detach().cpu().clone()
        for name, value in state.items()
        if ".lora_A." in name or ".lora_B." in name
    }


def _file_name(name):
    """Return what a LoRA matrix of the state_dict is called in an adapter's file."""
    path, _, end = name.rpartition(".")
    return f"{path.rpartition('.')[0]}.{end}"


def _is_a(name):
    return ".lora_A." in name


def _as_plain_settings(settings):
    """Return the settings of the adapter that is saved, from those of the one that is trained.

    Its rank is twice as large, its scale the same, lora_alpha / rank or, with use_rslora, by the
    rank's root.
    """
    scale = 2**0.5 if settings.get("use_rslora") else 2
    out = {**settings, "init_lora_weights": True, "r": 2 * settings["r"]}
    out["lora_alpha"] = scale * settings["lora_alpha"]
    for name, factor in (("rank_pattern", 2), ("alpha_pattern", scale)):
        out[name] = {key: factor * value for key, value in (settings.get(name) or {}).items()}
    return out


def _make_plain(folder, initial):
    """Make of an adapter in `folder`, saved as it was trained, one that fits the base as it was.

    Args:
        folder: where its file of weights and its adapter_config.json are.
        initial: see `_initial_adapter`; of {} the adapter is left as it is.
    """
    if not initial:
        return
    file_of_weights = _adapter_file(folder)
    weights = _read_weights(file_of_weights)
    for name, start in initial.items():
        rows = 0 if _is_a(name) else 1
        parts = [weights[name], start if _is_a(name) else -start]
        weights[name] = torch.cat([part.to(weights[name].dtype) for part in parts], rows)
    _write_weights(file_of_weights, weights)
    path = os.path.join(folder, "adapter_config.json")
    with open(path, encoding="utf-8") as file:
        settings = _as_plain_settings(json.load(file))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=2, sort_keys=True)


def _own_half(initial, folder, weights):
    """Return the weights to train on, of those in an adapter's folder that `_make_plain` wrote.

    Raises:
        UserError: this run's base has been changed otherwise than that of the file's run.
    """
    out, theirs = dict(weights), {}
    for name, start in initial.items():
        if name not in weights:
            continue  # which is told where places are compared
        rows, count = (0, start.shape[0]) if _is_a(name) else (1, start.shape[1])
        value = weights[name]
        out[name] = value.narrow(rows, 0, min(count, value.shape[rows])).contiguous()
        theirs[name] = value.narrow(
            rows, out[name].shape[rows], value.shape[rows] - out[name].shape[rows]
        )
    for name in filter(_is_a, theirs):
        other = name.replace(".lora_A.", ".lora_B.")
        here = initial[other].double() @ initial[name].double()
        there = -theirs[other].double() @ theirs[name].double()
        # Signs of vectors may differ from machine to machine; their product does not.
        if not torch.allclose(here, there, rtol=0, atol=1e-3 * float(here.abs().max())):
            raise UserError(
                f"the adapter in {folder!r} does not begin as this run's does, so that its base model was "
                "changed otherwise: start with the same settings and --seed, or anew in another "
                "--output_dir."
            )
    return out


def _put_as_trained(model, folder):
    """Put the adapter's weights from `folder` into the peft model that trains them; a call for all ranks.

    Raises:
        UserError: see `_put_adapter` and `_own_half`.
    """
    initial = getattr(model, "initial_adapter", None)
    _put_adapter(model, folder, functools.partial(_own_half, initial, folder) if initial else None)

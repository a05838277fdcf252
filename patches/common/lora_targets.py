"""Which modules of a model LoRA adapts, and what is said of it."""

import peft
import torch
from user_error import UserError

CHATGLM_ATTENTION = "query_key_value"
# What a block has in which each token goes through a few parts of many.
CHOICE = {"experts", "router"}


def _split_names(text):
    """Return the comma-separated names in `text`, which may be None."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _last_part(path):
    return path.rpartition(".")[2]


def _linear_paths(model):
    """Return the names of the model's linear modules, in order."""
    # Conv1D is GPT-2's transposed linear layer; peft adapts it as well.
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
    ]


def _some_linear(model):
    names = list(dict.fromkeys(map(_last_part, _linear_paths(model))))
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _require_module(model, argument, name):
    """Raise UserError unless the name of a module of the model ends so."""
    if not any(f".{path}".endswith(f".{name}") for path, _ in model.named_modules()):
        raise UserError(
            f"{argument}: the model has no module {name!r}; linear ones are: {_some_linear(model)}."
        )


def _runs_without_gradients(module):
    """Return whether the module's own code says `@torch.no_grad()` of its forward, as GLM-5's indexer's."""
    cells = getattr(type(module).forward, "__closure__", None) or ()
    makers = [getattr(cell.cell_contents, "__self__", None) for cell in cells]
    return any(isinstance(maker, torch.no_grad) for maker in makers)


def _left_out(model):
    """Return the names of parts that the default adapts nothing of.

    The head, what runs without gradients and so learns nothing, and in a model with experts all its
    feed-forward blocks: newer releases of transformers keep experts in one tensor, which peft takes
    for meant by the names of the other blocks' linear modules, and adapts without dropout only.
    """
    head, names = model.get_output_embeddings(), set()
    for path, module in model.named_modules():
        name = _last_part(path)
        if module is head or _runs_without_gradients(module):
            names.add(name)
        chosen = CHOICE & dict(module.named_children()).keys()
        if chosen:
            # A number is a whole layer, attention and all.
            names |= chosen if name.isdigit() else {name}
    return names


def _default_modules(model):
    """Return the names of the linear modules to adapt: last parts, whole ones where these are ambiguous."""
    left_out, inside, outside = _left_out(model), [], set()
    for path in _linear_paths(model):
        if left_out.isdisjoint(path.split(".")):
            inside.append(path)
        else:
            outside.add(_last_part(path))
    names = [path if _last_part(path) in outside else _last_part(path) for path in inside]
    return list(dict.fromkeys(names))


def _target_modules(model, requested):
    """Return the modules to adapt, as peft takes them: names, or "all-linear" where that was requested.

    Raises:
        UserError: a requested name matches nothing, or nothing was requested and the model has no
            linear module to adapt.
    """
    # peft's own name for "every linear module but the head", in the releases that have it.
    shorthand = getattr(peft.utils, "INCLUDE_LINEAR_LAYERS_SHORTHAND", None)
    names = _split_names(requested)
    if shorthand and names == [shorthand]:
        return shorthand
    for name in names:
        _require_module(model, "--lora_target_modules", name)
    if names:
        return names
    if CHATGLM_ATTENTION in map(_last_part, _linear_paths(model)):
        return [CHATGLM_ATTENTION]
    model_type = getattr(model.config, "model_type", None)
    known = getattr(peft.utils, "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING", {})
    names = known.get(model_type) or _default_modules(model)
    if not names:
        raise UserError(
            f"A {model_type!r} model has no linear module that is adapted by default; name modules "
            "with --lora_target_modules."
        )
    return names


def _has_matrix(module):
    """Return whether the module holds a matrix of its own; a ZeRO-3 partition counts as the whole it is of."""
    shapes = [getattr(p, "ds_shape", p.shape) for p in module.parameters(recurse=False)]
    return any(len(shape) > 1 for shape in shapes)


def _adapted(model):
    """Return in words which modules of a peft model are adapted and which others hold a matrix."""
    adapted, others = {}, {}
    for path, module in model.get_base_model().named_modules():
        name = _last_part(path.replace(".base_layer", ""))
        if hasattr(module, "lora_A"):
            adapted[name] = None
        elif "lora_" not in path and _has_matrix(module):
            others[name] = None
    rest = [name for name in others if name not in adapted]
    return ", ".join(adapted) + (f"; none on {', '.join(rest)}" if rest else "")

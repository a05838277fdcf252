"""LoRA adapters: their arguments and the wrapping of a loaded model."""

import logging
import os
from dataclasses import dataclass, field
from typing import Optional

import peft
import torch
from adapter_weights import _put_adapter

logger = logging.getLogger(__name__)

CHATGLM_ATTENTION = "query_key_value"


@dataclass
class LoraArguments:
    """Which low-rank adapter to train; a base class for the script's model arguments."""

    lora_rank: int = field(default=8, metadata={"help": "Rank of the update matrices."})
    lora_alpha: int = field(
        default=32, metadata={"help": "The update is scaled by lora_alpha / lora_rank."}
    )
    lora_dropout: float = field(
        default=0.1, metadata={"help": "Dropout on the input of the update matrices."}
    )
    lora_target_modules: Optional[str] = field(
        default=None,
        metadata={
            "help": "Names of the linear modules to adapt, separated by commas. Default: query_key_value "
            "where the model has it (ChatGLM does), else peft's choice for the model's type."
        },
    )
    lora_bias: str = field(
        default="none",
        metadata={"help": "Which biases to train too.", "choices": ["none", "all", "lora_only"]},
    )
    lora_modules_to_save: Optional[str] = field(
        default=None,
        metadata={
            "help": "Names of modules to train in full and to save with the adapter, separated by commas."
        },
    )
    adapter_name_or_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "An existing adapter to go on training; its own settings replace the other --lora_* ones."
        },
    )


def _split_names(text):
    """Return the comma-separated names in `text`, which may be None."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _linear_names(model):
    """Return the last parts of the names of the model's linear modules, in order, each once."""
    # Conv1D is GPT-2's transposed linear layer; peft adapts it as well.
    return list(
        dict.fromkeys(
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
        )
    )


def _target_modules(model, requested):
    """Return the modules to adapt, as peft takes them: a list of names, or "all-linear".

    Raises:
        ValueError: a requested name matches nothing, or nothing was requested and there is no
            default for this model.
    """
    linear = _linear_names(model)
    some = ", ".join(linear[:8]) + (", …" if len(linear) > 8 else "")
    # peft's own name for "every linear module but the head", in the releases that have it.
    shorthand = getattr(peft.utils, "INCLUDE_LINEAR_LAYERS_SHORTHAND", None)
    names = _split_names(requested)
    if shorthand and names == [shorthand]:
        return shorthand
    for name in names:
        if not any(f".{path}".endswith(f".{name}") for path, _ in model.named_modules()):
            raise ValueError(
                f"--lora_target_modules: the model has no module {name!r}; linear ones are: {some}."
            )
    if names:
        return names
    if CHATGLM_ATTENTION in linear:
        return [CHATGLM_ATTENTION]
    model_type = getattr(model.config, "model_type", None)
    known = getattr(peft.utils, "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING", {})
    if model_type in known:
        return known[model_type]
    if shorthand:
        return shorthand
    raise ValueError(
        f"peft knows no modules to adapt in a {model_type!r} model; name some of its linear ones "
        f"with --lora_target_modules: {some}."
    )


def _wrap_for_adapter(model, folder):
    """Return `model` with an untrained adapter of the settings in `folder`."""
    config = peft.PeftConfig.from_pretrained(folder)
    # Older releases return the settings that all kinds of adapters have.
    config = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[config.peft_type].from_pretrained(folder)
    config.inference_mode = False
    return peft.get_peft_model(model, config)


def _load_adapter(model, path):
    """Return `model` with the adapter at `path`, a folder or a hub name, ready for more training.

    peft passes over weights that have no place in the model, and places that get no weight; with a
    folder none of either is left.

    Raises:
        ValueError: there is no adapter, it cannot be read, or it is another model's.
    """
    is_folder = os.path.isdir(path)
    if is_folder and not os.path.isfile(os.path.join(path, "adapter_config.json")):
        raise ValueError(f"--adapter_name_or_path: {path!r} holds no adapter_config.json.")
    try:
        if not is_folder:
            return peft.PeftModel.from_pretrained(model, path, is_trainable=True)
        model = _wrap_for_adapter(model, path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"--adapter_name_or_path: cannot load {path!r}: {error}") from error
    try:
        _put_adapter(model, path)
    except ValueError as error:
        raise ValueError(f"--adapter_name_or_path: {error}") from error
    return model


def _check_one_half_precision(model):
    """Refuse a model whose own code has set one half precision where the user asked for the other.

    ChatGLM-6B's makes its linear layers float16 whatever it is loaded as; only the rest follows.

    Raises:
        ValueError: some weights are float16 and some bfloat16.
    """
    halves = {parameter.dtype for parameter in model.parameters()}
    if {torch.float16, torch.bfloat16} <= halves:
        raise ValueError(
            f"{type(model).__name__} has float16 weights by its own code and bfloat16 ones by "
            "--torch_dtype (--dtype in newer scripts): load it as float16, or as auto."
        )


def _count_parameters(model):
    """Return (trainable, all) parameter counts; a ZeRO-3 partition counts as the whole it is of."""
    counts = [
        (getattr(parameter, "ds_numel", parameter.numel()), parameter.requires_grad)
        for parameter in model.parameters()
    ]
    return sum(n for n, trainable in counts if trainable), sum(n for n, _ in counts)


def add_lora(model, model_args, training_args):
    """Freeze `model` and give it a LoRA adapter to train.

    The adapter's weights are float32 whatever the model's are, since an optimizer's small steps
    vanish in half precision; autocast and DeepSpeed deal with the difference.

    Args:
        model: the loaded model; changed in place.
        model_args: LoraArguments.
        training_args: transformers.TrainingArguments; `gradient_checkpointing` is read.

    Returns:
        A peft.PeftModel around `model`.

    Raises:
        ValueError: settings that do not fit the model, or an unusable adapter folder.
    """
    if model_args.lora_rank < 1:
        raise ValueError(f"--lora_rank must be at least 1, not {model_args.lora_rank}.")
    if not 0 <= model_args.lora_dropout < 1:
        raise ValueError(
            f"--lora_dropout must be at least 0 and below 1, not {model_args.lora_dropout}."
        )
    _check_one_half_precision(model)
    if training_args.gradient_checkpointing:
        # All weights before the first adapter are frozen: without an input that asks for
        # gradients, a checkpointed block would have none to pass on. And a recomputed block must
        # not fill a key/value cache again.
        model.enable_input_require_grads()
        model.config.use_cache = False
    if model_args.adapter_name_or_path is not None:
        model = _load_adapter(model, model_args.adapter_name_or_path)
    else:
        config = peft.LoraConfig(
            task_type=peft.TaskType.CAUSAL_LM,
            r=model_args.lora_rank,
            lora_alpha=model_args.lora_alpha,
            lora_dropout=model_args.lora_dropout,
            target_modules=_target_modules(model, model_args.lora_target_modules),
            bias=model_args.lora_bias,
            modules_to_save=_split_names(model_args.lora_modules_to_save) or None,
        )
        model = peft.get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if ".original_module." in name:
            # Of a module to train in full peft keeps the unused original; old releases leave it
            # to the optimizer as well.
            parameter.requires_grad = False
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()
    trainable, total = _count_parameters(model)
    logger.info(
        "Training %s of %s parameters (%.4f %%).",
        f"{trainable:,}",
        f"{total:,}",
        100 * trainable / total,
    )
    return model

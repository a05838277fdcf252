"""LoRA adapters: their arguments and the wrapping of a loaded model."""

import json
import logging
from dataclasses import dataclass, field
from typing import Optional

import peft
import torch
from adapter_weights import _train_what_is_saved
from added_tokens import _name_of, _token_settings
from base_model import _describe_base
from changed_base import _initial_adapter, _watched
from eva import _awaits_data
from existing_adapter import _adapter_folder, _check_base, _load_adapter
from generation_ends import _end_answers_at
from lora_config import LORA_TASK, _chosen_settings
from lora_targets import _adapted, _require_module, _split_names, _target_modules
from loraplus import _check_ratio
from nodes import _require_same
from quantization import _check_quantized, _prepare_quantized
from user_error import UserError

logger = logging.getLogger(__name__)


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
            "where the model has it (ChatGLM does), else peft's choice for the model's type, else all but "
            "the head, the feed-forward blocks of a model with experts, and what learns nothing."
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
    lora_config: Optional[str] = field(
        default=None,
        metadata={
            "help": "A JSON file of settings of peft's LoraConfig, all that the installed release knows: "
            "use_dora, use_rslora, init_lora_weights, rank_pattern, target_parameters, …. The other "
            "--lora_* arguments win where they are given."
        },
    )
    loraplus_lr_ratio: Optional[float] = field(
        default=None,
        metadata={
            "help": "LoRA+: the learning rate of the B matrices as a multiple of the others'."
        },
    )
    quantization: Optional[str] = field(
        default=None,
        metadata={
            "help": "Hold the base model's linear weights in four bits (NF4) or eight, by bitsandbytes.",
            "choices": ["4bit", "8bit"],
        },
    )
    adapter_name_or_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "An existing adapter to go on training; its own settings replace the other --lora_* ones."
        },
    )
    allow_non_finite: bool = field(
        default=False,
        metadata={"help": "Go on where the loss is NaN or infinite, instead of ending the run."},
    )


def _modules_named(model, settings, said):
    """Return (modules to adapt, names of those to train in full), as peft takes them.

    Args:
        settings, said: what `_chosen_settings` returns.
    """
    targets, full = settings["target_modules"], settings["modules_to_save"] or []
    # peft adapts the parameters alone where nothing is said of modules.
    alone = settings.get("target_parameters") and targets is None
    is_flag = said["target_modules"].startswith("--lora_target")
    if not alone and (is_flag or targets is None):
        targets = _target_modules(model, targets)
    elif isinstance(targets, list):
        for name in targets:
            _require_module(model, said["target_modules"], name)
    full = full if isinstance(full, list) else _split_names(full)
    for name in full:
        _require_module(model, said["modules_to_save"], name)
    return targets, full


def _with_tokens(model, own, added):
    """Return the ids whose rows are trained alone, {module: ids}: the user's and those of added tokens."""
    if isinstance(own, list):  # of the input embedding
        own = {_name_of(model, model.get_input_embeddings()): own}
    return {name: sorted({*own.get(name, ()), *added.get(name, ())}) for name in {**own, **added}}


def _new_adapter(model, model_args):
    """Return `model` with a new adapter of the settings in LoraArguments.

    `initial_adapter` of it is what `_initial_adapter` returns.

    Raises:
        UserError: they do not fit the model.
    """
    settings, said = _chosen_settings(model_args)
    if settings["r"] < 1:
        raise UserError(f"{said['r']} must be at least 1, not {settings['r']}.")
    if not 0 <= settings["lora_dropout"] < 1:
        raise UserError(
            f"{said['lora_dropout']} must be at least 0 and below 1, not {settings['lora_dropout']}."
        )
    targets, modules_to_save = _modules_named(model, settings, said)
    settings.update(target_modules=targets, modules_to_save=modules_to_save or None)
    tokens = _token_settings(model, model_args, targets, modules_to_save)
    for name, added in tokens.items():
        settings[name] = _with_tokens(model, settings.get(name) or {}, added)
    # What a file may say, peft may find fault with in many ways, and may begin by changing the model.
    is_free = model_args.lora_config is not None
    watched = _watched(model) if is_free else []
    try:
        model = peft.get_peft_model(model, peft.LoraConfig(task_type=LORA_TASK, **settings))
    except Exception as error:
        if not is_free and not isinstance(error, ValueError):
            raise
        raise UserError(f"peft refuses these --lora_* arguments: {error}") from error
    model.initial_adapter = _initial_adapter(model, watched)
    model.awaits_data = _awaits_data(model)
    _train_what_is_saved(model)
    return model


def _check_one_half_precision(model):
    """Refuse a model whose own code has set one half precision where the user asked for the other.

    ChatGLM-6B's makes its linear layers float16 whatever it is loaded as; only the rest follows.

    Raises:
        UserError: some weights are float16 and some bfloat16.
    """
    halves = {parameter.dtype for parameter in model.parameters()}
    if {torch.float16, torch.bfloat16} <= halves:
        raise UserError(
            f"{type(model).__name__} has float16 weights by its own code and bfloat16 ones by "
            "--torch_dtype (--dtype in newer scripts): load it as float16, or as auto."
        )


def _numbers(parameter):
    """Return how many numbers a weight holds: two a byte of four bits, a ZeRO-3 partition all of its whole."""
    packed = getattr(getattr(parameter, "quant_state", None), "shape", None)
    if packed is not None:
        return packed.numel()
    return getattr(parameter, "ds_numel", parameter.numel())


def _count_parameters(model):
    """Return (trainable, all) parameter counts."""
    counts = [(_numbers(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return sum(n for n, trainable in counts if trainable), sum(n for n, _ in counts)


def add_lora(model, tokenizer, stop_ids, model_args, training_args):
    """Freeze `model` and give it a LoRA adapter to train.

    The adapter's weights are float32 whatever the model's are, since an optimizer's small steps
    vanish in half precision; autocast and DeepSpeed deal with the difference.

    Args:
        model: the loaded model, its embeddings resized; changed in place.
        tokenizer: the model's tokenizer.
        stop_ids: `stop_ids(tokenizer)` returns the ids that end an answer.
        model_args: LoraArguments.
        training_args: transformers.TrainingArguments; `gradient_checkpointing` is read, and
            `allow_non_finite` and `loraplus_lr_ratio` are noted there for the Trainer.

    Returns:
        A peft.PeftModel around `model`; `base_model_record` is what `_describe_base` returns.

    Raises:
        UserError: settings that do not fit the model, or an unusable adapter folder.
    """
    _check_ratio(model_args.loraplus_lr_ratio)
    _check_one_half_precision(model)
    _check_quantized(model, model_args.quantization, training_args)
    record = _describe_base(model)
    _require_same("a model", json.dumps(record["sample"], sort_keys=True))
    _prepare_quantized(model)
    _end_answers_at(model, tokenizer, stop_ids(tokenizer))
    if training_args.gradient_checkpointing:
        # All weights before the first adapter are frozen: without an input that asks for
        # gradients, a checkpointed block would have none to pass on. And a recomputed block must
        # not fill a key/value cache again.
        model.enable_input_require_grads()
        model.config.use_cache = False
    if model_args.adapter_name_or_path is None:
        model = _new_adapter(model, model_args)
    else:
        folder = _adapter_folder(model_args.adapter_name_or_path, model_args)
        _check_base(record, folder)
        model = _load_adapter(model, folder)
    model.base_model_record = record
    training_args.allow_non_finite = model_args.allow_non_finite
    training_args.loraplus_lr_ratio = model_args.loraplus_lr_ratio
    logger.info("LoRA on %s.", _adapted(model))
    trainable, total = _count_parameters(model)
    logger.info(
        "Training %s of %s parameters (%.4f %%).",
        f"{trainable:,}",
        f"{total:,}",
        100 * trainable / total,
    )
    return model

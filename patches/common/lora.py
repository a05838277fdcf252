"""LoRA adapters: their arguments and the wrapping of a loaded model."""

import functools
import logging
import os
from dataclasses import dataclass, field
from typing import Optional

import huggingface_hub
import peft
import torch
from adapter_weights import ADAPTER_FILES, _adapter_places, _put_adapter
from added_tokens import _embedding_rows, _token_settings
from base_model import RUN_FILE, _base_difference, _describe_base, _read_run
from generation_ends import _end_answers_at
from user_error import UserError

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
    allow_non_finite: bool = field(
        default=False,
        metadata={"help": "Go on where the loss is NaN or infinite, instead of ending the run."},
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


def _some_linear(model):
    names = _linear_names(model)
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _require_module(model, argument, name):
    """Raise UserError unless the name of a module of the model ends so."""
    if not any(f".{path}".endswith(f".{name}") for path, _ in model.named_modules()):
        raise UserError(
            f"{argument}: the model has no module {name!r}; linear ones are: {_some_linear(model)}."
        )


def _target_modules(model, requested):
    """Return the modules to adapt, as peft takes them: a list of names, or "all-linear".

    Raises:
        UserError: a requested name matches nothing, or nothing was requested and there is no
            default for this model.
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
    if CHATGLM_ATTENTION in _linear_names(model):
        return [CHATGLM_ATTENTION]
    model_type = getattr(model.config, "model_type", None)
    known = getattr(peft.utils, "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING", {})
    if model_type in known:
        return known[model_type]
    if shorthand:
        return shorthand
    raise UserError(
        f"peft knows no modules to adapt in a {model_type!r} model; name some of its linear ones "
        f"with --lora_target_modules: {_some_linear(model)}."
    )


def _adapter_folder(path, model_args):
    """Return the folder of the adapter at `path`, a folder or a hub name.

    Raises:
        UserError: there is no adapter.
    """
    if not os.path.isdir(path):
        try:
            path = huggingface_hub.snapshot_download(
                path,
                allow_patterns=["adapter_config.json", *ADAPTER_FILES, RUN_FILE],
                cache_dir=model_args.cache_dir,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"--adapter_name_or_path: {path!r} is no folder, nor an adapter on the hub: {error}"
            ) from error
    if not os.path.isfile(os.path.join(path, "adapter_config.json")):
        raise UserError(f"--adapter_name_or_path: {path!r} holds no adapter_config.json.")
    return path


def _wrap_for_adapter(model, folder):
    """Return `model` with an untrained adapter of the settings in `folder`."""
    config = peft.PeftConfig.from_pretrained(folder)
    # Older releases return the settings that all kinds of adapters have.
    config = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[config.peft_type].from_pretrained(folder)
    config.inference_mode = False
    return peft.get_peft_model(model, config)


def _check_base(model, folder):
    """Refuse a base model with a smaller vocabulary than the adapter in `folder` was trained with.

    Other weights than it was trained on are told: some do so on purpose.

    Raises:
        UserError: as said.
    """
    record = _read_run(folder).get("base_model") or {}
    learnt, rows = record.get("vocabulary_size") or 0, _embedding_rows(model)
    if learnt > rows:
        raise UserError(
            f"--adapter_name_or_path: {folder!r} was trained with {learnt} tokens, and the model has {rows}: "
            f"give the tokenizer it was trained with, --tokenizer_name {folder}."
        )
    difference = _base_difference(model, record)
    if difference:
        logger.warning(
            "%s was trained on another base model (%s): %s differ from this one's.",
            folder,
            record.get("name_or_path"),
            difference,
        )


def _as(dtype, module, inputs, output):
    """A hook by which a module's output has that dtype."""
    return output.to(dtype)


def _train_what_is_saved(model):
    """Leave to the optimizer what the adapter's files hold, in float32, and nothing else.

    Of a module to train in full peft keeps the unused original, which old releases leave trainable;
    with tied weights that is the embedding under the head. Small steps vanish in half precision.

    Raises:
        UserError: nothing is left to train.
    """
    saved = {id(parameter) for parameter in _adapter_places(model).values()}
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        for parameter in own:
            parameter.requires_grad = parameter.requires_grad and id(parameter) in saved
        # A normalization takes weight and bias of one dtype only, whatever is trained of them.
        is_norm = "Norm" in type(module).__name__
        for parameter in own:
            trains = any(p.requires_grad for p in (own if is_norm else [parameter]))
            if trains and parameter.dtype in (torch.float16, torch.bfloat16):
                if isinstance(module, torch.nn.Embedding):  # its input has no dtype to give back
                    module.register_forward_hook(functools.partial(_as, parameter.dtype))
                parameter.data = parameter.data.float()
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("The adapter leaves no parameter to train: see the --lora_* arguments.")


def _load_adapter(model, folder):
    """Return `model` with the adapter in `folder`, ready for more training.

    peft passes over weights that have no place in the model, and places that get no weight; here
    none of either is left.

    Raises:
        UserError: it cannot be read, or it is another model's.
    """
    try:
        model = _wrap_for_adapter(model, folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"--adapter_name_or_path: cannot load {folder!r}: {error}") from error
    _train_what_is_saved(model)  # in float32, so that no trained value is rounded
    try:
        _put_adapter(model, folder)
    except UserError as error:
        raise UserError(f"--adapter_name_or_path: {error}") from error
    return model


def _new_adapter(model, model_args):
    """Return `model` with a new adapter of the settings in LoraArguments.

    Raises:
        UserError: they do not fit the model.
    """
    if model_args.lora_rank < 1:
        raise UserError(f"--lora_rank must be at least 1, not {model_args.lora_rank}.")
    if not 0 <= model_args.lora_dropout < 1:
        raise UserError(
            f"--lora_dropout must be at least 0 and below 1, not {model_args.lora_dropout}."
        )
    targets = _target_modules(model, model_args.lora_target_modules)
    modules_to_save = _split_names(model_args.lora_modules_to_save)
    for name in modules_to_save:
        _require_module(model, "--lora_modules_to_save", name)
    tokens = _token_settings(model, model_args, targets, modules_to_save)
    config = peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=model_args.lora_rank,
        lora_alpha=model_args.lora_alpha,
        lora_dropout=model_args.lora_dropout,
        target_modules=targets,
        bias=model_args.lora_bias,
        modules_to_save=modules_to_save or None,
        **tokens,
    )
    try:
        model = peft.get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"peft refuses these --lora_* arguments: {error}") from error
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


def _count_parameters(model):
    """Return (trainable, all) parameter counts; a ZeRO-3 partition counts as the whole it is of."""
    counts = [
        (getattr(parameter, "ds_numel", parameter.numel()), parameter.requires_grad)
        for parameter in model.parameters()
    ]
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
            `allow_non_finite` noted there for the Trainer.

    Returns:
        A peft.PeftModel around `model`; `base_model_record` is what `_describe_base` returns.

    Raises:
        UserError: settings that do not fit the model, or an unusable adapter folder.
    """
    _check_one_half_precision(model)
    record = _describe_base(model)
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
        _check_base(model, folder)
        model = _load_adapter(model, folder)
    model.base_model_record = record
    training_args.allow_non_finite = model_args.allow_non_finite
    trainable, total = _count_parameters(model)
    logger.info(
        "Training %s of %s parameters (%.4f %%).",
        f"{trainable:,}",
        f"{total:,}",
        100 * trainable / total,
    )
    return model

"""Base models whose linear weights are held in four or eight bits while an adapter trains on them."""

import inspect
import logging
import os

import peft
import torch
import transformers
from base_model import _quantization_name
from transformers.hf_argparser import string_to_bool
from user_error import UserError
from zero_stage import _zero3_is_on

logger = logging.getLogger(__name__)

QUANTIZATIONS = ("4bit", "8bit")


def _named_dtype(model_args):
    """Return the dtype that the user asked the model to be loaded in, or None."""
    name = getattr(model_args, "torch_dtype", None) or getattr(model_args, "dtype", None)
    found = getattr(torch, str(name), None)
    return found if isinstance(found, torch.dtype) else None


def _trained_in(training_args):
    """Return the half precision that training computes in, or None."""
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if getattr(training_args, name, False):
            return dtype
    return None


def _bitsandbytes_settings(kind, dtype):
    """Return a BitsAndBytesConfig: NF4, its scales quantised too; or int8.

    Raises:
        UserError: this stack cannot.
    """
    make = getattr(transformers, "BitsAndBytesConfig", None)
    known = inspect.signature(make).parameters if make else {}
    if f"load_in_{kind}" not in known or not hasattr(peft, "prepare_model_for_kbit_training"):
        raise UserError(
            f"--quantization {kind}: transformers {transformers.__version__} with peft {peft.__version__} cannot "
            "train on such weights: take a newer stack, such as requirements/v5.0.0.txt."
        )
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--quantization {kind} needs the package bitsandbytes ({error}): pip install -r "
            "requirements/quantization.txt."
        ) from error
    if kind == "8bit":
        return make(load_in_8bit=True)
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _check_environment(settings, device_map):
    """Raise UserError where the release would refuse to load such a model, before it loads anything."""
    if not transformers.utils.is_bitsandbytes_available():
        raise UserError(
            f"--quantization: transformers {transformers.__version__} does not take this bitsandbytes here; older "
            "releases want a GPU."
        )
    try:
        from transformers.quantizers import AutoHfQuantizer
    except ImportError:
        return
    try:
        AutoHfQuantizer.from_config(settings).validate_environment(device_map=device_map)
    except Exception as error:  # of many kinds
        raise UserError(f"--quantization: {error}") from error


def _loading_options(settings, device):
    """Return what `from_pretrained` needs to be told to load weights so, onto a device.

    Raises:
        UserError: this stack cannot.
    """
    device_map = {"": device}
    _check_environment(settings, device_map)
    return {"quantization_config": settings, "device_map": device_map}


def _own_device():
    """Return this rank's device, as the training arguments have set it up."""
    from accelerate import PartialState

    return PartialState().device


def quantized(model_args):
    """Return extra arguments for the model's `from_pretrained`: none, unless `--quantization` asks.

    Args:
        model_args: LoraArguments, with the dtype to load the model in where the script has that.

    Raises:
        UserError: an unknown kind, this stack or this machine cannot, or the weights are to be
            partitioned, which packed ones cannot be.
    """
    kind = model_args.quantization
    if kind is None:
        return {}
    if kind not in QUANTIZATIONS:
        raise UserError(f"--quantization must be 4bit or 8bit, not {kind!r}.")
    # The variable is accelerate's, which the training arguments set.
    if _zero3_is_on() or string_to_bool(os.environ.get("ACCELERATE_USE_FSDP", "false")):
        raise UserError(
            f"--quantization {kind} does not go with ZeRO-3 or FSDP, which cut weights into parts: use ZeRO-2, or "
            "leave it out."
        )
    settings = _bitsandbytes_settings(kind, _named_dtype(model_args) or torch.float32)
    return _loading_options(settings, _own_device())


def _keep_layout(model):
    """Have four-bit weights stay as they are on a CPU, where bitsandbytes rewrites them when it first evaluates.

    After that no gradient passes them, layers of fewer than 64 inputs fail, and sums are of bfloat16.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _compute_in(model, dtype):
    """Have four-bit weights multiplied in a dtype."""
    settings = getattr(model.config, "quantization_config", None)
    if hasattr(settings, "bnb_4bit_compute_dtype"):
        settings.bnb_4bit_compute_dtype = dtype
    for module in model.modules():
        if hasattr(getattr(module, "weight", None), "quant_state"):
            module.compute_dtype = dtype


def _check_quantized(model, wanted, training_args):
    """Have quantised weights as they are computed with: in the precision that training is in.

    A model that is quantised already, in its own way, is taken as it is.

    Raises:
        UserError: not the kind that `--quantization` asked for.
    """
    found = _quantization_name(model.config)
    if wanted not in (None, found):
        how = (
            "was made from its configuration" if found is None else f"is quantised already, {found}"
        )
        raise UserError(f"--quantization {wanted}: the model {how}: leave the argument out.")
    _keep_layout(model)
    half = _trained_in(training_args)
    if half is not None:
        _compute_in(model, half)


def _prepare_quantized(model):
    """Make a model with quantised weights ready for an adapter, by peft; leave others as they are.

    Its other weights become float32.
    """
    found = _quantization_name(model.config)
    if found is not None:
        # Checkpointing is the Trainer's to switch on.
        peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        logger.info("The base model's linear weights are quantised: %s.", found)

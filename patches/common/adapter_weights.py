"""An adapter's weights: read from a folder and put where the model has a place for each."""

import contextlib
import functools
import hashlib
import inspect
import json
import os

import peft
import torch
from git_lfs import _check_no_pointer
from user_error import UserError

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")


def _adapter_file(folder):
    """Return the path of the adapter's weights in `folder`, or None."""
    paths = [os.path.join(folder, name) for name in ADAPTER_FILES]
    return next((path for path in paths if os.path.isfile(path)), None)


def _file_digest(path):
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _is_whole_safetensors(path):
    """Return whether the file is as long as its header says, which stands first and lists all tensors."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
            return size == 8 + length + max(ends, default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return False


def _read_weights(path):
    """Return what `path`, one of ADAPTER_FILES, holds, on the CPU; torch's errors are of many kinds."""
    if not path.endswith(".safetensors"):
        return torch.load(path, map_location="cpu", weights_only=True)
    import safetensors.torch

    return safetensors.torch.load_file(path, device="cpu")


def _write_weights(path, weights):
    """Write {name: tensor} to `path`, one of ADAPTER_FILES, as peft does."""
    if not path.endswith(".safetensors"):
        torch.save(weights, path)
        return
    import safetensors.torch

    whole = {name: value.contiguous() for name, value in weights.items()}
    safetensors.torch.save_file(whole, path, metadata={"format": "pt"})


def _read_adapter(folder):
    """Return the adapter's weights in `folder`, {name: tensor on the CPU}.

    Raises:
        UserError: no file of weights, a git-lfs pointer instead of one, one that was cut off or is
            something else, or one without a weight in it.
    """
    path = _adapter_file(folder)
    if path is None:
        names = " or ".join(ADAPTER_FILES)
        raise UserError(f"the adapter in {folder!r} has no file of weights, {names}.")
    _check_no_pointer(path)
    try:
        weights = _read_weights(path)
    except ImportError as error:
        raise UserError(f"{path!r} is read by the package safetensors: install it.") from error
    except Exception as error:
        raise UserError(
            f"{path!r} is no complete file of weights ({type(error).__name__}): copy it again."
        ) from error
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise UserError(f"{path!r} holds something else than an adapter's weights.")
    if not weights:
        raise UserError(
            f"the adapter in {folder!r} holds no weights: {path!r} is empty, give another."
        )
    return weights


def _gathered(parameters, write=False):
    """Return a context in which `parameters`, which ZeRO-3 may have partitioned, are whole.

    All ranks must enter it together. With `write`, rank 0's values are everyone's afterwards.
    """
    parameters = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not parameters:
        return contextlib.nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters, modifier_rank=0 if write else None)


def _adapter_places(model):
    """Return the parameters that the adapter of `model` consists of, as peft names them in a file."""
    options = {}
    if "save_embedding_layers" in inspect.signature(peft.get_peft_model_state_dict).parameters:
        # The default asks the hub whether the vocabulary has grown, and then adds base weights.
        options["save_embedding_layers"] = False
    # Not the state_dict: GPT-2's has buffers called bias, which peft would take for biases.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return peft.get_peft_model_state_dict(model, parameters, **options)


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


def _without_copies(weights, places, model):
    """Return `weights` without those that the frozen model has already, or that stand there twice.

    Asked to, or with a vocabulary that has grown, peft adds the model's embeddings and its head.
    """
    own = model.state_dict()

    def is_copy(name, value):
        short = name.replace(".modules_to_save.", ".")
        other = own.get(name) if short == name else weights.get(short)
        return other is not None and torch.equal(value.to(other), other)

    return {
        name: value for name, value in weights.items() if name in places or not is_copy(name, value)
    }


def _misfit(weights, places):
    """Return in words how two {name: tensor} differ in names and shapes, "" if they don't."""
    said = []
    odd = sorted(set(weights) ^ set(places))
    if odd:
        where = "the adapter" if odd[0] in weights else "the model"
        said.append(f"{len(odd)} weights are in only one of them, such as {odd[0]!r} in {where}")
    shapes = {
        name: (list(weights[name].shape), list(places[name].shape))
        for name in sorted(set(weights) & set(places))
        if weights[name].shape != places[name].shape
    }
    if shapes:
        name, (there, here) = next(iter(shapes.items()))
        said.append(
            f"{len(shapes)} are of another shape, such as {name!r}, {there} and not the model's {here}"
        )
    return "; ".join(said)


def _put_adapter(model, folder, convert=None):
    """Put the adapter's weights from `folder` into the peft model; a call for all ranks.

    Args:
        model: a peft model.
        folder: the adapter's.
        convert: `convert(weights)` returns those to put of those in the folder; all, if None.

    Raises:
        UserError: they cannot be read, or some have no place, or some place has no weight.
    """
    weights = _read_adapter(folder)
    if convert:
        weights = convert(weights)
    with _gathered([p for p in model.parameters() if p.requires_grad], write=True):
        places = _adapter_places(model)
        weights = _without_copies(weights, places, model)
        misfit = _misfit(weights, places)
        if misfit:
            raise UserError(
                f"the adapter in {folder!r} does not fit the model: {misfit}; "
                "give the model that it was trained with."
            )
        peft.set_peft_model_state_dict(model, weights)

"""What `from_pretrained` needs to be told when DeepSpeed partitions the weights while they load."""

import importlib
import inspect

from zero_stage import _zero3_is_on


def _remote_model_class(config, model_args):
    """Return the class that `AutoModel` would take from the model's own code, or None."""
    reference = (getattr(config, "auto_map", None) or {}).get("AutoModel")
    if not reference or not getattr(model_args, "trust_remote_code", True):
        return None
    dynamic = importlib.import_module("transformers.dynamic_module_utils")
    takes = inspect.signature(dynamic.get_class_from_dynamic_module).parameters
    token = getattr(model_args, "token", None) or getattr(model_args, "use_auth_token", None)
    kwargs = {"cache_dir": model_args.cache_dir, "revision": model_args.model_revision}
    # None and False both mean "no token given"; only None leaves a stored log-in in use.
    kwargs["token" if "token" in takes else "use_auth_token"] = token or None
    source = model_args.model_name_or_path
    if "class_reference" in takes:
        return dynamic.get_class_from_dynamic_module(reference, source, **kwargs)
    # The older form names file and class apart, and the caller resolves "repository--module.Class".
    repository, _, name = reference.rpartition("--")
    module, _, class_name = name.rpartition(".")
    return dynamic.get_class_from_dynamic_module(
        repository or source, f"{module}.py", class_name, **kwargs
    )


def zero3_model_kwargs(config, model_args):
    """Return extra arguments for `AutoModel.from_pretrained`, usually none.

    ChatGLM-6B's constructor leaves its weights uninitialised by building them on the meta device
    and moving them over (`empty_init=True`). Under ZeRO-3 a weight is partitioned the moment it is
    made, which that detour breaks, so there it must build them the plain way.

    Args:
        config: the model's configuration, with `auto_map` where the model brings its own code.
        model_args: the script's model arguments (name, revision, cache_dir and token are read).

    Returns:
        {"empty_init": False} under ZeRO-3 for a model class whose constructor has that argument,
        else {}.
    """
    if not getattr(model_args, "model_name_or_path", None) or not _zero3_is_on():
        return {}
    model_class = _remote_model_class(config, model_args)
    if (
        model_class is None
        or "empty_init" not in inspect.signature(model_class.__init__).parameters
    ):
        return {}
    return {"empty_init": False}

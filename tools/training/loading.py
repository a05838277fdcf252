"""A base model with its adapter, in memory, as the generated script has them when it predicts.

Needs a training stack's python (see payload.py).
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.errors import UserError
from tools.training import model_folder, payload


@dataclass(frozen=True)
class Source:
    """Where base and adapter are; ``adapter`` is None for a model that needs none."""

    base: str
    adapter: Path | None
    is_given: bool  # the base, by the user; else the adapter remembers it
    trust: bool  # run the code that comes with the base model
    settings: dict = field(default_factory=dict)  # the adapter's
    record: dict = field(default_factory=dict)  # of the base, at the time of training; {} if none

    def folders(self) -> list[Path]:
        """Those of base and adapter that are folders here."""
        base = [Path(self.base)] if Path(self.base).is_dir() else []
        return base if self.adapter is None else [self.adapter, *base]


def find(adapter: Path, base: str | None = None, trust: bool = False) -> Source:
    """Base and adapter, by the adapter's folder: looked at, not loaded.

    Raises:
        UserError: no adapter, one that is broken, or no base.
    """
    settings = model_folder.adapter_settings(adapter)
    with told(f"cannot read {adapter}"):
        payload.module("adapter_weights")._read_adapter(str(adapter))
    _check_kind(adapter, settings)
    record = payload.module("base_model")._read_run(str(adapter)).get("base_model")
    name = base or model_folder.base_name(adapter, settings)
    if Path(name).is_dir():
        model_folder.check_model(Path(name))
    known = record if isinstance(record, dict) else {}
    return Source(name, adapter, base is not None, trust, settings, known)


def _check_kind(adapter: Path, settings: dict) -> None:
    """Raise UserError for an adapter of a kind that this peft does not know."""
    import peft

    if settings.get("peft_type") not in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING:
        raise UserError(
            f"{adapter / model_folder.ADAPTER_CONFIG}: peft {peft.__version__} knows no adapter "
            f"of the type {settings.get('peft_type')!r}"
        )


@contextlib.contextmanager
def told(what: str, has_code: bool = False) -> Iterator[None]:
    """Turn an error of a library, which can be of any kind, into one line that begins with ``what``.

    ``has_code`` says that code which came along was not let run: some releases say something else.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = reason(error)
        if has_code or "trust_remote_code" in why:
            why = (
                "it brings Python code of its own; read it, and let it run with --trust_remote_code"
            )
        raise UserError(f"{what}: {why[:400]}") from error


def reason(error: Exception) -> str:
    """What a library, or a model's own code, raised, in one line."""
    missing = payload.module("user_errors")._missing_package(error)
    return missing or " ".join(str(error).split()) or type(error).__name__


def _hub_options(source: Source) -> dict:
    """The commits of weights and code that the adapter was trained on, for a base of the hub."""
    if source.is_given or Path(source.base).is_dir():
        return {}
    from transformers import dynamic_module_utils as remote

    options = {"revision": source.record.get("revision")}
    takes = inspect.signature(remote.get_class_from_dynamic_module).parameters
    if "code_revision" in takes:
        options["code_revision"] = source.record.get("code_revision")
    return {name: value for name, value in options.items() if value}


def load_tokenizer(source: Source):
    """The adapter's tokenizer, to which training may have added tokens, else the base's."""
    import transformers

    own = source.adapter is not None and (source.adapter / "tokenizer_config.json").is_file()
    place, options = (source.adapter, {}) if own else (source.base, _hub_options(source))
    has_code = not source.trust and model_folder.brings_code(Path(place))
    with told(f"cannot load the tokenizer of {place}", has_code):
        return transformers.AutoTokenizer.from_pretrained(
            place, trust_remote_code=source.trust, **options
        )


def load_base(source: Source, as_trained: bool = False):
    """The base model, in the class that its configuration maps.

    Its embedding has the rows that it had in training. Its dtype is that of its weights, or
    ``as_trained`` the one that it was trained in. Weights that were quantised in training are so
    again, and written out in whole numbers unless ``as_trained``.

    Raises:
        UserError: it cannot be loaded, or is another than the adapter was trained on.
    """
    import transformers

    options = {"trust_remote_code": source.trust, **_hub_options(source)}
    has_code = not source.trust and model_folder.brings_code(Path(source.base))
    with told(f"cannot load {source.base}", has_code):
        config = transformers.AutoConfig.from_pretrained(source.base, **options)
        mapped = getattr(config, "auto_map", None) or {}
        quantized = _quantized(source, config)
        if not as_trained and payload.module("base_model")._quantization_name(config):
            raise UserError(
                f"{source.base} is quantised in its own files: name the model that it was made of with --base"
            )
        dtype = _trained_dtype(source) if as_trained or quantized else "auto"
        own = "AutoModel" in mapped and "AutoModelForCausalLM" not in mapped
        cls = transformers.AutoModel if own else transformers.AutoModelForCausalLM
        model = cls.from_pretrained(
            source.base, config=config, torch_dtype=dtype, **options, **quantized
        )
    payload.module("quantization")._keep_layout(model)
    _compare(model, source)
    _enlarge(model, source.record.get("vocabulary_size"))
    return (model if as_trained else _written_out(model, source)).eval()


def _quantized(source: Source, config) -> dict:
    """What has the base's weights quantised as they were in training; a named base's are not."""
    kind = source.record.get("quantization")
    quantization, base_model = payload.module("quantization"), payload.module("base_model")
    if kind not in quantization.QUANTIZATIONS or base_model._quantization_name(config) == kind:
        return {}
    if source.is_given:
        print(
            f"warning: {source.adapter} was trained on weights of {kind}, and {source.base} is taken as "
            "it is: what the two compute differs a little from what was learnt",
            file=sys.stderr,
        )
        return {}
    import torch

    dtype = getattr(torch, source.record.get("compute_dtype") or "float32")
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    settings = quantization._bitsandbytes_settings(kind, dtype)
    return quantization._loading_options(settings, torch.device(device))


def _written_out(model, source: Source):
    """The model with weights of whole numbers, those that its quantised ones stand for."""
    kind = payload.module("base_model")._quantization_name(model.config)
    if kind is None:
        return model
    with told(f"cannot write out the weights of {source.base}"):
        model = model.dequantize()
    print(
        f"{source.adapter} was trained on weights of {kind}: these, written out, are what it is put on "
        f"(--base {source.base} would put it on the published ones)",
        file=sys.stderr,
    )
    return model


def _trained_dtype(source: Source):
    """The dtype of the base in training, where that is known and one; else "auto"."""
    import torch

    sample = source.record.get("sample")
    known = [getattr(torch, str(name), None) for name in sample] if isinstance(sample, dict) else []
    floats = [d for d in known if isinstance(d, torch.dtype) and d.is_floating_point]
    return floats[0] if len(floats) == 1 else "auto"


def _compare(model, source: Source) -> None:
    """Refuse another base than the adapter's; where the user has named it, only say so."""
    with told(f"cannot read what {source.adapter} says of its base model"):
        base_model = payload.module("base_model")
        here = base_model._describe_base(model) if source.record else {}
        difference = base_model._base_difference(here, source.record)
    if not difference:
        return
    what = f"{source.base} is not the base model that {source.adapter} was trained on: {difference}"
    if not source.is_given:
        raise UserError(f"{what}; find that one, or give --base")
    print(f"warning: {what}", file=sys.stderr)


def _enlarge(model, size: int | None) -> None:
    """Give the embedding the rows for tokens that training added; the adapter has their values."""
    if not isinstance(size, int) or size <= model.get_input_embeddings().weight.shape[0]:
        return
    takes = inspect.signature(model.resize_token_embeddings).parameters
    model.resize_token_embeddings(
        size, **({"mean_resizing": False} if "mean_resizing" in takes else {})
    )


def add_adapter(model, source: Source):
    """The base with the adapter's weights, each in its place, as a peft model.

    Raises:
        UserError: the adapter does not fit the model.
    """
    adapter = str(source.adapter)
    with told(f"cannot put {source.adapter} on {source.base}"):
        weights = payload.module("adapter_weights")
        model = payload.module("existing_adapter")._wrap_for_adapter(model, adapter)
        weights._train_what_is_saved(model)  # in float32, or trained values would be rounded here
        weights._put_adapter(model, adapter)
    return model.eval()

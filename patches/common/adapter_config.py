"""The settings that an adapter's weights belong to: a checkpoint's and the run's must be the same."""

import dataclasses
import json
import os
import re
import textwrap

import peft
from changed_base import _as_plain_settings
from lora_config import SETTING_FLAGS
from user_error import UserError

# What may differ without changing what an adapter's weights mean: where it is from, and how its
# first weights came about. All else that the installed peft knows must be the same.
NOT_COMPARED = ("lora_dropout", "init_lora_weights", "runtime_config")


def _plain_setting(value):
    """Return a setting so that equal ones are equal, however a release writes it; None for unset."""
    value = getattr(value, "value", value)  # of an enumeration
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, (list, tuple, set)):
        value = frozenset(map(_plain_setting, value))
    return value or None


def _setting_text(value):
    if isinstance(value, frozenset):
        value = ",".join(sorted(map(str, value)))
    return textwrap.shorten(str("none" if value is None else value), 80, placeholder="…")


def _matched_modules(model, targets):
    """Return the names of the modules that `targets`, a regular expression or endings, means."""
    names = [name for name, _ in model.get_base_model().named_modules()]
    if isinstance(targets, str):
        return {name for name in names if re.fullmatch(targets, name)}
    endings = tuple(f".{target}" for target in targets or ())
    return {name for name in names if f".{name}".endswith(endings)}


def _same_setting(model, name, there, here):
    if there == here:
        return True
    # Releases may write the same modules down in other words.
    return name == "target_modules" and _matched_modules(model, there) == _matched_modules(
        model, here
    )


def _defaults(kind):
    """Return {name: default} of a dataclass."""
    out = {}
    for field in dataclasses.fields(kind):
        makes = field.default_factory is not dataclasses.MISSING
        out[field.name] = field.default_factory() if makes else field.default
    return out


def _settings(model):
    """Return {name: value} of the settings of a peft model's adapter, as they will be saved."""
    config = model.peft_config[model.active_adapter]
    settings = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return _as_plain_settings(settings) if getattr(model, "initial_adapter", None) else settings


def _check_adapter_config(folder, model):
    """Refuse a checkpoint whose adapter is another than the peft model's.

    Its weights may fit all the same, and mean something else: lora_alpha scales them.

    Raises:
        UserError: settings that shape the adapter differ.
    """
    with open(os.path.join(folder, "adapter_config.json"), encoding="utf-8") as file:
        saved = json.load(file)
    # A release that knew a setting not yet had what is now its default.
    saved = {**_defaults(type(model.peft_config[model.active_adapter])), **saved}
    here, origin = _settings(model), {f.name for f in dataclasses.fields(peft.PeftConfig)}
    differences = []
    for name in ["peft_type", *(n for n in here if n not in {*NOT_COMPARED, *origin})]:
        was, now = _plain_setting(saved.get(name)), _plain_setting(here[name])
        if not _same_setting(model, name, was, now):
            option = f"--{SETTING_FLAGS[name]}" if name in SETTING_FLAGS else name
            differences.append(f"{option} {_setting_text(was)} (this run: {_setting_text(now)})")
    if differences:
        raise UserError(
            f"{folder!r} was trained with {', '.join(differences)}: go on with what it was trained "
            "with, or start anew in another --output_dir."
        )

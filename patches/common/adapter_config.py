"""The settings that an adapter's weights belong to: a checkpoint's and the run's must be the same."""

import json
import os
import re
import textwrap

from user_error import UserError

# What peft calls a setting, and what the script does; later releases' others, which an adapter to go
# on training may bring, have no option.
COMPARED_SETTINGS = {
    "peft_type": "peft_type",
    "r": "--lora_rank",
    "lora_alpha": "--lora_alpha",
    "target_modules": "--lora_target_modules",
    "bias": "--lora_bias",
    "modules_to_save": "--lora_modules_to_save",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
    "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
    "layers_to_transform": "layers_to_transform",
}


def _plain_setting(value):
    """Return a setting so that equal ones are equal, however a release writes it; None for unset."""
    value = getattr(value, "value", value)  # of an enumeration
    if isinstance(value, (list, tuple, set)):
        value = frozenset(value)
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


def _check_adapter_config(folder, model):
    """Refuse a checkpoint whose adapter is another than the peft model's.

    Its weights may fit all the same, and mean something else: lora_alpha scales them.

    Raises:
        UserError: settings that shape the adapter differ.
    """
    with open(os.path.join(folder, "adapter_config.json"), encoding="utf-8") as file:
        saved = json.load(file)
    config = model.peft_config[model.active_adapter]
    differences = []
    for name, option in COMPARED_SETTINGS.items():
        there, here = _plain_setting(saved.get(name)), _plain_setting(getattr(config, name, None))
        if not _same_setting(model, name, there, here):
            said = f"{option} {_setting_text(there)} (this run: {_setting_text(here)})"
            differences.append(said)
    if differences:
        raise UserError(
            f"{folder!r} was trained with {', '.join(differences)}: go on with what it was trained "
            "with, or start anew in another --output_dir."
        )

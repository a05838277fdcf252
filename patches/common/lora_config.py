"""What is told of an adapter: the plain --lora_* flags, and a file of all else that the installed peft knows."""

import dataclasses
import difflib
import json
import types
import typing

import peft
from user_error import UserError

# What peft calls a setting, and which argument says it.
SETTING_FLAGS = {
    "r": "lora_rank",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "bias": "lora_bias",
    "target_modules": "lora_target_modules",
    "modules_to_save": "lora_modules_to_save",
}
# First weights that come from gradients or activations, which peft looks for on the model, put there
# by functions of its own that are called with a loop of the user's; without it the one takes plain
# ones instead, in silence.
NEED_A_LOOP = ("corda", "lora_ga")
UNION_TYPES = (typing.Union, getattr(types, "UnionType", typing.Union))
LORA_TASK = peft.TaskType.CAUSAL_LM


def _hints(kind):
    """Return {name: type} of what a dataclass is made with."""
    known = typing.get_type_hints(kind)
    return {f.name: known[f.name] for f in dataclasses.fields(kind) if f.init}


def _fits(value, hint):
    """Return whether a value of a JSON file is one of those that a type hint allows."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNION_TYPES:
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:  # of texts peft says more: 'pissa_niter_[number of iters]'
        return value in inner or (isinstance(value, str) and any(isinstance(i, str) for i in inner))
    kind = origin or hint
    if kind in (list, set, tuple):
        return isinstance(value, list) and (not inner or all(_fits(v, inner[0]) for v in value))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is dict or dataclasses.is_dataclass(kind):
        return isinstance(value, dict)
    if kind in (bool, str, type(None)):
        return isinstance(value, kind)
    return True  # what else a release may declare it checks itself


def _hint_text(hint):
    return getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)


def _made(kind, values, where):
    """Return {name: value} for the constructor of a dataclass of peft's, settings of settings made.

    Args:
        kind: the dataclass.
        values: what JSON says.
        where: which file and part of it that is, for what is said.

    Raises:
        UserError: names that this peft does not know, or values of another type.
    """
    hints = _hints(kind)
    unknown = [name for name in values if name not in hints]
    if unknown:
        near = dict.fromkeys(
            n for u in unknown for n in difflib.get_close_matches(u, hints, n=3, cutoff=0.5)
        )
        raise UserError(
            f"{where}: peft {peft.__version__} knows no {', '.join(map(repr, unknown))}; it knows "
            f"{', '.join(near or sorted(hints))}."
        )
    defaults = {f.name: f.default for f in dataclasses.fields(kind)}
    made = {}
    for name, value in values.items():
        hint = hints[name]
        if value != defaults[name] and not _fits(value, hint):
            raise UserError(f"{where}: {name!r} is {value!r:.60}, not {_hint_text(hint)}.")
        inner = [hint, *typing.get_args(hint)]
        own = next((one for one in inner if dataclasses.is_dataclass(one)), None)
        is_own = own is not None and isinstance(value, dict) and value
        made[name] = own(**_made(own, value, f"{where}: {name!r}")) if is_own else value
    return made


def _read_object(given):
    """Return the object in the JSON file `given`; an arguments file may hold the object itself.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    if isinstance(given, dict):
        return given
    try:
        with open(given, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise UserError(f"--lora_config: cannot read {given!r}: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"--lora_config: {given!r} is no JSON: {error}.") from error
    if not isinstance(values, dict):
        raise UserError(
            f"--lora_config: {given!r} holds {values!r:.40}, not an object of peft.LoraConfig's settings."
        )
    return values


def _file_settings(given):
    """Return {name: value} of the settings of LoraConfig that `--lora_config` names.

    An adapter's adapter_config.json will do: what it says of where that adapter is from is passed
    over.

    Raises:
        UserError: see `_read_object` and `_made`; or it is another kind of adapter's.
    """
    if given is None:
        return {}
    settings = _made(peft.LoraConfig, _read_object(given), "--lora_config")
    if settings.get("init_lora_weights") in NEED_A_LOOP:
        raise UserError(
            f"--lora_config: init_lora_weights {settings['init_lora_weights']!r} needs a program of its own "
            "that prepares the model, which this script is not: choose another, such as eva or pissa."
        )
    own = {field.name for field in dataclasses.fields(peft.PeftConfig)}
    for name, expected in (("peft_type", peft.PeftType.LORA), ("task_type", LORA_TASK)):
        if settings.get(name) not in (None, expected, expected.value):
            raise UserError(f"--lora_config: {name!r} is {settings[name]!r}, not {expected.value}.")
    return {name: value for name, value in settings.items() if name not in own}


def _chosen_settings(model_args):
    """Return ({name: value} of LoraConfig's settings, {name: where it was said}).

    A flag that was given comes before the file, the file before a flag's default. The names of
    modules are as they were written: see `_target_modules`.

    Args:
        model_args: LoraArguments; `given`, which the parser notes there, are the names of the
            arguments that were given. Without it those are that differ from their defaults.
    """
    settings = _file_settings(model_args.lora_config)
    said = {name: f"--lora_config: {name!r}" for name in settings}
    defaults = {field.name: field.default for field in dataclasses.fields(model_args)}
    given = getattr(model_args, "given", None)
    for name, flag in SETTING_FLAGS.items():
        value = getattr(model_args, flag)
        is_given = flag in given if given is not None else value != defaults[flag]
        if is_given or name not in settings:
            settings[name], said[name] = value, f"--{flag}"
    return settings, said

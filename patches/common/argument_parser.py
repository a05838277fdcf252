"""The command line's parser, which takes what is clearly meant and tells early what cannot work."""

import argparse
import contextlib
import dataclasses
import os
import typing

from git_lfs import _check_fetched
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool
from transformers.integrations import INTEGRATION_TO_CALLBACK
from user_error import UserError

NOT_GIVEN = object()
# What text of an arguments file is read with, as the command line does it.
ARGUMENT_READERS = {int: int, float: float, bool: string_to_bool, str: str}


def _declared_kind(hint):
    """Return what an argument is, None besides; what may be of several kinds is None."""
    kinds = (kind for kind in ARGUMENT_READERS if hint in (kind, typing.Optional[kind]))
    return next(kinds, None)


def _as_declared(name, value, kind):
    """Return a value of an arguments file as the command line would have it.

    Args:
        name: the argument's.
        value: what JSON or YAML makes of it.
        kind: see `_declared_kind`.

    Raises:
        UserError: what is none of the numbers or switches that are expected.
    """
    if kind is str:
        items = value if isinstance(value, list) else [value]
        plain = all(isinstance(i, (str, int, float)) and not isinstance(i, bool) for i in items)
        return ",".join(map(str, items)) if plain else value
    if kind is None or value is None or isinstance(value, (bool, kind)):
        return value
    with contextlib.suppress(Exception):  # argparse's own error is no ValueError
        found = ARGUMENT_READERS[kind](value)
        if isinstance(value, str) or found == value:  # 8.0 is 8, and 8.5 no whole number
            return found
    raise UserError(f"--{name}: {value!r} is no {kind.__name__}.")


def _check_reports(groups):
    """Raise UserError if `--report_to` names what is not installed: else that shows after all work."""
    names = {name for group in groups for name in getattr(group, "report_to", None) or ()}
    for name in sorted(names):
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(INTEGRATION_TO_CALLBACK)
            raise UserError(f"--report_to {name}: there is none of that name but {known}.")
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (ImportError, RuntimeError, ValueError) as error:
            raise UserError(f"--report_to {name}: {error}") from None


def _check_folders(groups):
    """Raise UserError if a folder of a model or a tokenizer holds git-lfs pointers in place of files."""
    for name in ("model_name_or_path", "tokenizer_name"):
        for folder in (getattr(group, name, None) for group in groups):
            if folder and os.path.isdir(folder):
                _check_fetched(folder)


class LenientArgumentParser(HfArgumentParser):
    """The parser of transformers; an arguments file may spell values as the command line does.

    In such a file a list of names, a number as text, or text that is a number is what the argument
    wants wherever that is beyond doubt: `"lora_target_modules": ["q_proj"]`, `"lora_rank": "8"`.

    Of every group that it returns `given` holds the names of all arguments that were given.
    """

    given = frozenset()

    def parse_known_args(self, args=None, namespace=None):
        """Parse the command line, and note which arguments it gives, defaults or not."""
        result = super().parse_known_args(args, namespace)
        # What the namespace has already, argparse sets no default for.
        marked = argparse.Namespace(**{action.dest: NOT_GIVEN for action in self._actions})
        super().parse_known_args(args, marked)
        self.given = frozenset(n for n, value in vars(marked).items() if value is not NOT_GIVEN)
        return result

    def _checked(self, groups):
        """Return the groups, which say what was given, if what they name is there."""
        for group in groups:
            if dataclasses.is_dataclass(group):  # else it holds what no group knows
                group.given = self.given
        _check_reports(groups)
        _check_folders(groups)
        return groups

    def parse_dict(self, args, *more, **options):
        """Parse the values of an arguments file, {name: value}."""
        if not isinstance(args, dict):
            raise UserError(f"expected an object with arguments, found {args!r:.80}.")
        kinds = {}
        for group in self.dataclass_types:
            kinds.update({n: _declared_kind(h) for n, h in typing.get_type_hints(group).items()})
        given = {name: _as_declared(name, value, kinds.get(name)) for name, value in args.items()}
        self.given = frozenset(given)
        return self._checked(super().parse_dict(given, *more, **options))

    def parse_args_into_dataclasses(self, *args, **options):
        """Parse the command line."""
        return self._checked(super().parse_args_into_dataclasses(*args, **options))

"""The command line's parser, which takes what is clearly meant and tells early what cannot work."""

from transformers import HfArgumentParser
from transformers.integrations import INTEGRATION_TO_CALLBACK


def _as_declared(value, action):
    """Return a value of an arguments file as the command line would have it.

    Args:
        value: what JSON or YAML makes of it.
        action: the argparse.Action of that argument.

    Raises:
        ValueError: text that is none of the numbers or switches that are expected.
    """
    kind = getattr(action.type, "__name__", "")
    if isinstance(value, str) and kind in ("int", "float", "string_to_bool"):
        try:
            return action.type(value)
        except (TypeError, ValueError, OSError):
            raise ValueError(f"--{action.dest}: {value!r} is no {kind.split('_')[-1]}.") from None
        except Exception as error:  # argparse's own, which is no ValueError
            raise ValueError(f"--{action.dest}: {error}") from None
    if kind != "str" or action.nargs is not None:
        return value
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return ",".join(map(str, value))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


def _check_reports(groups):
    """Raise ValueError if `--report_to` names what is not installed: else that shows after all work."""
    names = {name for group in groups for name in getattr(group, "report_to", None) or ()}
    for name in sorted(names & set(INTEGRATION_TO_CALLBACK)):
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (ImportError, RuntimeError) as error:
            raise ValueError(f"--report_to {name}: {error}") from None


class LenientArgumentParser(HfArgumentParser):
    """The parser of transformers; an arguments file may spell values as the command line does.

    In such a file a list of names, a number as text, or text that is a number is what the argument
    wants wherever that is beyond doubt: `"lora_target_modules": ["q_proj"]`, `"lora_rank": "8"`.
    """

    def parse_dict(self, args, *more, **options):
        """Parse the values of an arguments file, {name: value}."""
        actions = {action.dest: action for action in self._actions}
        given = {
            name: _as_declared(value, actions[name]) if name in actions else value
            for name, value in args.items()
        }
        groups = super().parse_dict(given, *more, **options)
        _check_reports(groups)
        return groups

    def parse_args_into_dataclasses(self, *args, **options):
        """Parse the command line."""
        groups = super().parse_args_into_dataclasses(*args, **options)
        _check_reports(groups)
        return groups

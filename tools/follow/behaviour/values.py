"""Stand-ins for what a script imports and what comes of it, known by where they came from only.

A ``Value`` can be called, read, set, compared, counted with, iterated over and entered. Each call,
setting and entering is an event; reading is none.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from tools.follow.behaviour.recorder import Named, Recorder, shortened

LOADERS = ("from_pretrained", "from_config")
LOGGERS = ("getLogger", "get_logger")
LEVELS = ("debug", "info", "warning", "warning_once", "warn", "error", "exception", "log")
SIZE = 11  # of whatever is asked for its length
# Binary operators, which have a reflected form too, and those of one value.
OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
UNARY = ("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil")


def kind_of(cls: str) -> str:
    """What a class with such a name loads."""
    if "Config" in cls:
        return "config"
    return "tokenizer" if "Tokenizer" in cls or "Processor" in cls else "model"


class Value(Named):
    """Something known by where it came from only."""

    def __init__(self, rec: Recorder, label: str, known: dict[str, Any] | None = None):
        own = self.__dict__
        own["_rec"], own["_label"] = rec, shortened(label)
        own["_known"] = {} if known is None else known

    def __getattr__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if name.startswith("__"):
            raise AttributeError(name)
        return Value(self._rec, f"{self._label}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self._rec.note(f"set {self._label}.{name}", (value,))

    def __delattr__(self, name: str) -> None:
        self._rec.note(f"del {self._label}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        rec = self._rec
        owner, _, method = self._label.rpartition(".")
        if method in LOGGERS:
            return logger(rec)
        if method in LOADERS and owner:
            first = "config" if method == "from_config" else "pretrained_model_name_or_path"
            args = args or ((kwargs.pop(first),) if first in kwargs else ())
            rec.note(self._label, args, kwargs)
            return Model(rec, rec.name(kind_of(owner.rpartition(".")[2])))
        event = rec.note(self._label, args, kwargs)
        decorated = args[0] if len(args) == 1 and not kwargs else None
        if isinstance(decorated, types.FunctionType) and not isinstance(self, Model):
            return decorated  # which stays callable
        return type(self)(rec, str(event))

    def __getitem__(self, key: Any) -> Value:
        return Value(self._rec, f"{self._label}[{self._rec.label(key)}]")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._rec.note(f"set {self._label}[]", (key, value))

    def __delitem__(self, key: Any) -> None:
        self._rec.note(f"del {self._label}[]", (key,))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Value) and self._label == other._label

    def __hash__(self) -> int:
        return hash(self._label)

    def __lt__(self, other: Any) -> bool:  # the embeddings are smaller than the vocabulary
        return self._rec.scenario.resize

    __le__ = __lt__

    def __gt__(self, other: Any) -> bool:
        return False

    __ge__ = __gt__

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return SIZE

    __int__ = __index__ = __len__

    def __float__(self) -> float:
        return 1.0

    def __iter__(self) -> Iterator[Value]:
        """One of whatever there is; none while the script is imported, which only lists names."""
        return iter(() if self._rec.importing else (self[...],))

    def __next__(self) -> Value:
        return self[...]

    def __contains__(self, item: Any) -> bool:
        return False

    def __repr__(self) -> str:
        return self._label

    def __format__(self, spec: str) -> str:
        return self._label

    def __enter__(self) -> Value:
        self._rec.note("enter", (self,))
        return self

    def __exit__(self, *error: Any) -> None:
        self._rec.note("exit", (self,))

    def __deepcopy__(self, memo: dict) -> Value:
        return type(self)(self._rec, f"copy({self._label})")

    def __copy__(self) -> Value:
        return self.__deepcopy__({})

    def __mro_entries__(self, bases: tuple) -> tuple:
        return ()

    def __instancecheck__(self, instance: Any) -> bool:
        return False

    __subclasscheck__ = __instancecheck__


def _operator(name: str) -> Callable[..., Value]:
    def method(self: Value, *others: Any) -> Value:
        return Value(self._rec, f"{name}({', '.join(map(self._rec.label, (self, *others)))})")

    return method


for _name in [*OPERATORS, *(f"r{name}" for name in OPERATORS), *UNARY]:
    setattr(Value, f"__{_name}__", _operator(_name))


class Model(Value):
    """A config, tokenizer or model, and what its methods return."""


def plain(rec: Recorder, name: str, result: Any = None) -> Callable[..., Any]:
    """A function of which only its calls are known."""

    def call(*args: Any, **kwargs: Any) -> Any:
        rec.note(name, args, kwargs)
        return result

    return call


def logger(rec: Recorder) -> Value:
    return Value(rec, "logger", {level: plain(rec, f"log.{level}") for level in LEVELS})

"""Stand-ins for the Trainer, its arguments and the parser that reads all arguments."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from tools.follow.behaviour.recorder import Named, Recorder
from tools.follow.behaviour.values import Value

GROUPS = {"model_name_or_path": "model_args", "train_file": "data_args"}  # by a field they have
PLACES = ("model", "args")  # arguments of the Trainer that are often given by position
SCORING = ("compute_metrics", "preprocess_logits_for_metrics")
DEFAULTS = {
    "do_train": False,
    "do_eval": False,
    "do_predict": False,
    "push_to_hub": False,
    "resume_from_checkpoint": None,
    "should_log": True,
    "overwrite_output_dir": False,
    "output_dir": "/nowhere/out",
    "seed": 42,
    "gradient_checkpointing": False,
}


class Trainer(Named):
    """Records what it is made of and asked to do. ``_rec`` is set by a subclass."""

    _rec: Recorder

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs = dict(zip(PLACES, args, strict=False)) | kwargs
        self._rec.note(f"Trainer:{type(self).__name__}", args[len(PLACES) :], kwargs)
        self._label, self._given = self._rec.name("trainer"), kwargs
        for name in SCORING:
            self._rec.serve(kwargs.get(name))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            self._rec.note(f"set {self._label}.{name}", (value,))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            kwargs["resume_from_checkpoint"], args = args[0], args[1:]
        self._rec.note(f"{self._label}.train", args, kwargs)
        if self._rec.scenario.fails:
            raise RuntimeError("training fails")
        return type("TrainOutput", (), {"metrics": {"train_loss": 1.0}, "training_loss": 1.0})()

    def evaluate(self, *args: Any, **kwargs: Any) -> dict:
        self._rec.note(f"{self._label}.evaluate", args, kwargs)
        return {"eval_loss": 2.0}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._given.get(name) or Value(self._rec, f"{self._label}.{name}")


class TrainingArguments(Named):
    """The training arguments: a run's own, the usual ones, else values known by their name."""

    _label = "training_args"

    def __init__(self, rec: Recorder | None = None, **given: Any):
        self.__dict__.update({"_rec": rec, **DEFAULTS, **given})

    def __getattr__(self, name: str) -> Value:
        if name.startswith("__"):
            raise AttributeError(name)
        return Value(self._rec, f"training_args.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self._rec.note(f"set training_args.{name}", (value,))
        self.__dict__[name] = value

    @contextlib.contextmanager
    def main_process_first(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        self._rec.note("enter", ("main_process_first",))
        yield
        self._rec.note("exit", ("main_process_first",))

    def get_process_log_level(self) -> int:
        return 20

    def __repr__(self) -> str:
        return "training_args"


class ArgumentParser:
    """HfArgumentParser: gives what the scenario asks for. ``_rec`` is set by a subclass."""

    _rec: Recorder

    def __init__(self, *args: Any, **kwargs: Any):
        classes = args[0] if args else kwargs.pop("dataclass_types", ())
        self.classes = list(classes) if isinstance(classes, (tuple, list)) else [classes]
        self._rec.parsed = self.classes
        self._rec.note(type(self).__name__, (), kwargs)

    def _parse(self, how: str, rest: bool = False) -> tuple:
        self._rec.note(how)
        made = tuple(_arguments(self._rec, cls) for cls in self.classes)
        return (*made, []) if rest else made

    def parse_args_into_dataclasses(self, *args: Any, **kwargs: Any) -> tuple:
        return self._parse(
            "parse_args_into_dataclasses", kwargs.get("return_remaining_strings", False)
        )

    def parse_json_file(self, *args: Any, **kwargs: Any) -> tuple:
        return self._parse("parse_json_file")

    def parse_yaml_file(self, *args: Any, **kwargs: Any) -> tuple:
        return self._parse("parse_yaml_file")

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return Value(self._rec, f"parser.{name}")


def _arguments(rec: Recorder, cls: Any) -> Any:
    """What the parser makes of one class."""
    if not isinstance(cls, type):
        return Value(rec, f"{rec.label(cls)}()")
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    if issubclass(cls, TrainingArguments):
        made = cls.__new__(cls)
        own = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        TrainingArguments.__init__(made, rec, **own, **rec.scenario.training)
        return made
    names = [f.name for f in fields if f.init]
    role = next((r for f, r in GROUPS.items() if f in names), cls.__name__)
    given = {n: v for n, v in rec.scenario.fields.items() if n in names}
    for f in fields:
        no_default = f.default is f.default_factory is dataclasses.MISSING
        if f.init and no_default and f.name not in given:
            given[f.name] = Value(rec, f"{role}.{f.name}")
    made = cls(**given)
    rec.roles[id(made)] = role
    rec.trace.arguments[role] = vars(made)
    with contextlib.suppress(TypeError):  # a class with slots is read unseen
        made.__class__ = _watched(rec, cls, role)
    return made


def _watched(rec: Recorder, cls: type, role: str) -> type:
    """``cls``, whose fields are read under the recorder's eyes."""

    def read(self: Any, name: str) -> Any:
        if not name.startswith("_"):
            rec.trace.reads.add(f"{role}.{name}")
        return object.__getattribute__(self, name)

    own = {"__getattribute__": read, "__repr__": lambda self: role}
    return type(cls.__name__, (cls,), own)

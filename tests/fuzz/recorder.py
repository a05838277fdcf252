"""Run a training script with stand-ins for what it imports, and write down what it does.

Nothing here knows codemods/ or tools/. A script is compiled once; each scenario runs its entry
point and yields a list of events: what was called, with which arguments, where each argument came
from. Models, data and trainers are names, not things: a run takes about a millisecond.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dataclasses
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOADERS = ("from_pretrained", "from_config")
KINDS = {
    "AutoConfig": "config",
    "AutoTokenizer": "tokenizer",
    "AutoModel": "model",
    "AutoModelForCausalLM": "model",
}
LORA = "LORA:"  # in front of the name of what add_lora returned
HERE = str(Path(__file__).resolve().parent)


@dataclass(frozen=True)
class Scenario:
    """What a user asks for. ``fields`` are the arguments; a script ignores those it lacks."""

    name: str
    fields: dict[str, Any]
    training: dict[str, Any]
    splits: tuple[str, ...] = ("train", "validation")
    resize: bool = True
    xla: bool = False
    json: bool = False
    checkpoint: str | None = None


@dataclass(frozen=True)
class Event:
    what: str
    args: tuple[str, ...] = ()
    kwargs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        return dict(self.kwargs).get(name)

    def without(self, *names: str) -> Event:
        return Event(self.what, self.args, tuple(p for p in self.kwargs if p[0] not in names))

    def __str__(self) -> str:
        parts = [*self.args, *(f"{k}={v}" for k, v in self.kwargs)]
        return f"{self.what}({', '.join(parts)})"


@dataclass
class Trace:
    events: list[Event] = field(default_factory=list)
    raised: tuple[str, str] | None = None
    arguments: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # role → field → value, at the end


class Recorder:
    """What happens in the run that is going on."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.scenario = Scenario("import", {}, {})
        self.count: dict[str, int] = {}
        self.parsed: list[Any] = []
        self.roles: dict[int, str] = {}

    def start(self, scenario: Scenario) -> None:
        self.__init__()
        self.scenario = scenario

    def note(self, what: str, args: tuple = (), kwargs: dict | None = None) -> None:
        shown = tuple(sorted((k, self.label(v)) for k, v in (kwargs or {}).items()))
        self.trace.events.append(Event(what, tuple(map(self.label, args)), shown))

    def name(self, kind: str) -> str:
        self.count[kind] = self.count.get(kind, 0) + 1
        return f"<{kind}#{self.count[kind]}>"

    def label(self, value: Any) -> str:
        if isinstance(value, (Value, Data)):
            return value._label
        if isinstance(value, (str, int, float, bool, type(None), range)):
            return repr(value)
        if isinstance(value, slice):
            return f"{value.start}:{value.stop}"
        if isinstance(value, dict):
            items = sorted((self.label(k), self.label(v)) for k, v in value.items())
            return "{" + ", ".join(f"{k}: {v}" for k, v in items) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(map(self.label, value)) + "]"
        if id(value) in self.roles:
            return self.roles[id(value)]
        if isinstance(value, FakeTrainer):
            return value._label
        if callable(value):
            return "<function>"
        return f"<{type(value).__name__}>"


class Value:
    """Something known by where it came from only."""

    def __init__(self, rec: Recorder, label: str, known: dict[str, Any] | None = None):
        d = self.__dict__
        d["_rec"], d["_label"], d["_known"] = rec, label, known or {}

    def __getattr__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if name.startswith("__"):
            raise AttributeError(name)
        return Value(self._rec, f"{self._label}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self._rec.note(f"set {self._label}.{name}", (value,))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        rec = self._rec
        owner, _, method = self._label.rpartition(".")
        cls = owner.rpartition(".")[2]
        if method in LOADERS and cls in KINDS:
            if "pretrained_model_name_or_path" in kwargs and not args:
                args = (kwargs.pop("pretrained_model_name_or_path"),)
            elif "config" in kwargs and not args and method == "from_config":
                args = (kwargs.pop("config"),)
            rec.note(self._label, args, kwargs)
            return Model(rec, rec.name(KINDS[cls]))
        rec.note(self._label, args, kwargs)
        inside = [
            *map(rec.label, args),
            *(f"{k}={rec.label(v)}" for k, v in sorted(kwargs.items())),
        ]
        return type(self)(rec, f"{self._label}({', '.join(inside)})")

    def __getitem__(self, key: Any) -> Value:
        return Value(self._rec, f"{self._label}[{self._rec.label(key)}]")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._rec.note(f"set {self._label}[]", (key, value))

    def _binary(self, other: Any) -> Value:
        return Value(self._rec, f"({self._label} ? {self._rec.label(other)})")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _binary
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __or__ = __ror__ = _binary

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
        return 11

    def __iter__(self) -> Iterator:
        return iter(())

    def __contains__(self, item: Any) -> bool:
        return False

    def __repr__(self) -> str:
        return self._label

    def __format__(self, spec: str) -> str:
        return self._label

    def __enter__(self) -> Value:
        self._rec.note("enter", (self._label,))
        return self

    def __exit__(self, *error: Any) -> None:
        self._rec.note("exit", (self._label,))

    def __mro_entries__(self, bases: tuple) -> tuple:
        return ()


class Model(Value):
    """A config, tokenizer or model; ``add_lora`` gives its name a mark."""


class Data:
    """One split."""

    def __init__(self, rec: Recorder, label: str, size: int = 100):
        self._rec, self._label, self._size = rec, label, size

    features = {"text": "string"}
    column_names = ("text",)

    def _also(self, label: str, size: int | None = None) -> Data:
        return type(self)(self._rec, label, self._size if size is None else size)

    def map(self, *args: Any, **kwargs: Any) -> Data:
        self._rec.note("map", (self,))
        return self._also(encoded(self._label))

    def select(self, rows: Any) -> Data:
        return self._also(f"select({self._label}, {rows!r})", len(rows))

    def take(self, count: int) -> Data:
        return self._also(f"take({self._label}, {count})", min(count, self._size))

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Data:
            shown = self._rec.label([args, kwargs])
            return self._also(f"{name}({self._label}, {shown})")

        return method

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator:
        return iter(())


def encoded(label: str) -> str:
    return label if label.startswith("encoded(") else f"encoded({label})"


class DataDict(dict):
    """Splits by name."""

    def _each(self, change: Callable[[Data], Data]) -> DataDict:
        return DataDict({k: change(v) for k, v in self.items()})

    def map(self, *args: Any, **kwargs: Any) -> DataDict:
        for v in list(self.values())[:1]:
            v._rec.note("map", (self,))
        return self._each(lambda d: d._also(encoded(d._label)))

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a, **k: self._each(lambda d: getattr(d, name)(*a, **k))


class FakeTrainer:
    """Records what it is made of and asked to do."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs = dict(zip(("model", "args"), args, strict=False)) | kwargs
        self._rec.note(f"Trainer:{type(self).__name__}", args[2:], kwargs)
        self._label, self._given = self._rec.name("trainer"), kwargs

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            self._rec.note(f"set trainer.{name}", (value,))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            kwargs["resume_from_checkpoint"], args = args[0], args[1:]
        self._rec.note("trainer.train", args, kwargs)
        return type("TrainOutput", (), {"metrics": {"train_loss": 1.0}})()

    def evaluate(self, *args: Any, **kwargs: Any) -> dict:
        self._rec.note("trainer.evaluate", args, kwargs)
        rec = self._rec
        for name, given in (
            ("preprocess_logits_for_metrics", (Value(rec, "logits"), Value(rec, "labels"))),
            ("preprocess_logits_for_metrics", ((Value(rec, "logits"), 0), Value(rec, "labels"))),
            ("compute_metrics", ((Value(rec, "preds"), Value(rec, "labels")),)),
        ):
            if self._given.get(name):
                rec.note(f"→ {name}", (self._given[name](*given),))
        return {"eval_loss": 2.0}

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Value:
            self._rec.note(f"trainer.{name}", args, kwargs)
            return Value(self._rec, f"trainer.{name}()")

        return method


_TRAINING = {
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


class Arguments:
    """The training arguments."""

    def __init__(self, rec: Recorder, given: dict[str, Any]):
        self.__dict__.update({"_rec": rec, **_TRAINING, **given})

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


ROLES = {"model_name_or_path": "model_args", "train_file": "data_args"}


def parser_class(rec: Recorder) -> type:
    class HfArgumentParser:
        def __init__(self, *args: Any, **kwargs: Any):
            (classes,) = args or (kwargs.pop("dataclass_types"),)
            self.classes = list(classes) if isinstance(classes, (tuple, list)) else [classes]
            rec.parsed = self.classes
            rec.note(type(self).__name__, (), kwargs)

        def _make(self, how: str, **kwargs: Any) -> tuple:
            rec.note(how, (), kwargs)
            out = []
            for cls in self.classes:
                if not dataclasses.is_dataclass(cls):
                    out.append(Arguments(rec, rec.scenario.training))
                    rec.roles[id(out[-1])] = "training_args"
                    continue
                names = [f.name for f in dataclasses.fields(cls) if f.init]
                role = next((r for f, r in ROLES.items() if f in names), cls.__name__)
                cls.__repr__ = lambda self, role=role: role
                given = {n: v for n, v in rec.scenario.fields.items() if n in names}
                out.append(cls(**given))
                rec.roles[id(out[-1])] = role
                rec.trace.arguments[role] = vars(out[-1])
            return tuple(out)

        def parse_args_into_dataclasses(self, *args: Any, **kwargs: Any) -> tuple:
            return self._make("parse_args_into_dataclasses")

        def parse_json_file(self, *args: Any, **kwargs: Any) -> tuple:
            return self._make("parse_json_file")

        def parse_yaml_file(self, *args: Any, **kwargs: Any) -> tuple:
            return self._make("parse_yaml_file")

    return HfArgumentParser


class World:
    """The stand-in modules."""

    def __init__(self, rec: Recorder):
        self.rec = rec
        self.trainer = type("Trainer", (FakeTrainer,), {"_rec": rec})
        self.parser = parser_class(rec)
        self.data = data = type("Dataset", (Data,), {"from_generator": self._generated})
        self.tops: dict[str, Value] = {}

        def load_dataset(*args: Any, **kwargs: Any) -> Any:
            return self.loaded("load_dataset", args, kwargs)

        def last(folder: str) -> str | None:
            rec.note("get_last_checkpoint", (folder,))
            return rec.scenario.checkpoint

        def metric(*args: Any, **kwargs: Any) -> Value:
            rec.note("evaluate.load", args, kwargs)
            return Value(rec, "<metric>")

        def plain(name: str) -> Callable:
            def call(*args: Any, **kwargs: Any) -> None:
                rec.note(name, args, kwargs)

            return call

        is_xla = {
            n: lambda *a, **k: rec.scenario.xla
            for n in ("is_torch_tpu_available", "is_torch_xla_available")
        }
        levels = ("debug", "info", "warning", "warning_once", "warn", "error", "exception", "log")
        logger = Value(rec, "logger", {n: plain(f"log.{n}") for n in levels})
        trainer_utils = {"get_last_checkpoint": last, "PREFIX_CHECKPOINT_DIR": "checkpoint"}
        trainer_utils["is_main_process"] = lambda rank: True
        self.known: dict[str, dict[str, Any]] = {
            "transformers": {
                "Trainer": self.trainer,
                "TrainingArguments": Arguments,
                "HfArgumentParser": self.parser,
            }
            | is_xla,
            "transformers.trainer_utils": trainer_utils,
            "transformers.utils": dict(is_xla),
            "datasets": {
                "load_dataset": load_dataset,
                "Dataset": data,
                "IterableDataset": data,
                "DatasetDict": DataDict,
                "IterableDatasetDict": DataDict,
            },
            "evaluate": {"load": metric},
            "logging": {"getLogger": lambda *a: logger, "INFO": 20, "WARNING": 30},
        }
        errors = "torch.distributed.elastic.multiprocessing.errors"
        self.known[errors] = {"record": lambda function: function}
        self.known["datasets.load"] = {"load_dataset": load_dataset}
        self.known["transformers"] |= {"set_seed": plain("set_seed")}

    def loaded(self, how: str, args: tuple, kwargs: dict) -> Any:
        """What loading data returns, noted under the name of what loads it."""
        rec = self.rec
        rec.note(how, args, kwargs)
        name = rec.name("data")
        if kwargs.get("split"):
            return self.data(rec, f"{name}[{kwargs['split']}]")
        return DataDict({s: self.data(rec, f"{name}.{s}") for s in rec.scenario.splits})

    def _generated(self, *args: Any, **kwargs: Any) -> Data:
        self.rec.note("Dataset.from_generator", args, kwargs)
        return Data(self.rec, self.rec.name("generated"))

    def module(self, name: str) -> Value:
        if name not in self.tops:
            self.tops[name] = Value(self.rec, name, self.known.get(name, {}))
            parent, _, child = name.rpartition(".")
            if parent:
                self.module(parent)._known.setdefault(child, self.tops[name])
        return self.tops[name]

    def importer(self, name: str, *rest: Any) -> Any:
        globals_, locals_, wanted, level = (*rest, *(None, None, (), 0)[len(rest) :])
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names and top not in ("logging", "warnings"):
            return builtins.__import__(name, globals_, locals_, wanted or (), level or 0)
        for inner in ("transformers.trainer_utils", "transformers.utils"):
            self.module(inner)
        if wanted and "*" in wanted:
            found = self.module(name)
            found._known["__all__"] = ["AutoConfig", "AutoTokenizer", *found._known]
        return self.module(name) if wanted else (self.module(name), self.module(top))[1]


class Script:
    """A script, imported among stand-ins. ``replace`` puts recorders in the place of functions.

    Raises whatever importing it raises.
    """

    def __init__(self, text: str, replace: Callable[[Recorder, World, dict], None] | None = None):
        self.rec = Recorder()
        self.world = World(self.rec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(text)
            guards = [n for n in self.tree.body if _is_guard(n)]
            rest = ast.Module([n for n in self.tree.body if n not in guards], [])
            code = compile(rest, "<script>", "exec", dont_inherit=True)
            body = [s for g in guards for s in g.body] or ast.parse("main()").body
            self.entry = compile(ast.Module(body, []), "<entry>", "exec", dont_inherit=True)
        space = {**vars(builtins), "__import__": self.world.importer}
        self.names = {
            "__builtins__": space,
            "__name__": "a_script",
            "__file__": "/nowhere/script.py",
        }
        # dataclass() looks annotations that are strings up in the class's module.
        module = types.ModuleType("a_script")
        sys.modules["a_script"] = module
        try:
            exec(code, self.names)
        finally:
            del sys.modules["a_script"]
        self.preamble = list(self.rec.trace.events)
        self.replace = replace
        if replace:
            replace(self.rec, self.world, self.names)

    def run(self, scenario: Scenario) -> Trace:
        self.rec.start(scenario)
        argv = sys.argv
        sys.argv = ["script.py", "arguments.json"] if scenario.json else ["script.py", "--x", "y"]
        try:
            exec(self.entry, self.names)
        except (Exception, SystemExit) as error:
            self.rec.trace.raised = (type(error).__name__, str(error))
        finally:
            sys.argv = argv
        self.rec.trace.arguments = {k: dict(v) for k, v in self.rec.trace.arguments.items()}
        return self.rec.trace


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and bool(
        re.search(r"__name__ == '__main__'|'__main__' == __name__", ast.unparse(node.test))
    )

"""The modules that a script imports: stand-ins for all but a few that only compute.

No file is read or written, no process or connection started, as far as that goes through modules
and builtins. This keeps an honest script from doing things; it is no prison for a hostile one.
"""

from __future__ import annotations

import builtins
import json
import posixpath
import sys
from typing import Any

from tools.follow.behaviour.data import Data, DataDict
from tools.follow.behaviour.recorder import Recorder
from tools.follow.behaviour.scenarios import THERE
from tools.follow.behaviour.trainer import ArgumentParser, Trainer, TrainingArguments
from tools.follow.behaviour.values import Value, plain

# Of the standard library: these compute, and nothing else.
REAL = frozenset({
    *("__future__", "abc", "ast", "base64", "bisect", "collections", "contextlib", "copy"),
    *("dataclasses", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "itertools"),
    *("keyword", "math", "numbers", "operator", "re", "statistics", "string", "struct"),
    *("textwrap", "types", "typing", "unicodedata"),
})  # fmt: skip
PURE_PATHS = ("basename", "dirname", "isabs", "join", "normpath", "split", "splitext", "sep")
DATA_CLASSES = ("Dataset", "IterableDataset")
DICT_CLASSES = ("DatasetDict", "IterableDatasetDict")


def _leave(code: Any = None) -> None:
    raise SystemExit(code)


class World:
    """The stand-in modules. ``trainer`` and ``parser`` are classes that may be subclassed."""

    def __init__(self, rec: Recorder):
        self.rec = rec
        self.trainer = type("Trainer", (Trainer,), {"_rec": rec})
        self.parser = type("HfArgumentParser", (ArgumentParser,), {"_rec": rec})
        self.modules: dict[str, Value] = {}
        self.unbound: list[str] = []  # names that only a star import can give
        self.known = {
            "transformers": self._transformers(),
            "datasets": self._datasets(),
            "os": self._os(),
            "os.path": self._paths(),
            "sys": {"argv": [], "exit": _leave, "version_info": sys.version_info, "path": []},
            "json": {"dumps": json.dumps, "loads": json.loads},
            "logging": {"DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40},
        }

    def start(self) -> None:
        """Another run begins: it sees the command line that its scenario has."""
        several = ["script.py", "--x", "y"]
        argv = ["script.py", "arguments.json"] if self.rec.scenario.json else several
        self.known["sys"]["argv"] = argv
        self.known["os"]["environ"].clear()

    def _transformers(self) -> dict[str, Any]:
        rec = self.rec

        def last(folder: Any) -> str | None:
            rec.note("get_last_checkpoint", (folder,))
            return rec.scenario.checkpoint

        def is_xla(*args: Any, **kwargs: Any) -> bool:
            return rec.scenario.xla

        return {
            "Trainer": self.trainer,
            "TrainingArguments": TrainingArguments,
            "HfArgumentParser": self.parser,
            "get_last_checkpoint": last,
            "is_torch_tpu_available": is_xla,
            "is_torch_xla_available": is_xla,
            "PREFIX_CHECKPOINT_DIR": "checkpoint",
        }

    def _datasets(self) -> dict[str, Any]:
        rec = self.rec

        def loads(how: str) -> Any:
            return lambda *args, **kwargs: self.loaded(how, args, kwargs)

        def concatenated(parts: Any, *rest: Any, **options: Any) -> Data:
            return Data(rec, f"concatenated({rec.label([parts, rest, options])})")

        def maker(how: str) -> Any:
            def made(*args: Any, **kwargs: Any) -> Data:
                rec.note(f"Dataset.{how}", args, kwargs)
                return Data(rec, rec.name("made"))

            return made

        hows = [f"from_{what}" for what in ("generator", "dict", "list", "pandas")]
        makers = {how: maker(how) for how in hows}
        joins = dict.fromkeys(("concatenate_datasets", "interleave_datasets"), concatenated)
        data = type("Dataset", (Data,), makers)
        loaders = {how: loads(how) for how in ("load_dataset", "load_from_disk")}
        return {
            **loaders,
            **joins,
            **dict.fromkeys(DATA_CLASSES, data),
            **dict.fromkeys(DICT_CLASSES, DataDict),
        }

    def loaded(self, how: str, args: tuple, kwargs: dict) -> Any:
        """What loading data returns, noted under the name of what loads it."""
        self.rec.note(how, args, kwargs)
        name = self.rec.name("data")
        if kwargs.get("split"):
            return Data(self.rec, f"{name}[{kwargs['split']}]")
        return DataDict({s: Data(self.rec, f"{name}.{s}") for s in self.rec.scenario.splits})

    def _os(self) -> dict[str, Any]:
        environ: dict[str, str] = {}
        return {
            "environ": environ,
            "getenv": environ.get,
            "sep": "/",
            "linesep": "\n",
            "name": "posix",
            "getcwd": lambda: "/nowhere",
            "listdir": lambda folder=".": ["checkpoint-1"],
            "cpu_count": lambda: 1,
            "makedirs": plain(self.rec, "os.makedirs"),
            "_exit": _leave,
        }

    def _paths(self) -> dict[str, Any]:
        def is_there(place: Any) -> bool:
            return place == THERE

        pure = {name: getattr(posixpath, name) for name in PURE_PATHS}
        same = dict.fromkeys(("abspath", "realpath", "expanduser"), str)
        there = dict.fromkeys(("isdir", "exists"), is_there)
        return {**pure, **same, **there, "isfile": lambda place: False}

    def module(self, name: str) -> Value:
        if name not in self.modules:
            top = name.partition(".")[0]
            known = self.known.get(name)
            if known is None and top in ("transformers", "datasets"):
                known = dict(self.known[top])  # a class is the same in whichever module of theirs
            self.modules[name] = Value(self.rec, name, known)
            parent, _, child = name.rpartition(".")
            if parent:
                self.module(parent)._known.setdefault(child, self.modules[name])
        return self.modules[name]

    def importer(self, name: str, *rest: Any) -> Any:
        """``__import__`` of the script."""
        globals_, locals_, wanted, level = (*rest, *(None, None, (), 0)[len(rest) :])
        top = name.partition(".")[0]
        if top in REAL and not level:
            return builtins.__import__(name, globals_, locals_, wanted or (), 0)
        name = "." * (level or 0) + name if level else name
        for known in ("os.path", "transformers.utils", "transformers.trainer_utils"):
            self.module(known)
        found = self.module(name)
        if wanted and "*" in wanted:
            found._known["__all__"] = [*found._known, *self.unbound]
        return found if wanted or level else self.module(top)

    def builtins(self) -> dict[str, Any]:
        """Python's own, without those that reach outside."""
        shut = {n: plain(self.rec, n) for n in ("print", "breakpoint", "help")}
        shut |= dict.fromkeys(("exit", "quit"), _leave)
        shut |= {n: Value(self.rec, n) for n in ("open", "input")}
        return {**vars(builtins), **shut, "__import__": self.importer}

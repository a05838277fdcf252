"""Stand-ins for data sets: a label says where each came from and what was done to it, in order.

``<data#1>.train|tokenised|chunked|select(range(0, 5))``. What a mapped function does is found out
by calling it with a small batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from tools.follow.behaviour.recorder import Named, Recorder
from tools.follow.behaviour.values import Value

SIZE = 100  # rows of a split
TEXTS = {"text": ["one two", "three"]}
IDS = {"input_ids": [[1, 2, 3], [4, 5]], "attention_mask": [[1, 1, 1], [1, 1]]}
MAPS = ("tokenised", "chunked")  # what mapping is for


class Data(Named):
    """One split."""

    def __init__(self, rec: Recorder, label: str, size: int = SIZE):
        self._rec, self._label, self._size = rec, label, size

    def _then(self, step: str, size: int | None = None) -> Data:
        return type(self)(self._rec, f"{self._label}|{step}", self._size if size is None else size)

    @property
    def _batch(self) -> dict[str, list]:
        return IDS if "|tokenised" in self._label else TEXTS

    @property
    def features(self) -> dict[str, str]:
        return dict.fromkeys(self._batch, "a type")

    @property
    def column_names(self) -> list[str]:
        return list(self._batch)

    @property
    def num_rows(self) -> int:
        return self._size

    def map(self, function: Any = None, *args: Any, **kwargs: Any) -> Data:
        step = what_it_does(self, function, kwargs)
        self._rec.note("map" if step in MAPS else "map otherwise", (self,))
        return self._then(step)

    def select(self, rows: Any) -> Data:
        return self._then(f"select({self._rec.label(rows)})", len(rows))

    def take(self, count: Any) -> Data:
        return self._then(f"take({self._rec.label(count)})", min(int(count), self._size))

    def train_test_split(self, *args: Any, **kwargs: Any) -> DataDict:
        parted = self._then(f"train_test_split({self._rec.label([args, kwargs])})")
        return DataDict({name: parted._then(name) for name in ("train", "test")})

    def __getattr__(self, name: str) -> Callable[..., Data]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a, **k: self._then(f"{name}({self._rec.label([a, k])})")

    def __getitem__(self, key: Any) -> Value:
        return Value(self._rec, f"{self._label}[{self._rec.label(key)}]")

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter([{name: column[0] for name, column in self._batch.items()}])

    def __repr__(self) -> str:
        return self._label


class DataDict(dict):
    """Splits by name."""

    def map(self, function: Any = None, *args: Any, **kwargs: Any) -> DataDict:
        out = DataDict()
        for name, split in self.items():
            if not out:
                step = what_it_does(split, function, kwargs)
                split._rec.note("map" if step in MAPS else "map otherwise", (self,))
            out[name] = split._then(step)
        return out

    @property
    def column_names(self) -> dict[str, list[str]]:
        return {name: split.column_names for name, split in self.items()}

    def __getattr__(self, name: str) -> Callable[..., DataDict]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a, **k: DataDict({n: getattr(d, name)(*a, **k) for n, d in self.items()})


def what_it_does(data: Data, function: Any, options: dict[str, Any]) -> str:
    """Of a mapped function: ``tokenised``, ``chunked``, or what it returns for a small batch."""
    rec, batch = data._rec, {name: list(column) for name, column in data._batch.items()}
    if not options.get("batched"):
        batch = {name: column[0] for name, column in batch.items()}
    places = ([0, 1],) if options.get("with_indices") else ()
    with rec.aside() as events:
        try:
            made = function(batch, *places, **options.get("fn_kwargs") or {})
        except Exception as error:
            made = type(error).__name__
    if any(e.what.startswith("<tokenizer#") for e in events):
        step = "tokenised"
    elif "|tokenised" in data._label and _is_cut_anew(made, batch):
        step = "chunked"
    else:
        return f"map({rec.label(made)})"
    rec.serve(function)
    return step


def _is_cut_anew(made: Any, batch: dict[str, list]) -> bool:
    """Are these the same ids in the same order, in other pieces, but for an end that is dropped?"""
    if not isinstance(made, dict) or not isinstance(made.get("input_ids"), list):
        return False
    before, after = (_flat(x["input_ids"]) for x in (batch, made))
    return after == before[: len(after)]


def _flat(ids: list) -> list:
    return list(chain.from_iterable(i if isinstance(i, list) else [i] for i in ids))

"""One scenario of both scripts, side by side, and questions that several promises ask of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.follow.behaviour.events import Event, Trace
from tools.follow.behaviour.scenarios import Scenario
from tools.follow.behaviour.values import kind_of

LOAD = re.compile(r"(?:.*\.)?(\w+)\.from_(?:pretrained|config)$")
TOKENIZER = re.compile(r"<tokenizer#\d+>")


@dataclass
class Runs:
    """One scenario of both scripts: whole records, and what promises have left of the events."""

    scenario: Scenario
    upstream: Trace
    generated: Trace
    up: list[Event]
    gen: list[Event]
    lost: list[str]  # arguments that the generated script does not have

    @property
    def sizes(self) -> str:
        """A pattern of what a message on the size of chunks has in it."""
        return "|".join(["block_size", "model_max_length", "chunk", *self.lost])

    def at(self, what: str) -> list[int]:
        """Where the generated script's events have that name (a pattern, in full)."""
        pattern = re.compile(what)
        return [i for i, e in enumerate(self.generated.events) if pattern.fullmatch(e.what)]

    def calls(self, what: str) -> list[Event]:
        return [self.generated.events[i] for i in self.at(what)]

    @property
    def models(self) -> list[int]:
        """Where the generated script loads a model."""
        found = [(i, LOAD.match(e.what)) for i, e in enumerate(self.generated.events)]
        return [i for i, load in found if load and kind_of(load[1]) == "model"]

    @property
    def trainer(self) -> Event | None:
        return next(iter(self.calls("Trainer:.*")), None)

    @property
    def ended_well(self) -> bool:
        return self.generated.raised is None or self.generated.raised in (
            ("SystemExit", ""),
            ("SystemExit", "None"),
            ("SystemExit", "0"),
        )

    def once(self, what: str) -> Iterator[str]:
        """Says so where there is not one such call; a run that ended early may have none."""
        count = len(self.at(what))
        if count > 1 or (not count and (self.ended_well or self.trainer)):
            yield f"{what} is called {count} times, not once"

    def drop(self, *names: str) -> None:
        self.gen = [e for e in self.gen if e.what not in names]

    def edit(self, edit: Callable[[Event], Event]) -> None:
        self.up, self.gen = list(map(edit, self.up)), list(map(edit, self.gen))


def data_in(label: str) -> set[str]:
    """What was loaded that the label's data comes from."""
    return set(re.findall(r"<data#\d+>", label))


def model_in(label: str) -> str:
    """``<model#1>`` of whatever was made of it."""
    found = re.search(r"<model#\d+>", label)
    return found[0] if found else label


def tokenizer_given(trainer: Event) -> str:
    return trainer.get("processing_class") or trainer.get("tokenizer") or ""


def is_its(tokenizer: str, trainer: Event) -> bool:
    """Is this a tokenizer, and the Trainer's where that was given a tokenizer at all?"""
    given = tokenizer_given(trainer)
    is_one = bool(TOKENIZER.fullmatch(tokenizer))
    return is_one and (tokenizer == given or not TOKENIZER.fullmatch(given))

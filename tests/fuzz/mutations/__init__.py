"""Drift that upstream has not had yet: small rewrites of a training script's text.

Each mutation takes a ``Code`` and a ``random.Random`` (hypothesis can draw one) and returns the new
text, or None where it finds nothing to do. ``preserving`` says that the script behaves as before.
Each module but ``code`` and ``common`` holds those of one theme.
"""

from __future__ import annotations

import warnings
from random import Random

from tests.fuzz.mutations import (
    blocks,
    calls,
    classes,
    definitions,
    endings,
    functions,
    imports,
    inserted,
    keywords,
    layout,
    moved,
    names,
    naming,
    parser,
    scoring,
    statements,
    unlike,
)
from tests.fuzz.mutations.code import Code
from tests.fuzz.mutations.common import REGISTERED, Mutation

# Mutations are listed in this order, and in a theme as they are defined, however they are imported.
THEMES = (
    naming,
    calls,
    layout,
    blocks,
    functions,
    parser,
    imports,
    classes,
    statements,
    keywords,
    definitions,
    inserted,
    scoring,
    endings,
    names,
    moved,
    unlike,
)
MUTATIONS: dict[str, Mutation] = {
    m.name: m for theme in THEMES for m in REGISTERED if m.theme == theme.__name__
}
assert len(MUTATIONS) == len(REGISTERED), "a name used twice, or a theme that is left out"


def apply(text: str, name: str, random: Random) -> str | None:
    """The mutated text; None if there is nothing to do, or nothing changes."""
    try:
        new = MUTATIONS[name].run(Code(text), random)
    except SyntaxError:
        return None  # an earlier mutation broke the text on purpose
    if new is None or new == text:
        return None
    if MUTATIONS[name].preserving:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(new, "mutated", "exec")
        except (SyntaxError, ValueError):
            return None  # such as a ``nonlocal`` of nothing
    return new


def draw(text: str, random: Random, most: int = 3) -> tuple[str, list[tuple[str, int]]]:
    """Mutate ``text`` one to ``most`` times. Returns the new text, and (name, seed) of each step."""
    count = 1 + sum(random.random() < 0.35 for _ in range(most - 1))
    steps: list[tuple[str, int]] = []
    names = sorted(MUTATIONS)
    for _ in range(40):
        if len(steps) == count:
            break
        name, seed = random.choice(names), random.randrange(1 << 30)
        new = apply(text, name, Random(seed))
        if new is not None:
            text = new
            steps.append((name, seed))
    return text, steps


def replay(text: str, steps: list[tuple[str, int]]) -> str | None:
    """The text after the given steps; None if one of them finds nothing to do."""
    for name, seed in steps:
        new = apply(text, name, Random(seed))
        if new is None:
            return None
        text = new
    return text

"""One example: mutate a text, run the tool on it, let the judge look at it."""

from __future__ import annotations

import functools
import traceback
from dataclasses import dataclass
from random import Random

from codemods.engine.refusal import Refusal
from tests.fuzz import mutations
from tests.fuzz.judge import Judge
from tools.errors import UserError
from tools.regenerate import series as all_series
from tools.regenerate.transform import transform
from tools.upstream import cache
from tools.upstream.fetch import Upstream, cached

OUTCOMES = ("worked", "refused", "wrong", "crashed", "broken")


@dataclass(frozen=True)
class Outcome:
    kind: str  # one of OUTCOMES; broken: so is the mutated script itself, whatever the tool makes of it
    reason: str = ""
    patch: str = ""


@functools.cache
def series(name: str = "chatglm"):
    return all_series.load(name)


def upstream_of(text: str) -> Upstream:
    return Upstream("file", "mutated.py", "", cache.blob_id(text.encode()), "mutated.py", text)


def outcome(text: str, name: str = "chatglm") -> Outcome:
    """What the tool makes of a script, and what the judge thinks of it, in one series."""
    try:
        generated = transform(upstream_of(text), series(name)).text
    except Refusal as refusal:
        if not refusal.looked_for or any(c.line < 1 for c in refusal.nearest or ()):
            return Outcome("wrong", f"a refusal without what it looked for: {refusal}")
        return Outcome("refused", str(refusal), ", ".join(refusal.patches))
    except (Exception, RecursionError):
        return Outcome("crashed", traceback.format_exc(limit=-6))
    return verdict(text, generated, name)


def verdict(upstream: str, generated: str, name: str = "chatglm") -> Outcome:
    judge = Judge(upstream, name)
    if judge.broken:
        return Outcome("broken", judge.broken)
    reasons = judge.judge(generated)
    return Outcome("wrong", "\n".join(dict.fromkeys(reasons))) if reasons else Outcome("worked")


def genuine() -> tuple[dict[str, str], str]:
    """Upstream's texts in the tool's cache, by blob once each, and a line that says which."""
    found: dict[str, str] = {}
    try:
        for item in sorted(cached(), key=lambda u: (not u.ref.startswith("v"), u.ref)):
            if item.path.endswith("run_clm.py") and item.text not in found.values():
                found[f"genuine {item.ref[:12]}"] = item.text
    except UserError as error:
        return {}, f"genuine texts: none, the cache cannot be read ({error})"
    names = [n.removeprefix("genuine ") for n in found]
    tags = [n for n in names if n.startswith("v")]
    if not found:
        return {}, f"genuine texts: none in the cache {cache.root()}"
    rest = len(names) - len(tags)
    return (
        found,
        f"genuine texts in the cache: {len(found)} ({', '.join(tags) or 'no releases'}; {rest} commits)",
    )


def smallest(
    text: str, steps: list[tuple[str, int]], kind: str, name: str = "chatglm"
) -> list[tuple[str, int]]:
    """As few of the steps as still end in the outcome ``kind``."""
    for i in range(len(steps)):
        fewer = steps[:i] + steps[i + 1 :]
        new = mutations.replay(text, fewer) if fewer else None
        if new is not None and outcome(new, name).kind == kind:
            return smallest(text, fewer, kind, name)
    return steps


def example(
    texts: dict[str, str], seed: str, name: str = "chatglm"
) -> tuple[str, list[tuple[str, int]], str, Outcome]:
    """(source, steps, mutated text, outcome) of the example with that seed, in one series."""
    random = Random(seed)
    source = random.choice(sorted(texts))
    mutated, steps = mutations.draw(texts[source], random)
    return source, steps, mutated, outcome(mutated, name)

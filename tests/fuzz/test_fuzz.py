"""Drift that upstream has not had: the tool works or refuses, and what it writes is right.

``python -m tests.fuzz`` runs as many examples as one likes, with a table at the end.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests import genuine
from tests.fuzz import mutations, run
from tests.fuzz.judge import Judge
from tests.fuzz.sources import few, miniature
from tools.follow.behaviour.scenarios import SCENARIOS

SLOW = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def check(
    texts: dict[str, str], name: str, names: list[str], random, series: str = "chatglm"
) -> None:
    """Mutate ``texts[name]`` and look at what becomes of it in a series."""
    text, done = texts[name], []
    for mutation in names:
        new = mutations.apply(text, mutation, random)
        if new is not None:
            text = new
            done.append(mutation)
    note(f"{name}: {', '.join(done) or 'nothing to do'}")
    result = run.outcome(text, series)
    note(result.reason)
    assert result.kind in ("worked", "refused", "broken"), result.reason


SOME = st.lists(st.sampled_from(sorted(mutations.MUTATIONS)), min_size=1, max_size=3)
CHANCE = st.randoms(use_true_random=False)


@settings(SLOW, max_examples=45)
@given(st.data(), SOME, CHANCE)
def test_mutated_miniature_works_or_is_refused(data, names, random):
    texts = miniature()
    check(texts, data.draw(st.sampled_from(sorted(texts))), names, random)


@settings(SLOW, max_examples=15)
@given(st.data(), SOME, CHANCE)
def test_mutated_miniature_works_or_is_refused_in_the_causal_series(data, names, random):
    texts = miniature()
    check(texts, data.draw(st.sampled_from(sorted(texts))), names, random, "causal")


def test_mutated_genuine_works_or_is_refused():
    genuine.require(genuine.texts())
    texts = few(run.genuine()[0])

    @settings(SLOW, max_examples=20)
    @given(st.sampled_from(sorted(texts)), SOME, CHANCE)
    def examples(name, names, random):
        check(texts, name, names, random)

    examples()


KEEPING = [m.name for m in mutations.MUTATIONS.values() if m.preserving]


@pytest.mark.parametrize("name", KEEPING)
def test_a_mutation_that_keeps_behaviour_does(name):
    texts = list(miniature().values())
    did = 0
    for seed, text in enumerate(texts[:: max(len(texts) - 1, 1)]):
        new = mutations.apply(text, name, mutations.Random(seed))
        if new is None:
            continue
        was, now = _judge(text), Judge(new)
        assert now.broken is None
        for scenario in SCENARIOS:
            a, b = was.traces[scenario.name], now.traces[scenario.name]
            assert (b.raised, _events(b)) == (a.raised, _events(a))
        did += 1
    if not did:
        pytest.skip("nothing of that kind in the miniature scripts")


def _judge(text: str, known: dict[str, Judge] = {}) -> Judge:  # noqa: B006
    if text not in known:
        known[text] = Judge(text)
    return known[text]


def _events(trace) -> list:
    """The events, without an argument that the mutation itself makes up."""
    return [
        dataclasses.replace(
            e, kwargs=tuple(p for p in e.kwargs if not p[0].startswith("new_option"))
        )
        for e in trace.events
    ]

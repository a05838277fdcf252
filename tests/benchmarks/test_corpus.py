"""The rows that the benchmarks train on are spread as they say."""

import itertools
import statistics

import pytest

from benchmarks import corpus

TEXTS = ["一二三四五六七八九十", "abc defg hij"] * 40


class Letters:
    """A token a character."""

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return list(text)


def lengths(rows, name):
    return [len(row[name]) for row in rows]


@pytest.mark.parametrize("name, spread", [("prompt", corpus.PROMPT), ("response", corpus.RESPONSE)])
def test_lengths_have_the_median_and_the_90th_percentile_that_are_said(name, spread):
    found = lengths(corpus.rows(Letters(), TEXTS, 4000), name)
    for wanted, got in zip(
        spread, (statistics.median(found), statistics.quantiles(found, n=10)[-1])
    ):
        assert got == pytest.approx(wanted, rel=0.1)


def test_the_same_rows_each_time_and_others_with_another_seed():
    one, again, other = (list(corpus.rows(Letters(), TEXTS, 5, seed=seed)) for seed in (1, 1, 2))
    assert one == again != other
    longer = corpus.rows(Letters(), TEXTS, 9, seed=1)
    assert list(itertools.islice(longer, 5)) == one


def test_a_history_is_of_earlier_rounds():
    rows = list(corpus.rows(Letters(), TEXTS, 200, "history"))
    rounds = {len(row["history"]) for row in rows}
    assert rounds == set(range(corpus.ROUNDS[0], corpus.ROUNDS[1] + 1))
    assert all(len(pair) == 2 and all(pair) for row in rows for pair in row["history"])
    assert not any(row["history"] for row in corpus.rows(Letters(), TEXTS, 20))


def test_an_unknown_variant_is_an_error():
    with pytest.raises(ValueError, match="no variant 'long': there are short, history"):
        next(corpus.rows(Letters(), TEXTS, 1, "long"))

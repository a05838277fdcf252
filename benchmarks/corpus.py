"""Synthetic prompt/response rows whose lengths are spread like real ones'."""

from __future__ import annotations

import math
import random
import statistics

NORMAL_P90 = 1.2815515655446004  # the standard normal distribution's 90th percentile
PROMPT = (40, 120)  # tokens: median and 90th percentile, log-normal
RESPONSE = (90, 250)
ROUNDS = (1, 4)  # earlier rounds of a dialogue with a history, from and to
VARIANTS = ("short", "history")
RECIPE_ROWS = 32  # that the recipe trains on: every batch of it is as large, so a few will do


class Text:
    """Cuts texts of about so many tokens out of a corpus."""

    def __init__(self, tokenizer, corpus: list[str], rng: random.Random):
        self.rng, self.text = rng, " ".join(corpus)
        count = len(tokenizer.encode(self.text, add_special_tokens=False))
        self.characters = len(self.text) / count
        self.text *= 1 + 100_000 // len(self.text)

    def of(self, tokens: float) -> str:
        size = max(round(tokens * self.characters), 2)
        start = self.rng.randrange(max(len(self.text) - size, 1))
        return self.text[start : start + size].strip() or "a"


def log_normal(rng: random.Random, median: float, p90: float) -> float:
    return median * math.exp(rng.gauss(0, 1) * math.log(p90 / median) / NORMAL_P90)


def rows(tokenizer, corpus: list[str], count: int, variant: str = "short", seed: int = 0):
    """Yield ``count`` rows of {"prompt", "response", "history"}; the same for the same arguments.

    Lengths are PROMPT and RESPONSE in tokens of the tokenizer; with the variant "history" each row
    goes on from a dialogue of some ROUNDS, "short" ones have none.
    """
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}: there are {', '.join(VARIANTS)}")
    rng = random.Random(seed)
    text = Text(tokenizer, corpus, rng)

    def round_() -> list[str]:
        return [text.of(log_normal(rng, *PROMPT)), text.of(log_normal(rng, *RESPONSE))]

    for _ in range(count):
        rounds = rng.randint(*ROUNDS) if variant == "history" else 0
        history = [round_() for _ in range(rounds)]
        prompt, response = round_()
        yield {"prompt": prompt, "response": response, "history": history}


def spread(lengths: list[int]) -> dict[str, float]:
    """Median, 90th percentile, mean and maximum of some lengths."""
    return {
        "median": statistics.median(lengths),
        "p90": statistics.quantiles(lengths, n=10)[-1],
        "mean": round(statistics.fmean(lengths), 1),
        "max": max(lengths),
    }

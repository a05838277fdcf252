"""Genuine upstream texts, wherever the tool's own cache holds them."""

from __future__ import annotations

import pytest

from tools.upstream.fetch import PATH, Upstream, cached

WHY = "no genuine upstream in the tool's cache: run make sweep with the network or a mirror once"


def is_genuine(found: Upstream) -> bool:
    """Hugging Face's file, told by its copyright line, and not one of the tests' own."""
    return "The HuggingFace Inc. team" in found.text


def texts() -> list[Upstream]:
    """One Upstream for each distinct text in the cache, those of test repositories left out."""
    seen: dict[str, Upstream] = {}
    for found in cached():
        if found.path == PATH and is_genuine(found):
            seen.setdefault(found.blob, found)
    return sorted(seen.values(), key=lambda f: f.blob)


def require(found: list[Upstream]) -> list[Upstream]:
    """``found``; skips the test, saying so, where there is none."""
    if not found:
        pytest.skip(WHY)
    return found

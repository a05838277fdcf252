"""The scripts that are mutated: the miniature upstream's, and genuine ones where there are any."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from unittest import mock

from tests.fuzz import run


@functools.cache
def miniature() -> dict[str, str]:
    """The miniature upstream's distinct scripts, by release; nothing where it isn't built yet."""
    try:
        from tests.miniature import build_repo
    except ImportError:
        return {}
    from tools.upstream.fetch import fetch, release_tags

    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        repo = Path(folder) / "repo"
        repo = str(build_repo(repo) or repo)
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=folder):
            for tag in release_tags(repo):
                text = fetch(repo, tag).text
                if text not in found.values():
                    found[f"miniature {tag}"] = text
    return found


@functools.cache
def sources() -> dict[str, str]:
    """Everything there is to mutate here."""
    return miniature() | run.genuine()[0]


def few(texts: dict[str, str]) -> dict[str, str]:
    """The miniature ones, and of the genuine ones the releases and every fifteenth other."""
    genuine = [n for n in texts if n.startswith("genuine")]
    tags = [n for n in genuine if n.startswith("genuine v")]
    kept = {*tags, *[n for n in genuine if n not in tags][::15]}
    return {n: t for n, t in texts.items() if n in kept or n not in genuine}

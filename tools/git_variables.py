"""The variables meant for git that this process, and every git it starts, goes by.

Those that name a repository, or change what commands mean, belong to whoever started us: a git
hook, an alias, a test. So of ``GIT_*`` only what says who one is and how hosts are reached is kept.
"""

from __future__ import annotations

import os
import re

KEPT = (
    *("GIT_SSH", "GIT_SSL_", "GIT_PROXY_", "GIT_HTTP_", "GIT_ASKPASS", "GIT_EXEC_PATH"),
    *("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_PYTHON_"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
)
_KEY = re.compile(r"[A-Za-z0-9-]+\.(?:[^\n]*\.)?[A-Za-z][A-Za-z0-9-]*")


def clean() -> None:
    """Leave in the environment what is KEPT, and the settings of GIT_CONFIG_* that are in order."""
    settings = [
        (key, value)
        for key, value in [*_counted(), *_parameters(os.environ.get("GIT_CONFIG_PARAMETERS", ""))]
        if _KEY.fullmatch(key)
    ]
    for name in [n for n in os.environ if n.startswith("GIT_") and not n.startswith(KEPT)]:
        os.environ.pop(name, None)  # another thread may clean, too
    os.environ.update(numbered(settings) if settings else {})


def numbered(settings: list[tuple[str, str]], first: int = 0) -> dict[str, str]:
    """The variables that tell git these settings, after ``first`` that it is told already."""
    out = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        out[f"GIT_CONFIG_KEY_{number}"], out[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return out


def _counted() -> list[tuple[str, str]]:
    count = os.environ.get("GIT_CONFIG_COUNT", "")
    numbers = range(min(int(count), 1000) if re.fullmatch("[0-9]{1,9}", count) else 0)
    get = os.environ.get
    pairs = [(get(f"GIT_CONFIG_KEY_{n}"), get(f"GIT_CONFIG_VALUE_{n}")) for n in numbers]
    return [(key, value) for key, value in pairs if key is not None and value is not None]


def _parameters(text: str) -> list[tuple[str, str]]:
    """What ``git -c`` tells the commands below it: 'key=value' or 'key'='value', as a shell quotes."""
    import shlex

    try:
        words = shlex.split(text)
    except ValueError:
        return []
    parts = (word.partition("=") for word in words)
    return [(key, value if mark else "true") for key, mark, value in parts]

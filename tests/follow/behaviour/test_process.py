"""A script is watched in a process of its own, which ends whatever the script does."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.sources import miniature
from tools.follow.behaviour.process import here, watch
from tools.follow.behaviour.scenarios import SCENARIOS


def test_the_record_is_the_same_as_in_this_process():
    text = next(iter(miniature().values()))
    watched = watch(text)
    assert watched.broken == ""
    assert [*watched.traces] == ["import", *(s.name for s in SCENARIOS)]
    events = watched.traces["train"].events
    assert [e.what for e in events] == [e[0] for e in here(text)["traces"]["train"][0]]
    assert watched.arguments["block_size"][0] == "None"


@pytest.mark.parametrize(
    "text, why",
    [
        ("(", "SyntaxError"),
        ("raise ValueError('\\x1b[31mred')", "ValueError: \\x1b[31mred"),
        ("import a\nwhile True: a.b()", "TooLong"),
        ("def main():\n    while True:\n        try:\n            pass\n        except:\n            pass", "it came to no end in 3 s"),
        ("import types\n().__class__.__base__.__subclasses__()[0]\nx = [0] * (1 << 40)", "MemoryError"),
        ("import re\nre._compile.__globals__['enum'].sys.modules['os']._exit(7)", "ended with status 7"),
        ("import re\nre._compile.__globals__['enum'].sys.modules['io'].open('x', 'wb', 0).write(b'x')", "OSError"),
    ],
)  # fmt: skip
def test_a_script_that_cannot_be_watched_is_told_in_one_line(text, why):
    began = time.monotonic()
    watched = watch(text, 3)
    assert why in watched.broken and watched.broken.isprintable()
    assert not watched.traces and time.monotonic() - began < 30

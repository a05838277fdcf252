"""How much memory of its own a process takes at most, while something runs."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path


class Peak:
    """A context; ``bytes`` is the most anonymous memory (not files mapped into it) seen in it."""

    def __init__(self, interval: float = 0.02):
        self.interval, self.bytes, self._over = interval, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.is_set():
            self.bytes = max(self.bytes, anonymous())
            time.sleep(self.interval)

    def __enter__(self) -> Peak:
        self.before = self.bytes = anonymous()
        self._thread.start()
        return self

    def __exit__(self, *args) -> None:
        self._over.set()
        self._thread.join()


def anonymous() -> int:
    """Bytes that this process holds and that no file backs; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"^RssAnon:\s*(\d+) kB", status, re.MULTILINE)[1]) * 1024

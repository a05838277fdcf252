"""How much memory a process takes at most, while something runs: its own, or a GPU's."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
import time
from pathlib import Path

M_MMAP_THRESHOLD = -3  # in glibc's malloc.h


class Peak:
    """A context; ``bytes`` is the most anonymous memory (not files mapped into it) seen in it."""

    def __init__(self, interval: float = 0.01):
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


class GpuPeak:
    """As ``Peak``, of what torch's tensors take on the GPU."""

    def __enter__(self) -> GpuPeak:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self.before = self.bytes = torch.cuda.memory_allocated()
        return self

    def __exit__(self, *args) -> None:
        import torch

        self.bytes = torch.cuda.max_memory_allocated()


def settle() -> None:
    """Give what is no longer used back to the system, so that it is not used unseen."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def exact() -> None:
    """Have large tensors each in memory of its own, so that no gaps between them are counted.

    Those are the C library's way to be quick, which a GPU's memory knows nothing of; slower.
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def anonymous() -> int:
    """Bytes that this process holds and that no file backs; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"^RssAnon:\s*(\d+) kB", status, re.MULTILINE)[1]) * 1024

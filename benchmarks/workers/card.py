"""Worker: which GPU there is, and how fast it multiplies large matrices.

Writes {"name": "" without one, "memory": bytes, "rate": floating-point operations a second}.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = {"name": "", "memory": 0, "rate": rate("cpu", min(args.size, 512))}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found = {"name": card.name, "memory": card.total_memory, "rate": rate("cuda", args.size)}
    args.out.write_text(json.dumps(found), encoding="utf-8")


def rate(device: str, size: int, times: int = 20) -> float:
    """Operations a second of a product of two bfloat16 matrices, ``size`` each way."""

    def products(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            one @ other
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    products(3)
    return 2 * size**3 * times / products(times)


if __name__ == "__main__":
    main()

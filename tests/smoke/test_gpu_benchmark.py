"""The benchmark for a GPU, tried at toy size on the CPU, under DeepSpeed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.smoke.conftest import ROOT

pytestmark = pytest.mark.smoke
STACK = ".venv-v5.0.0"  # which it is for; the tools' own environment starts it


def test_the_part_for_a_gpu_runs_on_a_cpu() -> None:
    if Path(sys.prefix).name != STACK:
        pytest.skip(f"it is for {STACK}")
    command = [ROOT / ".venv" / "bin" / "python", "-m", "benchmarks", "gpu", "--trial"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "tokens a second" in ran.stdout and "ours, checkpointing" in ran.stdout

"""Starting a generated script with a training stack: on a CPU, offline, alone or under DeepSpeed."""

from __future__ import annotations

import atexit
import functools
import glob
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.errors import UserError
from tools.regenerate.series import ROOT

NEEDS_NO_PORT = "it needs no port"  # what `tools port` says where the stack runs the code as it is

# No hub, no GPU, no fight over cores; ACCELERATE_USE_CPU would turn DeepSpeed into plain DDP.
NO_GPU = {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    **NO_GPU,
}

_ports: list[str] = []  # of runs under DeepSpeed that this process has started


def environment(python: Path, gpu: bool = False) -> dict[str, str]:
    """The environment of a process of ``python``'s stack, which sees GPUs where ``gpu`` says so."""
    # What DeepSpeed compiles fits one torch, so it is kept apart for each stack.
    stack = str(python.parent.parent).strip(os.sep).replace(os.sep, "-")
    kept = {"TORCH_EXTENSIONS_DIR": os.path.join(tempfile.gettempdir(), "extensions", stack)}
    offline = {k: v for k, v in OFFLINE.items() if not (gpu and k in NO_GPU)}
    env = {**os.environ, **offline, **kept, "PYTHONPATH": str(ROOT)}
    env.pop("ACCELERATE_USE_CPU", None)
    return env


def free_port() -> str:
    """A port that nobody listens on: a fixed one may be another run's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def deepspeed(ranks: int) -> tuple[str, ...]:
    """What stands between python and the script to run it in ``ranks`` processes, once."""
    _forget_buffers()
    _ports.append(free_port())
    many = ("--num_accelerators", str(ranks), "--master_port", _ports[-1])
    return ("-m", "deepspeed.launcher.runner", *many)


@atexit.register
def _forget_buffers() -> None:
    """Remove what DeepSpeed's runs on a CPU leave in memory, 66 MB a rank, named after their port."""
    while _ports:
        for file in glob.glob(f"/dev/shm/deepspeed_allreduce_buffer_*_{_ports[-1]}_*"):
            os.remove(file)
        _ports.pop()


def lines(python: Path, log: Path, *arguments: object, gpu: bool = False) -> Iterator[str]:
    """Run a program of the stack; its output, line by line, which ``log`` keeps.

    Raises UserError, with the last line it printed, where it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "w", encoding="utf-8") as kept,
        subprocess.Popen(
            [python, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,
            env=environment(python, gpu),
        ) as running,
    ):
        last = ""
        for line in running.stdout:
            kept.write(line)
            last = line.strip() or last
            yield line
    if running.returncode:
        raise UserError(f"{last[:200]} (log: {log})")


def run(python: Path, log: Path, *arguments: object, gpu: bool = False) -> str:
    """As ``lines``, to the end; everything that was printed."""
    return "".join(lines(python, log, *arguments, gpu=gpu))


def ported(python: Path, log: Path, published: Path, dest: Path) -> Path:
    """The folder of a model's code that this stack runs: ``dest``, ported, or as it was published.

    Raises UserError where the stack runs neither.
    """
    try:
        run(python, log, "-m", "tools", "port", published, dest, "--trust_remote_code")
    except UserError:
        if NEEDS_NO_PORT not in log.read_text(encoding="utf-8"):
            raise
        return published
    return dest


@functools.cache
def cpu_options(python: Path, script: Path, log: Path) -> list[str]:
    """How this script, with this stack, is told to stay on the CPU."""
    told = set(re.findall(r"--\w+", run(python, log, script, "--help")))
    return ["--use_cpu"] if "--use_cpu" in told else ["--no_cuda", "--xpu_backend", "gloo"]

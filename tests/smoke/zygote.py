"""Starts programs many times for the price of importing their libraries once.

Reads one JSON object a line, the arguments of ``become``; does as they say in a process of its own,
forked from this one; answers with the exit status.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys

import accelerate
import datasets  # noqa: F401
import evaluate  # noqa: F401
import peft  # noqa: F401
import torch
import torch._dynamo  # the first optimizer would
from transformers import (  # noqa: F401
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    Trainer,
)

list(MODEL_FOR_CAUSAL_LM_MAPPING)  # imports every model's configuration
accelerate.utils.extract_model_from_parallel(torch.nn.Identity())  # DeepSpeed, in some releases


def main() -> None:
    gc.freeze()  # no collection in a child looks at, and so copies, what is here already
    for request in sys.stdin:
        child = os.fork()
        if child == 0:
            become(**json.loads(request))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(folder: str, argv: list[str], streams: list[str]) -> None:
    """Run a script, or ``-m`` a module, to its end; what it raises ends this process as python.

    ``streams`` are the files that stand for its input, output and errors.
    """
    os.chdir(folder)
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND  # two may be the same file
    for number, flags in enumerate((os.O_RDONLY, written, written)):
        os.dup2(os.open(streams[number], flags, 0o600), number)
    if argv[0] == "-m":
        sys.argv, sys.path[0] = argv[1:], folder
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = argv, os.path.dirname(argv[0])
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

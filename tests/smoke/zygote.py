"""Starts a script many times for the price of importing its libraries once.

Reads one JSON list a line, ``[folder, output file, script, argument, …]``; runs the script as
``__main__`` in a process of its own, forked from this one, in that folder; answers with the exit
status.
"""

from __future__ import annotations

import json
import os
import runpy
import sys

import accelerate  # noqa: F401
import datasets  # noqa: F401
import peft  # noqa: F401
from transformers import (  # noqa: F401
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    Trainer,
)

list(MODEL_FOR_CAUSAL_LM_MAPPING)  # imports every model's configuration


def main() -> None:
    for request in sys.stdin:
        folder, output, *argv = json.loads(request)
        child = os.fork()
        if child == 0:
            become(folder, output, argv)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(folder: str, output: str, argv: list[str]) -> None:
    """Run the script to its end; what it raises ends this process as it would end python."""
    os.chdir(folder)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(0)
    sys.argv = argv
    sys.path[0] = os.path.dirname(argv[0])
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

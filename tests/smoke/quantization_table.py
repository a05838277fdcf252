"""Which models learn on four- or eight-bit weights: ``SMOKE_SCRIPT=… python -m tests.smoke.quantization_table``.

With the python of a stack that has bitsandbytes. Words choose rows.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bitsandbytes
import peft
import transformers

from tests.smoke import adapter_runs
from tests.smoke.conftest import CAUSAL_LAYERS, LAYERS, Runner, Zygote
from tests.toy_chatglm import family
from tools.training import launch

KINDS = ("4bit", "8bit")
NATIVE = ("llama", "qwen2", "glm4")
# Published code's toys, which have the habits of each: tests/toy_chatglm/family.py.
PORTED = {
    "ChatGLM-6B, ported": "chatglm6b",
    "ChatGLM2-6B, ported": "chatglm2",
    "ChatGLM3-6B, ported": "chatglm3",
    "GLM-4-9B, ported": "glm4",
}
# What is multiplied in eight bits differs a little from what the same weights give in whole numbers.
TOLERANCES = {"4bit": adapter_runs.TOLERANCE, "8bit": 5e-2}


def make_runs(model: str, kind: str, folder: Path, home: Path, zygote: Zygote) -> adapter_runs.Runs:
    """The runs of a model on weights of a kind; ChatGLMs are of toy code, ported to this stack."""
    if model in NATIVE:
        runner = adapter_runs.make_runner(model, folder, home, zygote)
        modules = CAUSAL_LAYERS.get(model, CAUSAL_LAYERS["llama"])
    else:
        work = Path(tempfile.mkdtemp(dir=folder))
        sizes = {"hidden_size": 64} if PORTED[model] == family.FIRST else {}
        published = family.build(work / "published", PORTED[model], **sizes)
        stack = Path(sys.executable)
        model_folder = launch.ported(stack, work / "port.log", published, work / "ported")
        runner = Runner(work, model_folder, home, zygote)
        modules = LAYERS if PORTED[model] == family.FIRST else None
    options = {"lora_rank": 8, "lora_target_modules": modules, "lora_dropout": 0.1}
    return adapter_runs.Runs(runner, options, {"quantization": kind})


def rows(folder: Path, zygote: Zygote) -> Iterator[tuple[tuple[str, ...], adapter_runs.Outcome]]:
    """(model, kind of weights) and what came of it."""
    for model, kind in itertools.product((*NATIVE, *PORTED), KINDS):
        if all(word in f"{model} {kind}" for word in sys.argv[1:]):
            runs = make_runs(model, kind, folder, folder, zygote)
            yield (model, kind), adapter_runs.tried(runs, TOLERANCES[kind])


def main() -> None:
    stack = (transformers, peft, bitsandbytes)
    print(", ".join(f"{module.__name__} {module.__version__}" for module in stack), "\n")
    with tempfile.TemporaryDirectory() as folder, adapter_runs.zygote(Path(folder)) as zygote:
        adapter_runs.print_table(("model", "weights"), rows(Path(folder), zygote))


if __name__ == "__main__":
    main()

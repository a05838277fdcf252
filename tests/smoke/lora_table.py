"""Which kinds of LoRA work: ``SMOKE_SCRIPT=… python -m tests.smoke.lora_table``, with a stack's python.

Every row trains a toy model with such settings in ``--lora_config``. Words choose rows.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import peft
import transformers

from tests.smoke import adapter_runs
from tests.smoke.conftest import Zygote

PATTERN = {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"v_proj": 64}}
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


@dataclasses.dataclass(frozen=True)
class Kind:
    """Settings in the file, arguments beside it, and the toy model that is trained."""

    settings: dict
    options: dict = dataclasses.field(default_factory=dict)
    model: str = "qwen2"


KINDS = {
    "plain": Kind({}),
    "rsLoRA": Kind({"use_rslora": True}),
    "DoRA": Kind({"use_dora": True}),
    "Gaussian": Kind({"init_lora_weights": "gaussian"}),
    "orthogonal": Kind({"init_lora_weights": "orthogonal"}),
    "PiSSA": Kind({"init_lora_weights": "pissa"}),
    "fast PiSSA": Kind({"init_lora_weights": "pissa_niter_4"}),
    "PiSSA with DoRA": Kind({"init_lora_weights": "pissa", "use_dora": True}),
    "PiSSA with rsLoRA": Kind({"init_lora_weights": "pissa", "use_rslora": True}),
    "PiSSA, ranks by layer": Kind({"init_lora_weights": "pissa", **PATTERN}),
    "OLoRA": Kind({"init_lora_weights": "olora"}),
    "MiCA": Kind({"init_lora_weights": "mica"}),
    "EVA": Kind({"init_lora_weights": "eva", "eva_config": {"rho": 2.0}}),
    "LoftQ": Kind({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}),
    "CorDA": Kind({"init_lora_weights": "corda"}),
    "LoRA-GA": Kind({"init_lora_weights": "lora_ga"}),
    "ranks and scales by layer": Kind(PATTERN),
    "some layers": Kind({"layers_to_transform": [1], "exclude_modules": ["k_proj"]}),
    "biases of LoRA": Kind({"lora_bias": True, "target_modules": ["q_proj", "v_proj"]}),
    "biases": Kind({"bias": "lora_only"}),
    "rows of some tokens": Kind({"trainable_token_indices": [5, 6, 7]}),
    "a module in full": Kind({"modules_to_save": ["lm_head"]}),
    "all linear": Kind({"target_modules": "all-linear"}),
    "a regular expression": Kind({"target_modules": r".*\.1\..*(q|v)_proj"}),
    "layers used twice": Kind({"layer_replication": [[0, 2], [0, 2]]}, model="llama"),
    "experts": Kind({"target_parameters": EXPERTS, "lora_dropout": 0.0}, model="glm4_moe"),
    "Conv1D, PiSSA": Kind({"init_lora_weights": "pissa", "fan_in_fan_out": True}, model="gpt2"),
    "LoRA+": Kind({}, {"loraplus_lr_ratio": 4}),
    "LoRA+ with DoRA": Kind({"use_dora": True}, {"loraplus_lr_ratio": 4}),
    "ChatGLM, DoRA": Kind({"use_dora": True}, model="chatglm"),
    "ChatGLM, PiSSA": Kind({"init_lora_weights": "pissa"}, model="chatglm"),
    "ChatGLM, EVA": Kind({"init_lora_weights": "eva"}, model="chatglm"),
}


def make_runs(kind: Kind, folder: Path, home: Path, zygote: Zygote) -> adapter_runs.Runs:
    """The runs of a kind; the settings are in the file alone."""
    runner = adapter_runs.make_runner(kind.model, folder, home, zygote)
    settings = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1, **kind.settings}
    flags = dict.fromkeys(("lora_rank", "lora_dropout", "lora_target_modules"))
    file = adapter_runs.write_config(runner, settings)
    return adapter_runs.Runs(runner, {**flags, "lora_config": file, **kind.options})


def rows(folder: Path, zygote: Zygote) -> Iterator[tuple[tuple[str, ...], adapter_runs.Outcome]]:
    """(kind, model) and what came of it."""
    for name, kind in KINDS.items():
        if all(word in name for word in sys.argv[1:]):
            yield (name, kind.model), adapter_runs.tried(make_runs(kind, folder, folder, zygote))


def main() -> None:
    print(f"transformers {transformers.__version__}, peft {peft.__version__}\n")
    with tempfile.TemporaryDirectory() as folder, adapter_runs.zygote(Path(folder)) as zygote:
        adapter_runs.print_table(("kind", "model"), rows(Path(folder), zygote))


if __name__ == "__main__":
    main()

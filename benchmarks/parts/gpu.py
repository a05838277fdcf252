"""A model of ChatGLM-6B's shape on a GPU, under ZeRO-2."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Bar, Part, Table, median, ratio, times
from tools.regenerate import series
from tools.training import launch

STACK = list(STACKS)[-1]
ROUNDS = 2
NEEDS = "one CUDA GPU with 40 GB, 80 GB of memory and disk, torch for CUDA in .venv-v5.0.0"
MEMORY = 39e9  # bytes; without checkpointing a batch needs more than the model
CHECKPOINTING = ["--gradient_checkpointing"]
# Each with the rival's name and what the script is told.
RIVALS = {
    "(a) recipe: all rows padded to 1152, checkpointing": ("padded", CHECKPOINTING),
    "(c) trl, its defaults (checkpointing)": ("trl", []),
    "(c) trl, no checkpointing": ("trl, no checkpointing", []),
    "all positions, checkpointing": ("everywhere", CHECKPOINTING),
    "ours, checkpointing": ("ours", CHECKPOINTING),
    "ours": ("ours", []),
    "ours, grouped by length, checkpointing": ("grouped", CHECKPOINTING),
    "ours, grouped by length": ("grouped", []),
}
RECIPE, TRL, *_ = RIVALS
OURS = "ours, checkpointing"


@dataclass(frozen=True)
class Size:
    """What is trained: model ("family-vocabulary-width-layers"), rows of mixed lengths, how."""

    kind: str
    rows: int
    batch: int
    config: str
    options: tuple[str, ...] = ()
    gpu: bool = True


# GLM as transformers has it, in ChatGLM-6B's shape: 6.2 billion weights.
REAL = Size("glm-130528-4096-28", 64, 8, "zero2.json", ("--dtype", "bfloat16", "--bf16"))
SMALL = Size("glm-2000-64-2", 4, 2, "cpu_zero2.json", gpu=False)  # tries this program on a CPU


def run(bench: Bench, size: Size = REAL, rounds: int = ROUNDS, rivals=tuple(RIVALS)) -> dict:
    """What was found; {"needs": str} where there is no such GPU."""
    card = bench.worker(STACK, "card", "card", gpu=size.gpu)
    if size.gpu and card["memory"] < MEMORY:
        found = f"a {card['name']}" if card["name"] else "no GPU"
        bench.say(f"gpu: not measured: {found} here; it needs {NEEDS}")
        return {"needs": f"{found} at hand; it needs {NEEDS}"}
    data = bench.data(STACK, size.rows, kind=size.kind)
    arguments = bench.arguments(STACK, data, size.kind, size.batch, size.gpu)
    config = series.ROOT / "ds_configs" / size.config
    arguments += ["--deepspeed", config, *size.options, "--rows", size.rows, "--warm", size.batch]
    found: dict[str, list] = {label: [] for label in rivals}
    for turn in range(rounds):
        for label in rivals:
            bench.say(f"gpu: {size.kind}: {label}, round {turn + 1}")
            rival, flags = RIVALS[label]
            given = [*arguments, *flags, "--rival", rival]
            result = bench.worker(
                STACK, "one", "gpu", *given, launcher=launch.deepspeed(1), gpu=size.gpu
            )
            found[label].append(result)
    if size.gpu:
        shutil.rmtree(bench.model(STACK, size.kind))  # gigabytes
    return {"card": card, "kind": size.kind, "rivals": found}


def operations(kind: str, tokens: int, labels: int) -> float:
    """Floating-point operations that learning needs: forward, and backward but for the weights.

    Two for each weight and token forward, as many backward; those of the head for labels alone.
    Attention's own products, some 3% more, are left out, and so is what checkpointing repeats.
    """
    vocabulary, width, layers = map(int, kind.split("-")[1:])
    attention, rest = 4 * width**2, 3 * width * (width * 8 // 3 // 32 * 32)
    return 4 * (layers * (attention + rest) * tokens + vocabulary * width * labels)


def show(found: dict) -> Part:
    title, command = "A GPU", "make bench PARTS=gpu"
    what = "a ChatGLM-6B-shaped model on a GPU, tokens a second to (a); to trl"
    if "needs" in found:
        bar = Bar("9", what, "shown", "", None, found["needs"])
        return Part(title, command, f"Not measured: {found['needs']}.", [], [bar])
    rivals, card, kind = found["rivals"], found["card"], found["kind"]

    def rate(label):
        return [run["tokens"] / run["seconds"] for run in rivals[label]]

    first = next(iter(rivals))
    rows = []
    for label, runs in rivals.items():
        used = [
            operations(kind, r["tokens"], r["labels"]) / r["seconds"] / card["rate"] for r in runs
        ]
        peak = median(run["peak"] for run in runs)
        rows.append(
            [
                label,
                f"{median(rate(label)):.0f}",
                times(ratio(rate(label), rate(first))),
                f"{median(used):.1%}",
                f"{peak / 1e9:.2f} GB",
            ]
        )
    head = ["", "tokens a second", f"to {first[:3]}", "MFU", "peak above the model"]
    text = f"""
{card["name"] or "No GPU: a trial on the CPU"}, on which large bfloat16 matrices multiply at
{card["rate"] / 1e12:.3g} TFLOP/s: MFU is the share of that which goes into what learning needs, the
head on labels alone. Tokens are those of the rows, without padding. Random weights in the shape of
{kind.replace("-", ", ")} (family, words, width, layers), LoRA, ZeRO-2, one process a rival and round.
"""
    bars = []
    if {RECIPE, TRL, OURS} <= rivals.keys():
        gains = [ratio(rate(OURS), rate(other)) for other in (RECIPE, TRL)]
        bars = [Bar("9", what, "shown", "; ".join(map(times, gains)), True)]
    return Part(title, command, text, [Table(f"Stack {STACK}", head, rows)], bars)

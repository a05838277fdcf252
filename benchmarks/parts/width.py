"""What a batch takes of memory at the width of a real model: docs/fine-tuning.md's figures."""

from __future__ import annotations

import shutil

from benchmarks.bench import STACKS, Bench
from benchmarks.report import Part, Table

STACK = next(iter(STACKS))
WIDTH, VOCABULARY, REAL = 4096, 130_528, 28  # ChatGLM-6B's; its number of layers
LAYERS = (1, 2)  # that are measured
SHAPE = (768, 256)  # tokens of the one row: before, and in its response
RIVALS = {"everywhere": "all positions", "ours": "ours"}
CHECKPOINTING = {"checkpointing": ["--gradient_checkpointing"], "none": []}


def run(bench: Bench) -> dict:
    found: dict[str, dict] = {f"{rival}, {way}": {} for rival in RIVALS for way in CHECKPOINTING}
    for layers in LAYERS:
        kind = f"chatglm-{VOCABULARY}-{WIDTH}-{layers}"
        data = bench.data(STACK, 1, kind=kind)
        for rival in RIVALS:
            for way, flags in CHECKPOINTING.items():
                bench.say(f"{STACK}: {layers} layers of {WIDTH}, {rival}, {way}")
                given = [*bench.arguments(STACK, data, kind, 1), *flags, "--rows", 1, "--exact"]
                given += ["--torch_dtype", "bfloat16", "--rival", rival, "--shape", *SHAPE]
                out = f"width-{layers}-{rival}-{way}"
                peak = bench.worker(STACK, "one", out, *given)["peak"]
                found[f"{rival}, {way}"][str(layers)] = peak
        shutil.rmtree(bench.model(STACK, kind))  # gigabytes
    return found


def scaled(peaks: dict[str, int]) -> tuple[float, float, float]:
    """Bytes of what is there once, of a layer, and of a model of REAL layers."""
    few, many = LAYERS
    one = peaks[str(few)]
    layer = (peaks[str(many)] - one) / (many - few)
    return one - few * layer, layer, one + (REAL - few) * layer


def show(found: dict) -> Part:
    rows = []
    for rival, label in RIVALS.items():
        for way in CHECKPOINTING:
            sizes = scaled(found[f"{rival}, {way}"])
            named = "with" if CHECKPOINTING[way] else "without"
            rows.append([label, named, *(f"{size / 1e9:.2f} GB" for size in sizes)])
    head = ["logits of", "gradient checkpointing", "once", "a layer", f"{REAL} layers"]
    text = f"""
What training on one row of {sum(SHAPE)} tokens, {SHAPE[1]} of them the response, takes at most, above
the loaded model: a toy ChatGLM as wide as ChatGLM-6B ({WIDTH} hidden, {VOCABULARY:,} words, bfloat16),
measured with {LAYERS[0]} layer and with {LAYERS[1]}, and scaled from these to {REAL}.
"""
    table = Table(f"Peak memory for {sum(SHAPE):,} tokens, stack {STACK}", head, rows)
    return Part("Memory at a real width", "make bench PARTS=width", text, [table])

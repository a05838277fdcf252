"""Worker: where the time of training goes, by torch's profiler, for several rivals."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from benchmarks import rivals

# What a kernel is for, by torch's name of it. Whatever is not named here is "elementwise, other".
KINDS = {
    "linear layers": ("aten::mm", "aten::addmm", "aten::linear", "aten::matmul"),
    "attention: products": ("aten::bmm", "aten::baddbmm"),
    "attention: softmax, mask": (
        "aten::_softmax",
        "aten::_softmax_backward_data",
        "aten::masked_fill",
        "aten::masked_fill_",
        "aten::where",
    ),
    "loss": (
        "aten::_log_softmax",
        "aten::_log_softmax_backward_data",
        "aten::nll_loss_forward",
        "aten::nll_loss_backward",
    ),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::contiguous"),
}
# What has the vocabulary among its shapes is the output head, but for the embedding.
HEAD, LOGITS, EMBEDDING = "output head: products", "output head: logits, loss", "aten::embedding"
OTHER, PYTHON = "elementwise, other", "Python, between kernels"


def shares(events, seconds: float, vocabulary: int) -> dict[str, float]:
    """Share of ``seconds`` that each kind of kernel takes; the rest is Python's."""
    found = dict.fromkeys([HEAD, LOGITS, *KINDS, OTHER], 0.0)
    products = KINDS["linear layers"]
    for event in events:
        if event.key.startswith("aten::"):
            kind = next((kind for kind, names in KINDS.items() if event.key in names), OTHER)
            wide = any(vocabulary in shape for shape in event.input_shapes if shape)
            if wide and event.key != EMBEDDING:
                kind = HEAD if event.key in products else LOGITS
            found[kind] += event.self_cpu_time_total / 1e6 / seconds
    return found | {PYTHON: max(1 - sum(found.values()), 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--rivals", nargs="+", required=True)
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args, rest = parser.parse_known_args()
    script = rivals.load_script(args.script)
    folder = args.out.with_suffix(".run")
    found = {}
    for rival in args.rivals:
        for profiled in (False, True):  # once to warm up
            shutil.rmtree(folder, ignore_errors=True)
            around = torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
            )
            given = [*rest, "--output_dir", str(folder)]
            if profiled:
                result = rivals.run(script, rival, given, lambda around=around: around)
            else:
                rivals.run(script, rival, given)
        events = around.key_averages(group_by_input_shape=True)
        kinds = shares(events, result["seconds"], args.vocabulary)
        found[rival] = {"seconds": result["seconds"] / result["rows"], "shares": kinds}
    shutil.rmtree(folder, ignore_errors=True)
    args.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Worker: losses and gradients of the same rows, as two rivals train on them."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks import rivals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--rivals", nargs=2, required=True)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    args, rest = parser.parse_known_args()
    script, folder = rivals.load_script(args.script), args.out.with_suffix(".run")
    add_lora = script.add_lora
    script.add_lora = lambda *given: unsettle(add_lora(*given))
    # Nothing is drawn, clipped or changed on the way, so each step computes the same of both.
    rest += ["--lora_dropout", "0", "--max_grad_norm", "0", "--learning_rate", "1e-12"]
    found = []
    for rival in args.rivals:
        shutil.rmtree(folder, ignore_errors=True)
        gradients: list[torch.Tensor] = []
        hook = register_optimizer_step_pre_hook(keeping(gradients))
        given = [*rest, "--output_dir", str(folder)]
        result = rivals.run(script, rival, given, most=args.rows)
        hook.remove()
        found.append({"loss": torch.tensor(result["loss"]), "gradient": torch.cat(gradients)})
    shutil.rmtree(folder, ignore_errors=True)
    worst = {name: apart(*(one[name] for one in found)) for name in found[0]}
    args.out.write_text(json.dumps(worst), encoding="utf-8")


def keeping(gradients: list[torch.Tensor]):
    """What keeps an optimizer's gradients when it is about to take a step."""

    def hook(optimizer, *unused):
        for group in optimizer.param_groups:
            gradients.extend(p.grad.flatten().clone() for p in group["params"])

    return hook


def unsettle(model):
    """Give a new adapter gradients: lora_B is zero at first, and with it the gradient of lora_A."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float(((one - other).abs().max() / one.abs().max()).detach())


if __name__ == "__main__":
    main()

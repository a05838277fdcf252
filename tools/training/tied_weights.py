"""Weights that two modules share, such as embedding and head: apart for a merge, then together.

An adapter changes one of the two. Merged into what they share, it would change both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ties:
    """What a model shared: names of one and the same weight, a list for each; what its configs say."""

    shared: list[list[str]]
    flags: list[tuple[object, bool]]  # (a configuration, its tie_word_embeddings)


def find(model) -> Ties:
    """What the model, which has no adapter yet, shares."""
    names: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                names.setdefault(id(parameter), []).append(f"{path}.{name}".lstrip("."))
    configs = [model.config]
    if hasattr(model.config, "get_text_config"):
        configs.append(model.config.get_text_config())
    flags = [(c, c.tie_word_embeddings) for c in configs if hasattr(c, "tie_word_embeddings")]
    return Ties([same for same in names.values() if len(same) > 1], flags)


def part(model) -> None:
    """Give each module a copy of its own of what it shares with another."""
    import torch

    seen = set()
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if id(parameter) in seen:
                copy = torch.nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
                module._parameters[name] = copy
            seen.add(id(parameter))


def join_again(model, ties: Ties) -> None:
    """Share again what was shared, if all of it is still equal; else loading is told not to."""
    import torch

    weights = model.state_dict()
    pairs = [(same[0], name) for same in ties.shared for name in same[1:]]
    is_equal = all(torch.equal(weights[first], weights[name]) for first, name in pairs)
    if is_equal:
        for first, name in pairs:
            path, _, short = name.rpartition(".")
            setattr(model.get_submodule(path), short, model.get_parameter(first))
    for config, flag in ties.flags:  # peft writes there, too
        config.tie_word_embeddings = flag and is_equal

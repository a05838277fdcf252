"""Token accuracy is the Trainer's own, over response tokens, without asking the hub for a script.

    metric = evaluate.load("accuracy")
    def compute_metrics(…): …                            (and all that only they need)
    Trainer(…, compute_metrics=…, preprocess_logits_for_metrics=…)
        →  Trainer(…)

AdapterTrainer counts and computes by itself, so how upstream does it does not matter.
"""

from __future__ import annotations

import ast

from .engine.dead_code import DeadCode
from .engine.nodes import binds
from .engine.patch import Patch
from .engine.script import Script

THEIRS = ("compute_metrics", "preprocess_logits_for_metrics")
LOADS = ("evaluate.load", "evaluate.combine", "datasets.load_metric")


def apply(patch: Patch) -> None:
    script, call = patch.script, patch.script.trainer_call
    held = [pair for name in THEIRS for pair in script.keyword(call, name)]
    for name in THEIRS:
        what = f"no {name}: accuracy over response tokens is the Trainer's own"
        patch.drop_keyword(call, name, what)
    gone = [holder if isinstance(holder, ast.stmt) else value for holder, value in held]
    idle = _unread(script)
    for step in DeadCode(script, gone + idle).statements if gone + idle else ():
        if step not in gone:
            patch.remove(step, "it served upstream's metrics only")


def _unread(script: Script) -> list[ast.stmt]:
    """Where a metric is loaded that nothing reads."""
    steps = [script.statement(c) for c in script.calls_to(*LOADS)]
    return [s for s in steps if binds(s) and not any(map(script.reads.get, binds(s)))]


def verify(script: Script) -> None:
    given = [value for name in THEIRS for _, value in script.keyword(script.trainer_call, name)]
    script.require(not given, "the Trainer computes its metrics itself", *given)
    left = script.calls_to(*LOADS)
    script.require(not left, "no metric is loaded from the hub", *left)

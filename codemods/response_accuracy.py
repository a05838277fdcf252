"""Token accuracy is computed here, over response tokens, without asking the hub for a script.

metric = evaluate.load("accuracy")  →  metric = ResponseAccuracy()

It takes counts, which AdapterTrainer makes of the ids that upstream's preprocess_logits_for_metrics
finds; a Trainer without that function would hand over something else.
"""

from __future__ import annotations

import ast

from .engine.patch import Patch
from .engine.script import Script, dotted
from .engine.syntax import expression, string

IDS = "preprocess_logits_for_metrics"


def apply(patch: Patch) -> None:
    a = patch.anchors
    near = a.method_calls("load", "compute")
    call = a.one(
        a.calls_to("evaluate.load"), "call of evaluate.load", near, "It gives the accuracy metric"
    )
    if not call.args or string(call.args[0].value) != "accuracy":
        raise patch.refuse('evaluate.load to be given "accuracy"', [call])
    if a.keyword(a.trainer_call, "compute_metrics") and not a.keyword(a.trainer_call, IDS):
        raise patch.refuse(f"a Trainer with compute_metrics to have {IDS} too", [a.trainer_call])
    patch.replace(call, expression("ResponseAccuracy()"), "accuracy over response tokens, offline")


def verify(script: Script) -> None:
    metric = script.assigned(script.one_call("ResponseAccuracy"))
    imported = [
        n
        for n in script.all
        if isinstance(n, ast.ImportFrom)
        and n.module == "evaluate"
        and "load" in {x.name for x in n.names}
    ]
    left = script.calls("evaluate.load") + imported
    script.require(not left, "no metric is loaded from the hub", *left)
    trainer = script.one_call("AdapterTrainer")
    given = script.keywords(trainer)
    has_ids = IDS in given or "compute_metrics" not in given
    script.require(has_ids, f"a Trainer with compute_metrics has {IDS} too", trainer)
    computes = script.calls("compute", script.main)
    uses = [c for c in computes if dotted(getattr(c.func, "value", None)) in metric]
    script.require(uses, "the metric is computed")
    for use in uses:
        script.require(
            {k.arg for k in use.keywords} == {"predictions", "references"},
            "the metric gets predictions and references",
            use,
        )

"""Token accuracy is computed here, over response tokens, without asking the hub for a script.

metric = evaluate.load("accuracy")  →  metric = ResponseAccuracy()
"""

from __future__ import annotations

import ast

from .patch import Patch
from .script import Script, dotted
from .syntax import expression, string


def apply(patch: Patch) -> None:
    a = patch.anchors
    near = a.method_calls("load", "compute")
    call = a.one(
        a.calls_to("evaluate.load"), "call of evaluate.load", near, "It gives the accuracy metric"
    )
    if not call.args or string(call.args[0].value) != "accuracy":
        raise patch.refuse('evaluate.load to be given "accuracy"', [call])
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
    computes = script.calls("compute", script.main)
    uses = [c for c in computes if dotted(getattr(c.func, "value", None)) in metric]
    script.require(uses, "the metric is computed")
    for use in uses:
        script.require(
            {k.arg for k in use.keywords} == {"predictions", "references"},
            "the metric gets predictions and references",
            use,
        )

"""``--do_predict`` answers the test prompts after evaluation.

if training_args.do_eval:                  if training_args.do_eval:
    … trainer.evaluate() …                     … trainer.evaluate() …
                                        →  if training_args.do_predict:
                                        →      predict_responses(trainer, …)
"""

from __future__ import annotations

import ast

from .engine.anchors import dotted
from .engine.patch import Patch
from .engine.script import Script
from .engine.script import dotted as dotted_name


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.main)
    evaluations = [c for c in a.method_calls("evaluate") if dotted(c.func.value) == a.trainer]
    if not evaluations:
        raise patch.refuse(
            f"found no call of {a.trainer}.evaluate", a.method_calls("evaluate", "train")
        )
    model = f"{a.trainer}, {a.tokenizer}, encode_prompt, stop_ids, lead_ids"
    arguments = f"{a.raw_datasets}, {a.model_args}, {a.data_args}, {a.training_args}"
    patch.insert_after(
        max(map(a.place, evaluations), key=a.body.index),
        f"if {a.training_args}.do_predict:\n    predict_responses({model}, {arguments})\n",
        "prediction follows evaluation",
    )


def verify(script: Script) -> None:
    call = script.one_call("predict_responses")
    step, groups = script.step(call), script.groups()
    script.require(
        isinstance(step, ast.If)
        and isinstance(step.test, ast.Attribute)
        and dotted_name(step.test) == f"{groups['training']}.do_predict"
        and len(step.body) == 1
        and not step.orelse,
        "prediction runs if and only if --do_predict",
        step,
    )
    replaced = script.sets("do_predict")
    script.require(not replaced, "the user's do_predict is not replaced", *replaced)
    late = [c for c in script.calls("train", script.main) if c.lineno > call.lineno]
    late += [c for c in script.calls("evaluate", script.main) if c.lineno > call.lineno]
    script.require(not late, "prediction comes after training and evaluation", *late)
    ends = [n for n in script.main_own if isinstance(n, ast.Return) or _exits(n)]
    early = [n for n in ends if n.lineno < call.lineno]
    script.require(not early, "nothing ends the run before prediction", *early)
    script.given(
        call,
        "prediction uses the trained model",
        set(script.assigned(script.one_call("AdapterTrainer"))),
        script.loaded("AutoTokenizer"),
        "encode_prompt",
        "stop_ids",
        "lead_ids",
        script.loaded_data(),
        groups["model"],
        groups["data"],
        groups["training"],
    )


def _exits(node: ast.AST) -> bool:
    names = ("sys.exit", "os._exit", "exit", "quit")
    return isinstance(node, ast.Call) and dotted_name(node.func) in names

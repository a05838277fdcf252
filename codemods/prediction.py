"""``--do_predict`` answers the test prompts after evaluation.

if training_args.do_eval:                  if training_args.do_eval:
    … trainer.evaluate() …                     … trainer.evaluate() …
                                        →  if training_args.do_predict:
                                        →      predict_responses(trainer, …)

It stands in the block where training and evaluation do, before what is done after both.
"""

from __future__ import annotations

import ast

from .engine.nodes import position
from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script

MODEL = ("trainer", "tokenizer")
IDS = ("encode_prompt", "stop_ids", "lead_ids")
ARGUMENTS = ("data", "model_args", "data_args", "training_args")
EXITS = ("sys.exit", "os._exit", "exit", "quit")
TEARS_DOWN = ("destroy_process_group", "end_training")


def apply(patch: Patch) -> None:
    script = patch.script
    patch.graft(before=script.main)
    runs = _runs(script, "evaluate") or _runs(script, "train")
    if not runs:
        near = script.method_calls("evaluate", "train")
        raise patch.refuse("found no call of the Trainer's train or evaluate", near)
    lifted = [script.not_nested(script.lifted(c, *MODEL, *ARGUMENTS)) for c in runs]
    last = max(lifted, key=position)
    scope = script.scope(last)
    names = {role: script.name(role, scope) for role in (*MODEL, *ARGUMENTS)}
    model = ", ".join([*(names[r] for r in MODEL), *IDS])
    arguments = ", ".join(names[r] for r in ARGUMENTS)
    patch.insert_after(
        _place(script, last),
        f"if {names['training_args']}.do_predict:\n    predict_responses({model}, {arguments})\n",
        "prediction follows evaluation",
    )


def _runs(script: Script, *methods: str) -> list[ast.Call]:
    """Where the Trainer trains or evaluates."""
    calls = script.method_calls(*methods)
    return [c for c in calls if script.names.is_a("trainer", c.func.value)]


def _place(script: Script, evaluation: ast.AST) -> ast.stmt:
    """The step that evaluates, in the innermost block that holds all that trains, too."""
    trains = [script.trainer_call, *_runs(script, "train")]
    here = [c for c in trains if script.scope(c) is script.scope(evaluation)]
    steps = script.steps(evaluation)
    around = [s for s in steps[:-1] if any(script.inside(c, s) for c in here)]
    return steps[len(around)]


def verify(script: Script) -> None:
    call = one_call(script, "predict_responses")
    step, scope = script.parent(script.statement(call)), script.scope(call)
    asked = [f"{name}.do_predict" for name in script.names.all("training_args", scope)]
    is_asked = isinstance(step, ast.If) and ast.unparse(step.test) in asked
    plain = is_asked and len(step.body) == 1 and not step.orelse and step in script.steps(call)
    script.require(plain, "prediction runs if and only if --do_predict", script.statement(call))
    replaced = [n for n, _ in script.sets("do_predict")]
    script.require(not replaced, "the user's do_predict is not replaced", *replaced)
    takes(script, call, "prediction uses the trained model", *MODEL, *IDS, *ARGUMENTS)
    here = [n for n in script.own(*scope.body) if getattr(n, "lineno", call.lineno) != call.lineno]
    late = [c for c in _runs(script, "train", "evaluate") if c in here and c.lineno > call.lineno]
    script.require(not late, "prediction comes after training and evaluation", *late)
    early = [n for n in here if n.lineno < call.lineno and _ends(n)]
    script.require(not early, "nothing ends the run before prediction", *early)
    closed = [n for n in here if isinstance(n, ast.Try) and n.finalbody and n.lineno < call.lineno]
    closed = [t for t in closed if any(script.inside(c, t) for c in _runs(script, "evaluate"))]
    after = [t for t in closed if not script.inside(call, *t.body)]
    script.require(not after, "nothing is torn down before prediction", *after)


def _ends(node: ast.AST) -> bool:
    """Does it end the function, the run or the process group?"""
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Return)
    name = ast.unparse(node.func)
    return name in EXITS or name.split(".")[-1] in TEARS_DOWN

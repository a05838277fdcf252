"""The model gets LoRA last, directly before its Trainer is made.

class ModelArguments:                   →  class ModelArguments(LoraArguments):
                                        →  model = add_lora(model, tokenizer, …)
trainer = Trainer(model=model, …)          trainer = Trainer(model=model, …)

Whatever upstream does to its model, resize, prune, cast, freeze or move it, is done by then.
"""

from __future__ import annotations

import ast

from .engine.nodes import binds
from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script

BASE = "LoraArguments"
GIVEN = ("tokenizer", "stop_ids", "model_args", "training_args")


def apply(patch: Patch) -> None:
    script = patch.script
    own = [c for c in script.calls if script.called(c).startswith("peft.")]
    if own:
        hint = "Upstream now adapts the model itself: see what of LoRA is still ours to add"
        raise patch.refuse("a script that does not use peft itself", own, hint)
    call = script.not_nested(script.trainer_call)
    if made := script.keyword(call, "optimizers"):
        hint = "It would hold the model's weights and not LoRA's"
        raise patch.refuse("a Trainer that makes its optimizer itself", [v for _, v in made], hint)
    given, scope = _trained(script, call), script.scope(call)
    if not isinstance(given, ast.Name):
        raise patch.refuse("the Trainer's model to be a plain name", [call])
    patch.graft(before=script.first_argument_class)
    patch.add_base(script.model_class, BASE, "the model arguments get a base class")
    others = ", ".join(g if g == "stop_ids" else script.name(g, scope) for g in GIVEN)
    patch.insert_before(
        script.statement(given),  # the Trainer's, or that of the dict that it is in
        f"{given.id} = add_lora({given.id}, {others})",
        "the model, complete as it is now, gets LoRA",
        blank_line=True,
    )


def _trained(script: Script, call: ast.Call) -> ast.expr | None:
    """What the Trainer is given to train."""
    given = [value for _, value in script.given(call, "model")] or call.args[:1]
    return given[0] if len(given) == 1 else None


def verify(script: Script) -> None:
    name = script.model_class.name
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    call, trainer = one_call(script, "add_lora"), script.trainer_call
    step, following = script.statement(call), script.statement(trainer)
    promise = "LoRA wraps the model that the Trainer trains"
    trained = getattr(_trained(script, trainer), "id", "")
    takes(script, call, promise, "model", *GIVEN)
    script.require(isinstance(step, ast.Assign) and step.value is call, promise, call)
    script.require(binds(step) == [trained] == [call.args[0].id], promise, call, trainer)
    block = getattr(script.parent(step), "body", [])
    before = following in block and step.lineno < following.lineno
    script.require(before, "LoRA is added in the Trainer's own block, before it", step, following)
    between = block[block.index(step) + 1 : block.index(following) + 1]
    reads = [r for r in script.reads.get(trained, ()) if script.inside(r, *between)]
    others = [r for r in reads if r is not _trained(script, trainer)]
    script.require(not others, "nothing touches the model between LoRA and the Trainer", *others)
    again = [b for b in script.bindings(trained, script.scope(call)) if b.lineno > step.lineno]
    script.require(not again, "nothing replaces the LoRA model", *again)

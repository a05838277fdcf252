"""The model gets LoRA last, directly before its Trainer is made.

class ModelArguments:                   →  class ModelArguments(LoraArguments):
                                        →  model = add_lora(model, tokenizer, …)
trainer = Trainer(model=model, …)          trainer = Trainer(model=model, …)

Whatever upstream does to its model, resize, prune, cast, freeze or move it, is done by then.
"""

from __future__ import annotations

from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_base

BASE = "LoraArguments"


def apply(patch: Patch) -> None:
    a = patch.anchors
    own = [c for c in a.calls if a.qualified(c.func).startswith("peft.")]
    if own:
        hint = "Upstream now adapts the model itself: see what of LoRA is still ours to add"
        raise patch.refuse("a script that does not use peft itself", own, hint)
    patch.graft(before=a.first_argument_class)
    patch.change(
        a.model_class.name, lambda n: n, "the model arguments get a base class", f"({BASE})"
    )
    patch.edits.update(a.model_class, add_base(BASE))
    patch.insert_before(
        a.place(a.trainer_call),
        f"{a.model} = add_lora({a.model}, {a.tokenizer}, stop_ids, {a.model_args}, {a.training_args})",
        "the model, complete as it is now, gets LoRA",
        blank_line=True,
    )


def verify(script: Script) -> None:
    name = script.argument_class("model_name_or_path")
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    call, trainer = script.one_call("add_lora"), script.one_call("AdapterTrainer")
    model = script.assigned(call)
    script.require(script.unconditional(call), "LoRA is added whatever the arguments", call)
    script.require(len(model) == 1, "the LoRA model is bound to one name", call)
    groups = script.groups()
    promise = "LoRA wraps the model in place"
    given = (model[0], script.loaded("AutoTokenizer"), "stop_ids")
    script.given(call, promise, *given, groups["model"], groups["training"])
    later = [b for b in script.bindings(model[0]) if b.lineno > call.lineno]
    script.require(not later, "nothing replaces the LoRA model", *later)
    resizes = script.calls("resize_token_embeddings", script.main)
    late = [c for c in resizes if c.lineno > call.lineno]
    script.require(not late, "nothing resizes the LoRA model", *late)
    steps = script.main.body
    place = steps.index(script.step(call))
    is_next = steps[place + 1 : place + 2] == [script.step(trainer)]
    script.require(is_next, "nothing stands between LoRA and the Trainer", call, trainer)
    given = script.keywords(trainer).get("model") or (trainer.args[0] if trainer.args else None)
    script.require(
        getattr(given, "id", "") == model[0], "the Trainer trains the LoRA model", trainer
    )

"""The model is wrapped with LoRA once it is loaded and its embeddings are resized.

class ModelArguments:                   →  class ModelArguments(LoraArguments):
if len(tokenizer) > embedding_size:        if len(tokenizer) > embedding_size:
    model.resize_token_embeddings(…)           model.resize_token_embeddings(…)
                                        →  model = add_lora(model, tokenizer, …)
"""

from __future__ import annotations

import ast

from .engine.anchors import dotted
from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_base

BASE = "LoraArguments"


def apply(patch: Patch) -> None:
    a = patch.anchors
    patch.graft(before=a.first_argument_class)
    patch.change(
        a.model_class.name, lambda n: n, "the model arguments get a base class", f"({BASE})"
    )
    patch.edits.update(a.model_class, add_base(BASE))
    resizes = a.method_calls("resize_token_embeddings")
    resizes = [c for c in resizes if dotted(c.func.value) == a.model]
    if not resizes:
        near = a.method_calls("get_input_embeddings") + a.model_loads
        hint = "LoRA must wrap the model after its embeddings have their final size"
        raise patch.refuse(f"found no call of {a.model}.resize_token_embeddings", near, hint)
    patch.insert_after(
        max(map(a.place, resizes), key=a.body.index),
        f"{a.model} = add_lora({a.model}, {a.tokenizer}, stop_ids, {a.model_args}, {a.training_args})",
        "the model, loaded and its embeddings resized, gets LoRA",
    )


def verify(script: Script) -> None:
    name = script.argument_class("model_name_or_path")
    script.require(BASE in script.bases(name), f"{name} has the base class {BASE}")
    call = script.one_call("add_lora")
    model = script.assigned(call)
    script.require(script.unconditional(call), "LoRA is added whatever the arguments", call)
    script.require(len(model) == 1, "the LoRA model is bound to one name", call)
    groups = script.groups()
    promise = "LoRA wraps the model in place"
    given = (model[0], script.loaded("AutoTokenizer"), "stop_ids")
    script.given(call, promise, *given, groups["model"], groups["training"])
    later = [b for b in script.bindings(model[0]) if b.lineno > call.lineno]
    script.require(not later, "nothing replaces the LoRA model", *later)
    early = script.calls("resize_token_embeddings", script.main)
    early += script.calls("from_pretrained", script.main) + script.calls("from_config", script.main)
    late = [c for c in early if c.lineno > call.lineno]
    late += [c for c in early if isinstance(script.step(c), (ast.FunctionDef, ast.ClassDef))]
    script.require(not late, "the model is complete before LoRA is added", *late)
    trainer = script.one_call("AdapterTrainer")
    given = script.keywords(trainer).get("model") or (trainer.args[0] if trainer.args else None)
    script.require(trainer.lineno > call.lineno, "LoRA comes before the Trainer", call, trainer)
    script.require(dotted_name(given) == model[0], "the Trainer trains the LoRA model", trainer)


def dotted_name(node: object) -> str:
    return getattr(node, "id", "")

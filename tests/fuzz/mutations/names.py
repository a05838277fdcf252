"""The things that matter, reached or named in another way."""

from __future__ import annotations

import ast
import re
from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import fresh, mutation, pick, step_with

SUBMODULES = {
    "Trainer": "transformers.trainer",
    "HfArgumentParser": "transformers.hf_argparser",
    "TrainingArguments": "transformers.training_args",
    "AutoTokenizer": "transformers.models.auto.tokenization_auto",
    "AutoConfig": "transformers.models.auto",
    "AutoModelForCausalLM": "transformers.models.auto.modeling_auto",
    "default_data_collator": "transformers.data.data_collator",
    "set_seed": "transformers.trainer_utils",
}
ELSEWHERE = ("optimum.habana", "optimum.neuron", "adapters", "trl", "transformers_extra")


def _imported_from(code: Code, name: str, module: str) -> str | None:
    for n in code.tree.body:
        if isinstance(n, ast.ImportFrom) and n.module == "transformers":
            names = [a.name + (f" as {a.asname}" if a.asname else "") for a in n.names]
            if name in names:
                rest = ", ".join(x for x in names if x != name)
                kept = f"from transformers import {rest}\n" if rest else ""
                return code.edit(code.replace(n, f"{kept}from {module} import {name}"))
    return None


@mutation(False)
def imported_from_submodule(code: Code, random: Random) -> str | None:
    name = random.choice(sorted(SUBMODULES))
    return _imported_from(code, name, SUBMODULES[name])


@mutation(False)
def trainer_of_another_package(code: Code, random: Random) -> str | None:
    return _imported_from(code, "Trainer", random.choice(ELSEWHERE))


@mutation(False)
def logging_of_transformers(code: Code, random: Random) -> str | None:
    """``transformers.utils.logging`` goes by the name of the standard library's."""
    new = code.text.replace("logging.getLogger(", "logging.get_logger(")
    if new == code.text or "logging.basicConfig" not in new:
        return None
    new = re.sub(r"(?m)^ +logging\.basicConfig\((?:[^()]|\([^()]*\))*\)\n", "", new)
    return new.replace("import logging\n", "from transformers.utils import logging\n", 1)


@mutation(True)
def classes_in_a_named_tuple(code: Code, random: Random) -> str | None:
    calls = code.calls_in(code.main, "HfArgumentParser") if code.main else []
    if not calls or not calls[0].args or not isinstance(calls[0].args[0], ast.Tuple):
        return None
    names = ", ".join(map(code.code, calls[0].args[0].elts))
    if random.random() < 0.5:
        made = f"ARGUMENT_CLASSES = ({names})\n\n\n"
        value = "ARGUMENT_CLASSES"
    else:
        made = 'Groups = collections.namedtuple("Groups", ["model", "data", "training"])\n\n\n'
        value = f"Groups({names})"
    new = code.edit(code.before(code.main, made), code.replace(calls[0].args[0], value))
    return new.replace("import logging\n", "import collections\nimport logging\n", 1)


@mutation(True)
def groups_kept_together(code: Code, random: Random) -> str | None:
    """What is parsed is an attribute of something before it is named."""
    step = step_with(code, r"HfArgumentParser\(", False)
    found = [
        s
        for s in code.statements
        if isinstance(s, ast.Assign)
        and isinstance(s.targets[0], ast.Tuple)
        and "parse" in code.code(s.value)
    ]
    if step is None or not found:
        return None
    names = [code.code(t) for t in found[0].targets[0].elts]
    last = step_with(code, r"\.parse_args_into", True)
    edits = [code.replace(s.targets[0], "parsed") for s in found]
    return code.edit(*edits, code.after(last, f"{', '.join(names)} = parsed"))


@mutation(False)
def another_tokenizer_class(code: Code, random: Random) -> str | None:
    """In one branch."""
    calls = [c for c in code.calls if dotted(c.func) == "AutoTokenizer.from_pretrained"]
    if len(calls) < 2 or not (call := pick(random, calls)):
        return None
    return code.edit(code.replace(call.func, "transformers.LlamaTokenizerFast.from_pretrained"))


@mutation(False)
def another_model_class(code: Code, random: Random) -> str | None:
    calls = [c for c in code.calls if dotted(c.func).startswith("AutoModelForCausalLM.")]
    if not (call := pick(random, calls)):
        return None
    method = call.func.attr
    return code.edit(code.replace(call.func, f"transformers.LlamaForCausalLM.{method}"))


@mutation(False)
def size_renamed(code: Code, random: Random) -> str | None:
    new = fresh(code, random, "chunk_size", "max_seq_length", "sequence_length")
    return re.sub(r"\bblock_size\b", new, code.text)


@mutation(False)
def dead_function(code: Code, random: Random) -> str | None:
    """Defined in main(), and not used."""
    step = step_with(code, r"\.map\(", random.random() < 0.5)
    body = "def group_by_length(examples):\n    return {k: sorted(v) for k, v in examples.items()}"
    return code.edit(code.before(step, body)) if step else None


@mutation(False)
def dead_grouping(code: Code, random: Random) -> str | None:
    """The chunks are no longer made: what cuts them is defined, and not used."""
    found = [s for s in code.assigns if code.roles.get("tokenized_datasets", "-") + ".map" in code.code(s.value)]  # fmt: skip
    if not found:
        return None
    edits = [code.replace(s.value, code.roles["tokenized_datasets"]) for s in found]
    return code.edit(*edits)

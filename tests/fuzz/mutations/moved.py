"""A part of a long main() moved into a function of the script, which is given what it needs."""

from __future__ import annotations

import ast
import textwrap
from random import Random

from tests.fuzz.mutations.code import Code
from tests.fuzz.mutations.common import fresh, register, step_with

# What is moved: the steps of main() from the first with one pattern to the last with another.
PARTS = {
    "parsing": (r"HfArgumentParser\(", r"\.parse_\w+\("),
    "data_loading": (r"load_dataset\(|data_files = \{\}", r"load_dataset\("),
    "config_loading": (r"config_kwargs = |AutoConfig", r"AutoConfig"),
    "tokenizer_loading": (r"AutoTokenizer", r"AutoTokenizer"),
    "model_loading": (r"AutoModelForCausalLM", r"AutoModelForCausalLM"),
    "model_loading_and_resizing": (r"AutoModelForCausalLM", r"resize_token_embeddings"),
    "all_loading": (r"AutoConfig", r"AutoModelForCausalLM"),
    "preprocessing": (r"column_names = ", r"\.map\("),
    "preprocessing_and_splits": (r"column_names = ", r"(?s)do_eval:\s.*eval_dataset = "),
    "tokenising": (r"tokenizer\(examples\[", r"tokenize\w*,"),
    "grouping": (r"block_size is None", r"\.map\("),
    "splits": (r"(?s)do_train:\s.*train_dataset = ", r"(?s)do_eval:\s.*eval_dataset = "),
    "making_the_trainer": (r"\bTrainer\(", r"\bTrainer\("),
    "training": (r"\.train\(", r"\.train\("),
    "evaluation": (r"\.evaluate\(", r"\.evaluate\("),
    "training_and_evaluation": (r"\.train\(", r"\.evaluate\("),
    "the_rest": (r"\bTrainer\(", r"(?s)."),
}


def bound(nodes: list[ast.stmt]) -> set[str]:
    """Names that the statements bind in their own scope."""
    names: set[str] = set()
    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            todo += ast.iter_child_nodes(node)
    return names


def read(nodes: list[ast.stmt]) -> set[str]:
    return {n.id for s in nodes for n in ast.walk(s) if isinstance(n, ast.Name)}


def always_bound(nodes: list[ast.stmt]) -> set[str]:
    """Names that are bound whatever the run asks for, as far as one can tell without trying."""
    names = bound([s for s in nodes if not isinstance(s, (ast.If, ast.For, ast.Try, ast.With))])
    for s in nodes:
        if isinstance(s, ast.With):
            names |= always_bound(s.body)
        elif isinstance(s, ast.If) and s.orelse:
            sides = [always_bound(side) for side in (s.body, s.orelse) if not _ends(side)]
            names |= set.intersection(*sides) if sides else set()
    return names


def _ends(side: list[ast.stmt]) -> bool:
    return isinstance(side[-1], (ast.Raise, ast.Return))


def extracted(code: Code, steps: list[ast.stmt], random: Random, name: str) -> str | None:
    """``steps`` of main() in a function of their own, given what they read of main()'s names."""
    if not steps or any(isinstance(n, ast.Return) for s in steps for n in _own(s)):
        return None
    body = code.main.body
    first, last = body.index(steps[0]), body.index(steps[-1])
    inside, before, after = body[first : last + 1], body[:first], body[last + 1 :]
    results = sorted(bound(inside) & read(after))
    maybe = [n for n in results if n not in always_bound(inside)]
    given = sorted(read(inside) & bound(before))
    unsure = sorted(set(given) - always_bound(before))  # must be there to be given
    start, end = code.span(inside[0])[0], code.span(inside[-1])[1]
    lines = code.indent(inside[0]) + code.bytes[start:end].decode()
    if '"""' in lines:
        return None
    none = "".join(f"    {n} = None\n" for n in maybe if n not in given)
    back = f"    return {', '.join(results)}\n" if results else ""
    by_name = random.random() < 0.3
    called = f"{name}({', '.join(f'{n}={n}' if by_name else n for n in given)})"
    text = f"def {name}({', '.join(given)}):\n{none}" + textwrap.indent(
        textwrap.dedent(lines), "    "
    )
    at = code.span(code.main)[0]
    call = f"{', '.join(results)} = {called}" if results else called
    edits = [(at, at, f"{text}\n{back}\n\n"), (start, end, call)]
    if unsure:
        edits.append(code.before(body[0], f"{' = '.join(unsure)} = None"))
    return code.edit(*edits)


def _own(node: ast.AST):
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
        for child in ast.iter_child_nodes(node):
            yield from _own(child)


def _moves(part: str):
    def run(code: Code, random: Random) -> str | None:
        start, end = (code.named(pattern) for pattern in PARTS[part])
        first, last = step_with(code, start, False), step_with(code, end, True)
        if first is None or last is None or first.lineno > last.lineno:
            return None
        body = code.main.body
        steps = body[body.index(first) : body.index(last) + 1]
        return extracted(code, steps, random, fresh(code, random, f"do_{part}"))

    return run


for _part in PARTS:
    register(f"moved_{_part}", True, _moves(_part), __name__)

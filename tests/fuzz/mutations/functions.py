"""Code that moves into functions, and functions that move."""

from __future__ import annotations

import ast
import re
import textwrap
from random import Random

from tests.fuzz.mutations.code import Code, reads
from tests.fuzz.mutations.common import free, fresh, mutation, no_long_strings, pick

# Bound on some paths through main() only: handing them on would fail.
MAYBE_UNBOUND = (
    "train_dataset",
    "eval_dataset",
    "metric",
    "compute_metrics",
    "preprocess_logits_for_metrics",
)


@mutation(True)
def helper_in_main(code: Code, random: Random) -> str | None:
    """``x = value`` → ``def helper(): return value``, ``x = helper()``."""
    if (s := pick(random, [s for s in code.assigns if isinstance(s.value, ast.Call)])) is None:
        return None
    name = fresh(code, random, "load_it", "helper", "build")
    body = code.code(s.value)
    return code.edit(
        code.instead(s, f"def {name}():\n    return {body}\n\n{s.targets[0].id} = {name}()")
    )


@mutation(True)
def helper_at_module_level(code: Code, random: Random) -> str | None:
    if (s := pick(random, [s for s in code.assigns if isinstance(s.value, ast.Call)])) is None:
        return None
    local = {
        n.id
        for n in ast.walk(code.main)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    local |= {n.name for n in ast.walk(code.main) if isinstance(n, ast.FunctionDef)}
    if reads(s.value) & local & set(MAYBE_UNBOUND):
        return None
    taken = ", ".join(sorted(reads(s.value) & local))
    name = fresh(code, random, "load_it", "helper", "build")
    return code.edit(
        code.before(code.main, f"def {name}({taken}):\n    return {code.code(s.value)}\n\n\n"),
        code.replace(s.value, f"{name}({taken})"),
    )


@mutation(True)
def step_as_closure(code: Code, random: Random) -> str | None:
    """``S`` → ``def step(): nonlocal …; S``, ``step()``; only where its names are bound before."""
    found = [
        s
        for s in code.statements
        if free(code, s) and no_long_strings(code, s) and not isinstance(s, ast.FunctionDef)
    ]
    if (s := pick(random, found)) is None:
        return None
    bound = sorted(
        {n.id for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    )
    name = fresh(code, random, "step", "stage")
    pad = code.indent(s)
    body = "    " + code.code(s).replace("\n", "\n    ")
    nonlocal_ = f"{pad}    nonlocal {', '.join(bound)}\n" if bound else ""
    return code.edit(code.replace(s, f"def {name}():\n{nonlocal_}{pad}{body}\n\n{pad}{name}()"))


@mutation(True)
def function_moved_out(code: Code, random: Random) -> str | None:
    """A nested function that needs nothing of main() goes to module level."""
    if not code.main:
        return None
    local = {
        n.id
        for n in ast.walk(code.main)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    found = [s for s in code.statements if isinstance(s, ast.FunctionDef)]
    found = [
        s
        for s in found
        if not (
            reads(s)
            & (
                local
                - {
                    n.id
                    for n in ast.walk(s)
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                }
                - {a.arg for a in s.args.args}
            )
        )
    ]
    if (s := pick(random, found)) is None:
        return None
    text = textwrap.dedent(code.indent(s) + code.code(s))
    return code.edit(code.before(code.main, text + "\n\n\n"), code.replace(s, "pass"))


@mutation(True)
def main_spelled_otherwise(code: Code, random: Random) -> str | None:
    if not code.main or code.main.returns or code.main.args.args:
        return None
    new = random.choice(
        ["() -> None:", "(args=None):", '() -> None:\n    """Train."""', "(*, argv=None):"]
    )
    a, b = code.starts[code.main.lineno - 1], code.span(code.main.body[0])[0]
    head = re.compile(rb"\(\):").search(code.bytes, a, b)
    return code.edit((head.start(), head.end(), new)) if head else None

"""What the themes share: how a mutation is made known, choices, and questions and edits of several."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz.mutations.code import Code, Edit, dotted

Mutate = Callable[[Code, Random], "str | None"]


@dataclass(frozen=True)
class Mutation:
    name: str
    preserving: bool
    run: Mutate
    theme: str  # the module that defines it


REGISTERED: list[Mutation] = []


def register(name: str, preserving: bool, run: Mutate, theme: str) -> None:
    REGISTERED.append(Mutation(name, preserving, run, theme))


def mutation(preserving: bool) -> Callable[[Mutate], Mutate]:
    def decorate(function: Mutate) -> Mutate:
        register(function.__name__, preserving, function, function.__module__)
        return function

    return decorate


def step_with(code: Code, pattern: str, last: bool) -> ast.stmt | None:
    """The first (or last) statement of main()'s own block whose text has the pattern."""
    steps = [s for s in (code.main.body if code.main else []) if re.search(pattern, code.code(s))]
    return steps[-1 if last else 0] if steps else None


def pick(random: Random, items: list):
    return random.choice(items) if items else None


NEW = (
    "value",
    "thing",
    "args_",
    "loaded",
    "lm",
    "item_1",
    "cfg",
    "tok",
    "hf_model",
    "ds",
    "processed",
)


def fresh(code: Code, random: Random, *stems: str) -> str:
    stem = random.choice(stems or NEW)
    taken = set(re.findall(r"\w+", code.text))
    return next(n for n in (stem, *(f"{stem}_{i}" for i in range(2, 99))) if n not in taken)


def keyword_text(code: Code, k: ast.keyword) -> str:
    return f"{k.arg}={code.code(k.value)}" if k.arg else f"**{code.code(k.value)}"


def keywords_span(code: Code, call: ast.Call) -> tuple[int, int]:
    first = call.keywords[0]
    a = code.span(first)[0] if first.arg else code.bytes.rindex(b"**", 0, code.span(first.value)[0])
    return a, code.span(call.keywords[-1])[1]


def _ordered(call: ast.Call) -> bool:
    return not call.args or call.args[-1].end_lineno <= call.keywords[0].value.lineno


def with_keywords(code: Code, call: ast.Call, keywords: list[str]) -> Edit:
    return (*keywords_span(code, call), ", ".join(keywords))


def keyword_calls(code: Code, least: int) -> list[ast.Call]:
    calls = [c for c in code.calls if len(c.keywords) >= least and _ordered(c)]
    return calls + [
        c for c in calls if re.search(r"from_|Trainer|load_dataset|\bmap$", dotted(c.func))
    ]


def statement_of(code: Code, node: ast.AST) -> ast.stmt | None:
    """The innermost statement of main() around a node, if a statement may go before it."""
    a, b = code.span(node)
    around = [s for s in code.statements if code.span(s)[0] <= a and b <= code.span(s)[1]]
    s = max(around, key=lambda s: code.span(s)[0], default=None)
    return s if isinstance(s, (ast.Assign, ast.Expr)) else None


def free(code: Code, s: ast.stmt) -> bool:
    """May the statement stand in another block?"""
    return not any(
        isinstance(n, (ast.Return, ast.Break, ast.Continue, ast.Nonlocal)) for n in ast.walk(s)
    ) and (not code.code(s).startswith("elif"))


def nested(code: Code, s: ast.stmt, opening: str, closing: str = "") -> str:
    """``opening``, the statement one level in, ``closing``; not where a string has line breaks."""
    body = code.bytes[code.span(s)[0] : code.span(s)[1]].decode()
    body = "    " + body.replace("\n", "\n    ")
    return code.edit(code.replace(s, f"{opening}\n{code.indent(s)}{body}{closing}"))


def no_long_strings(code: Code, s: ast.stmt) -> bool:
    return '"""' not in code.code(s)


def parsed_names(code: Code) -> list[str]:
    for s in code.statements:
        if isinstance(s, ast.Assign) and "parse_args_into_dataclasses" in code.code(s):
            return [n.id for n in ast.walk(s.targets[0]) if isinstance(n, ast.Name)]
    return []


def after_parse(code: Code, s: ast.stmt) -> bool:
    lines = [c.lineno for c in code.calls if "parse_args_into_dataclasses" in dotted(c.func)]
    return bool(lines) and s.lineno > max(lines)

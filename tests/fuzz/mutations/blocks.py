"""The same statements under an if, a with or a try, and expressions as statements or the reverse."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import (
    after_parse,
    free,
    fresh,
    mutation,
    nested,
    no_long_strings,
    parsed_names,
    pick,
    statement_of,
)


@mutation(True)
def wrapped(code: Code, random: Random) -> str | None:
    s = pick(random, [s for s in code.statements if free(code, s) and no_long_strings(code, s)])
    if s is None:
        return None
    opening = random.choice(
        [
            "if True:",
            "if training_args is not None:",
            "with contextlib.nullcontext():",
            "for _ in range(1):",
            "try:",
            "with torch.no_grad():",
        ]
    )
    closing = f"\n{code.indent(s)}finally:\n{code.indent(s)}    pass" if opening == "try:" else ""
    if (
        "training_args" in opening
        and "training_args" not in code.text[: code.text.find(code.code(s))]
    ):
        return None
    if opening.startswith("with torch"):
        return (
            None
            if _only_defs(s)
            else _imported(nested(code, s, "with contextlib.nullcontext():"), "contextlib")
        )
    return _imported(
        nested(code, s, opening, closing), "contextlib" if "contextlib" in opening else ""
    )


def _only_defs(s: ast.stmt) -> bool:
    return isinstance(s, ast.FunctionDef)


def _imported(text: str, module: str) -> str:
    if not module or f"import {module}\n" in text:
        return text
    return text.replace("import logging\n", f"import {module}\nimport logging\n", 1)


@mutation(True)
def both_branches(code: Code, random: Random) -> str | None:
    """``S`` → ``if streaming: S else: S``."""
    s = pick(random, [s for s in code.statements if free(code, s) and no_long_strings(code, s)])
    if s is None or (args := _data_args(code)) is None or not after_parse(code, s):
        return None
    body = "    " + code.code(s).replace("\n", "\n    ")
    pad = code.indent(s)
    return code.edit(code.replace(s, f"if {args}.streaming:\n{pad}{body}\n{pad}else:\n{pad}{body}"))


def _data_args(code: Code) -> str | None:
    names = parsed_names(code)
    classes = code.calls_in(code.tree, "HfArgumentParser")
    if (
        len(names) != 3
        or not classes
        or not classes[0].args
        or not isinstance(classes[0].args[0], ast.Tuple)
    ):
        return None
    return names[1] if "streaming" in code.text else None


@mutation(True)
def ternary_to_if(code: Code, random: Random) -> str | None:
    if (s := pick(random, [s for s in code.assigns if isinstance(s.value, ast.IfExp)])) is None:
        return None
    name, v = s.targets[0].id, s.value
    return code.edit(
        code.instead(
            s,
            f"if {code.code(v.test)}:\n    {name} = {code.code(v.body)}\nelse:\n    {name} = {code.code(v.orelse)}",
        )
    )


@mutation(True)
def hoisted_argument(code: Code, random: Random) -> str | None:
    """``f(a=g())`` → ``x = g()``, ``f(a=x)``."""
    found = [
        (c, k.value)
        for c in code.calls
        for k in c.keywords
        if not isinstance(k.value, (ast.Name, ast.Constant, ast.JoinedStr))
        and k.arg
        and statement_of(code, c) is not None
    ]
    if (one := pick(random, found)) is None:
        return None
    name, s = fresh(code, random), statement_of(code, one[0])
    value = code.code(one[1])
    return code.edit(code.before(s, f"{name} = ({value})"), code.replace(one[1], name))


@mutation(True)
def getattr_style(code: Code, random: Random) -> str | None:
    found = (
        [
            n
            for n in code.plain(code.main)
            if isinstance(n, ast.Attribute)
            and isinstance(n.ctx, ast.Load)
            and dotted(n.value).endswith("_args")
        ]
        if code.main
        else []
    )
    if (n := pick(random, found)) is None:
        return None
    return code.edit(code.replace(n, f'getattr({code.code(n.value)}, "{n.attr}")'))

"""Statements more than upstream has, or fewer, or in another order."""

from __future__ import annotations

import ast
import textwrap
from random import Random

from tests.fuzz.mutations.code import Code, is_elif, is_store, reads
from tests.fuzz.mutations.common import (
    after_parse,
    free,
    mutation,
    nested,
    no_long_strings,
    parsed_names,
    pick,
)
from tests.fuzz.mutations.inserted import STATEMENTS


@mutation(False)
def statement_anywhere(code: Code, random: Random) -> str | None:
    """One of those that upstream would put elsewhere, where its names are known."""
    new = code.named(random.choice(sorted(text for _, text in STATEMENTS.values())))
    bound = {n.id: n.lineno for n in ast.walk(code.main) if is_store(n)} if code.main else {}
    known = max((bound[name] for name in reads(ast.parse(new)) if name in bound), default=0)
    found = [s for s in code.statements if s.lineno >= known and not is_elif(code, s)]
    found = [s for s in found if not code.code(s).startswith("elif")]
    return code.edit(code.after(s, new)) if (s := pick(random, found)) else None


@mutation(False)
def statement_dropped(code: Code, random: Random) -> str | None:
    found = [s for s in code.statements if not code.code(s).startswith("elif")]
    s = pick(random, found)
    return code.edit(code.replace(s, "pass")) if s else None


@mutation(False)
def statement_twice(code: Code, random: Random) -> str | None:
    found = [s for s in code.statements if not code.code(s).startswith("elif")]
    s = pick(random, found)
    return code.edit(code.after(s, textwrap.dedent(code.indent(s) + code.code(s)))) if s else None


@mutation(False)
def statements_swapped(code: Code, random: Random) -> str | None:
    pairs = [(a, b) for block in code.blocks for a, b in zip(block, block[1:], strict=False)]
    if (pair := pick(random, pairs)) is None or code.code(pair[1]).startswith("elif"):
        return None
    a, b = pair
    return code.edit(code.replace(a, code.code(b)), code.replace(b, code.code(a)))


@mutation(False)
def statement_conditional(code: Code, random: Random) -> str | None:
    """``S`` → ``if something: S``: no longer whatever the arguments."""
    s = pick(random, [s for s in code.statements if free(code, s) and no_long_strings(code, s)])
    names = parsed_names(code)
    if s is None or len(names) != 3 or not after_parse(code, s):
        return None
    test = random.choice(
        [
            f"{names[2]}.do_train",
            f"not {names[1]}.streaming",
            f"{names[0]}.model_name_or_path",
            f"{names[2]}.should_log",
        ]
    )
    return nested(code, s, f"if {test}:")

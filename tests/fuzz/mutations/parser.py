"""HfArgumentParser called, and its result unpacked, in another way."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import fresh, mutation, pick, statement_of


@mutation(True)
def parser_unpacked_otherwise(code: Code, random: Random) -> str | None:
    found = [
        s
        for s in code.statements
        if isinstance(s, ast.Assign)
        and isinstance(s.targets[0], ast.Tuple)
        and "parser." in code.code(s)
    ]
    if (s := pick(random, found)) is None:
        return None
    targets = ", ".join(map(code.code, s.targets[0].elts))
    value = code.code(s.value)
    name = fresh(code, random, "parsed")
    which = random.randrange(4)
    if which == 0:
        return code.edit(code.instead(s, f"{name} = {value}\n{targets} = {name}"))
    if which == 1:
        return code.edit(code.replace(s.targets[0], f"({targets})"))
    if which == 2:
        return code.edit(code.replace(s.targets[0], f"[{targets}]"))
    each = [f"{t.strip()} = {name}[{i}]" for i, t in enumerate(targets.split(","))]
    return code.edit(code.instead(s, "\n".join([f"{name} = {value}", *each])))


@mutation(True)
def parser_given_otherwise(code: Code, random: Random) -> str | None:
    calls = [c for c in code.calls if dotted(c.func).endswith("HfArgumentParser")]
    call = calls[0] if calls else None
    if call is None or not call.args or not isinstance(call.args[0], ast.Tuple):
        return None
    names = [code.code(e) for e in call.args[0].elts]
    which = random.randrange(4)
    if which == 0:
        return code.edit(code.replace(call.args[0], f"[{', '.join(names)}]"))
    if which == 1:
        a, _ = code.span(call.args[0])
        return code.edit((a, a, "dataclass_types="))
    if which == 2:
        s, name = statement_of(code, call), fresh(code, random, "classes")
        return code.edit(
            code.before(s, f"{name} = ({', '.join(names)})"), code.replace(call.args[0], name)
        )
    unpacked = [
        s
        for s in code.statements
        if isinstance(s, ast.Assign)
        and isinstance(s.targets[0], ast.Tuple)
        and "parser." in code.code(s)
        and len(s.targets[0].elts) == len(names)
    ]
    order = list(range(len(names)))
    random.shuffle(order)
    edits = [code.replace(call.args[0], "(" + ", ".join(names[i] for i in order) + ")")]
    for s in unpacked:
        edits.append(
            code.replace(s.targets[0], ", ".join(code.code(s.targets[0].elts[i]) for i in order))
        )
    return code.edit(*edits)

"""Scripts that are built unlike upstream's, down to what is no Python."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import mutation, pick


@mutation(False)
def fourth_arguments(code: Code, random: Random) -> str | None:
    call = pick(random, [c for c in code.calls if dotted(c.func).endswith("HfArgumentParser")])
    if call is None or not call.args or not isinstance(call.args[0], ast.Tuple):
        return None
    edits = [(code.span(call.args[0].elts[-1])[1],) * 2 + (", ExtraArguments",)]
    for s in code.statements:
        if (
            isinstance(s, ast.Assign)
            and isinstance(s.targets[0], ast.Tuple)
            and "parser." in code.code(s)
        ):
            b = code.span(s.targets[0].elts[-1])[1]
            edits.append((b, b, ", extra_args"))
    new = "@dataclass\nclass ExtraArguments:\n    extra: int = field(default=1)\n\n\n"
    return code.edit(code.before(code.main, new), *edits)


@mutation(False)
def maps_chained(code: Code, random: Random) -> str | None:
    """The second map on the first's result, in one expression or in a loop over the splits."""
    found = [
        s
        for s in code.assigns
        if isinstance(s.value, ast.Call) and dotted(s.value.func).endswith(".map")
    ]
    if (s := pick(random, found)) is None:
        return None
    value, name = code.code(s.value), s.targets[0].id
    which = random.randrange(4)
    if which == 0:
        return code.edit(code.replace(s.value, f'{value}.with_format("torch")'))
    if which == 1:
        base = code.code(s.value.func.value)
        each = value.replace(f"{base}.map", "split.map", 1)
        return code.edit(
            code.replace(s.value, f"{{name: {each} for name, split in {base}.items()}}")
        )
    if which == 2:
        return code.edit(code.replace(s.value, f"{value}.map(lambda row: row)"))
    return code.edit(code.instead(s, f"{name} = {value}\n{name} = {name}.map(lambda row: row)"))


@mutation(False)
def star_import(code: Code, random: Random) -> str | None:
    found = [
        n
        for n in code.tree.body
        if isinstance(n, ast.ImportFrom) and n.module in ("transformers", "datasets")
    ]
    if (n := pick(random, found)) is None:
        return None
    return code.edit(code.replace(n, f"from {n.module} import *"))


@mutation(False)
def not_python(code: Code, random: Random) -> str | None:
    which = random.randrange(4)
    at = random.randrange(1, max(len(code.text), 2))
    if which == 0:
        return code.text[:at]
    if which == 1:
        return code.text[:at] + random.choice("(\"'{\x00\f\t§:") + code.text[at:]
    if which == 2:
        return random.choice(
            ["", "\n", "# nothing\n", "import os\n", "def main():\n    pass\n", "main()"]
        )
    lines = code.text.splitlines(keepends=True)
    if not lines:  # an earlier step has left nothing
        return None
    del lines[random.randrange(len(lines))]
    return "".join(lines)

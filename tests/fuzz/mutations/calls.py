"""The same arguments handed to a call in another way."""

from __future__ import annotations

import ast
import re
from random import Random

from tests.fuzz.mutations.code import Code, dotted, name_of
from tests.fuzz.mutations.common import (
    fresh,
    keyword_calls,
    keyword_text,
    keywords_span,
    mutation,
    pick,
    statement_of,
    with_keywords,
)


@mutation(True)
def reorder_keywords(code: Code, random: Random) -> str | None:
    call = pick(random, keyword_calls(code, 2))
    if call is None:
        return None
    texts = [keyword_text(code, k) for k in call.keywords]
    random.shuffle(texts)
    return code.edit(with_keywords(code, call, texts))


@mutation(True)
def keywords_to_dict(code: Code, random: Random) -> str | None:
    calls = [c for c in keyword_calls(code, 1) if statement_of(code, c) is not None]
    call = pick(random, calls)
    if call is None:
        return None
    named = [k for k in call.keywords if k.arg]
    moved = [k for k in named if random.random() < 0.7] or named
    name = fresh(code, random, "kwargs_", "options", "load_kwargs")
    if random.random() < 0.5:
        made = "{" + ", ".join(f'"{k.arg}": {code.code(k.value)}' for k in moved) + "}"
    else:
        made = "dict(" + ", ".join(f"{k.arg}={code.code(k.value)}" for k in moved) + ")"
    rest = [keyword_text(code, k) for k in call.keywords if k not in moved]
    place = random.randrange(len(rest) + 1)
    rest.insert(place, f"**{name}")
    if random.random() < 0.2:
        rest[place] = f"**{made}"
        return code.edit(with_keywords(code, call, rest))
    statement = statement_of(code, call)
    return code.edit(code.before(statement, f"{name} = {made}"), with_keywords(code, call, rest))


def _displays(code: Code) -> list[ast.Assign]:
    return [
        s
        for s in code.assigns
        if isinstance(s.value, ast.Dict)
        and s.value.keys
        and all(isinstance(k, ast.Constant) and str(k.value).isidentifier() for k in s.value.keys)
    ]


@mutation(True)
def dict_to_keywords(code: Code, random: Random) -> str | None:
    """Write the keywords of a ``**dict`` out in every call."""
    s = pick(random, _displays(code))
    if s is None:
        return None
    name = s.targets[0].id
    entries = [
        f"{k.value}={code.code(v)}" for k, v in zip(s.value.keys, s.value.values, strict=True)
    ]
    uses = [
        (c, k) for c in code.calls for k in c.keywords if k.arg is None and dotted(k.value) == name
    ]
    reads_ = [n for n in ast.walk(code.main) if name_of(n) == name]
    if not uses or len(reads_) != len(uses) + 1:
        return None
    edits = [
        with_keywords(code, c, [keyword_text(code, x) for x in c.keywords if x is not k] + entries)
        for c, k in uses
    ]
    return code.edit(code.replace(s, "pass"), *edits)


@mutation(True)
def dict_call(code: Code, random: Random) -> str | None:
    s = pick(random, _displays(code))
    if s is None:
        return None
    entries = [
        f"{k.value}={code.code(v)}" for k, v in zip(s.value.keys, s.value.values, strict=True)
    ]
    return code.edit(code.replace(s.value, f"dict({', '.join(entries)})"))


@mutation(True)
def dict_entry_set_later(code: Code, random: Random) -> str | None:
    """The last entry of a dict display is set by a statement of its own."""
    s = pick(random, _displays(code))
    if s is None:
        return None
    *rest, (key, value) = zip(s.value.keys, s.value.values, strict=True)
    made = "{" + ", ".join(f"{code.code(k)}: {code.code(v)}" for k, v in rest) + "}"
    name, value = s.targets[0].id, code.code(value)
    later = random.choice(
        [
            f'{name}["{key.value}"] = {value}',
            f'{name}.update({{"{key.value}": {value}}})',
            f'{name}.setdefault("{key.value}", {value})',
            f'{name} |= {{"{key.value}": {value}}}',
        ]
    )
    return code.edit(code.instead(s, f"{name} = {made}\n{later}"))


@mutation(True)
def positional_trainer(code: Code, random: Random) -> str | None:
    call = pick(
        random, [c for c in code.calls if dotted(c.func).endswith("Trainer") and not c.args]
    )
    names = [k.arg for k in call.keywords] if call else []
    if names[:1] != ["model"]:
        return None
    first = [
        code.code(k.value)
        for k in call.keywords[: 2 if names[1] == "args" and random.random() < 0.5 else 1]
    ]
    return code.edit(
        with_keywords(
            code, call, first + [keyword_text(code, k) for k in call.keywords[len(first) :]]
        )
    )


@mutation(True)
def named_positional(code: Code, random: Random) -> str | None:
    calls = [c for c in code.calls if dotted(c.func).endswith(".from_pretrained") and c.args]
    call = pick(random, calls)
    if call is None:
        return None
    a, _ = code.span(call.args[0])
    return code.edit((a, a, "pretrained_model_name_or_path="))


@mutation(True)
def extra_keyword(code: Code, random: Random) -> str | None:
    """A new argument in one call; the recorder takes it as it is, so both scripts must pass it."""
    calls = [
        c
        for c in code.calls
        if c.keywords and re.search(r"from_|Trainer|load_dataset", dotted(c.func))
    ]
    call = pick(random, calls)
    if call is None:
        return None
    a, _ = keywords_span(code, call)
    return code.edit(
        (a, a, f"new_option_{random.randrange(9)}={random.choice(['1', 'None', 'not False'])}, ")
    )

"""Argument classes: fields, their defaults and order, bases and decorators."""

from __future__ import annotations

import ast
import re
from random import Random

from tests.fuzz.mutations.code import Code
from tests.fuzz.mutations.common import fresh, mutation, pick


def _classes(code: Code) -> list[ast.ClassDef]:
    return [n for n in code.tree.body if isinstance(n, ast.ClassDef) and n.decorator_list]


def _fields(code: Code) -> list[ast.AnnAssign]:
    return [s for c in _classes(code) for s in c.body if isinstance(s, ast.AnnAssign)]


@mutation(False)
def annotations_restyled(code: Code, random: Random) -> str | None:
    """``Optional[str]`` ↔ ``str | None``. The parser sees the same, the recorder another type."""
    edits = []
    for f in _fields(code):
        text = code.code(f.annotation)
        if found := re.fullmatch(r"Optional\[(\w+)\]", text):
            edits.append(
                code.replace(
                    f.annotation, random.choice((f"{found[1]} | None", f"None | {found[1]}"))
                )
            )
        elif found := re.fullmatch(r"(\w+) \| None", text):
            edits.append(code.replace(f.annotation, f'"{text}"'))
    return code.edit(*edits) if edits else None


@mutation(False)
def future_annotations(code: Code, random: Random) -> str | None:
    first = next((n for n in code.tree.body if isinstance(n, (ast.Import, ast.ImportFrom))), None)
    if first is None or "__future__" in code.text:
        return None
    return code.edit(code.before(first, "from __future__ import annotations\n"))


@mutation(False)
def field_to_plain_default(code: Code, random: Random) -> str | None:
    found = [
        f
        for f in _fields(code)
        if isinstance(f.value, ast.Call) and any(k.arg == "default" for k in f.value.keywords)
    ]
    found += [f for f in found if f.target.id == "trust_remote_code"] * 5
    if (f := pick(random, found)) is None:
        return None
    default = next(k.value for k in f.value.keywords if k.arg == "default")
    return code.edit(code.replace(f.value, code.code(default)))


@mutation(True)
def field_default_factory(code: Code, random: Random) -> str | None:
    found = [
        k
        for f in _fields(code)
        if isinstance(f.value, ast.Call)
        for k in f.value.keywords
        if k.arg == "default"
    ]
    if (k := pick(random, found)) is None:
        return None
    return code.edit(
        (code.span(k)[0], code.span(k.value)[1], f"default_factory=lambda: {code.code(k.value)}")
    )


@mutation(True)
def fields_reordered(code: Code, random: Random) -> str | None:
    pairs = [
        (a, b)
        for c in _classes(code)
        for a, b in zip(c.body, c.body[1:], strict=False)
        if isinstance(a, ast.AnnAssign) and isinstance(b, ast.AnnAssign)
    ]
    if (pair := pick(random, pairs)) is None:
        return None
    a, b = pair
    return code.edit(code.replace(a, code.code(b)), code.replace(b, code.code(a)))


@mutation(False)
def field_default_changed(code: Code, random: Random) -> str | None:
    found = [
        k.value
        for f in _fields(code)
        if isinstance(f.value, ast.Call)
        for k in f.value.keywords
        if k.arg == "default" and isinstance(k.value, ast.Constant)
    ]
    if (v := pick(random, found)) is None:
        return None
    return code.edit(code.replace(v, {True: "False", False: "True"}.get(v.value, "None")))


@mutation(False)
def field_added(code: Code, random: Random) -> str | None:
    if (f := pick(random, _fields(code))) is None:
        return None
    name = random.choice(
        [
            "attn_implementation",
            "max_length",
            "test_file",
            "prompt_column",
            "lora_rank",
            "num_beams",
            "eval_split_name",
            "trust_remote_code",
            "max_predict_samples",
        ]
    )
    if re.search(rf"\b{name}\b", code.text):
        return None
    return code.edit(
        code.after(f, f'{name}: str = field(default=None, metadata={{"help": "New."}})')
    )


@mutation(False)
def field_dropped(code: Code, random: Random) -> str | None:
    fields = _fields(code)
    likely = [
        f
        for f in fields
        if f.target.id
        in (
            "block_size",
            "trust_remote_code",
            "train_file",
            "model_name_or_path",
            "max_train_samples",
            "streaming",
        )
    ]
    f = pick(random, fields + likely * 2)
    return code.edit(code.replace(f, "pass")) if f else None


@mutation(False)
def field_renamed(code: Code, random: Random) -> str | None:
    f = pick(random, _fields(code))
    if f is None:
        return None
    return re.sub(rf"\b{f.target.id}\b", fresh(code, random, "renamed_argument"), code.text)


@mutation(True)
def base_class(code: Code, random: Random) -> str | None:
    """An argument class that already has a base."""
    if (c := pick(random, _classes(code))) is None or c.bases:
        return None
    name = fresh(code, random, "BaseArguments", "CommonArguments")
    head = re.compile(rb"class\s+\w+(\(\))?(?=\s*:)").search(code.bytes, code.starts[c.lineno - 1])
    kind = random.choice(["", "@dataclass\n"]) if "import dataclass" in code.text else ""
    return code.edit(
        code.before(c, f"{kind}class {name}:\n    pass\n\n\n"),
        (head.end(), head.end(), f"({name})"),
    )


@mutation(False)
def decorated(code: Code, random: Random) -> str | None:
    """``@dataclass`` → ``@dataclass(kw_only=…)``, ``@record`` on main()."""
    if code.main and random.random() < 0.5:
        new = code.edit(code.before(code.main, "@record"))
        return new.replace(
            "import torch\n", "import torch\nfrom functools import partial as record\n", 1
        )
    if (c := pick(random, _classes(code))) is None:
        return None
    options = random.choice(["", "kw_only=True", "eq=False", "repr=False", "order=False"])
    return code.edit(
        code.replace(c.decorator_list[0], f"{code.code(c.decorator_list[0])}({options})")
    )

"""Drift that upstream has not had yet: small rewrites of a training script's text.

Each mutation takes a ``Code`` and a ``random.Random`` (hypothesis can draw one) and returns the new
text, or None where it finds nothing to do. ``preserving`` says that the script behaves as before.
What is not rewritten keeps its text: positions come from ast, edits are made on the bytes.
"""

from __future__ import annotations

import ast
import copy
import io
import re
import textwrap
import tokenize
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

Edit = tuple[int, int, str]


ROLES = (
    (
        ("model_args", "data_args", "training_args"),
        r"(\w+), (\w+), (\w+)\)? = \w+\.parse_args_into",
    ),
    (("model",), r"(\w+) = AutoModelForCausalLM\.from_pretrained\("),
    (("tokenizer",), r"(\w+) = AutoTokenizer\.from_pretrained\("),
    (("config",), r"(\w+) = AutoConfig\.from_pretrained\("),
    (("config_kwargs",), r"AutoConfig\.from_pretrained\([^)]*\*\*(\w+)"),
    (("tokenizer_kwargs",), r"AutoTokenizer\.from_pretrained\([^)]*\*\*(\w+)"),
    (("trainer",), r"(\w+) = Trainer\("),
    (("kwargs",), r"push_to_hub\(\*\*(\w+)"),
    (("raw_datasets",), r"(\w+) = load_dataset\("),
    (("column_names",), r"(\w+) = list\(<raw_datasets>"),
    (("tokenized_datasets",), r"(\w+) = <raw_datasets>\.map\("),
    (("lm_datasets",), r"(\w+) = <tokenized_datasets>\.map\("),
    (("train_dataset",), r"(\w+) = <lm_datasets>\[.train.\]"),
    (("eval_dataset",), r"(\w+) = <lm_datasets>\[.validation.\]"),
)


class Code:
    """A script's text and tree, with positions."""

    def __init__(self, text: str):
        self.text = text
        self.bytes = text.encode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(text)
        starts, at = [], 0
        for line in self.bytes.splitlines(keepends=True):
            starts.append(at)
            at += len(line)
        self.starts = [*starts, at]

    def span(self, node: ast.AST) -> tuple[int, int]:
        first = min([(node.lineno, node.col_offset), *_decorators(node)])
        return (
            self.starts[first[0] - 1] + first[1],
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def code(self, node: ast.AST) -> str:
        a, b = self.span(node)
        return self.bytes[a:b].decode()

    def edit(self, *edits: Edit) -> str:
        out = self.bytes
        for a, b, new in sorted(edits, reverse=True):
            out = out[:a] + new.encode() + out[b:]
        return out.decode()

    def replace(self, node: ast.AST, new: str) -> Edit:
        return (*self.span(node), new)

    def indent(self, node: ast.stmt) -> str:
        return " " * node.col_offset

    def before(self, statement: ast.stmt, code: str) -> Edit:
        a, _ = self.span(statement)
        return (
            a,
            a,
            code.strip().replace("\n", "\n" + self.indent(statement))
            + "\n"
            + self.indent(statement),
        )

    def after(self, statement: ast.stmt, code: str) -> Edit:
        _, b = self.span(statement)
        newline = self.bytes.find(b"\n", b)  # after a comment on the same line
        b = len(self.bytes) if newline < 0 else newline
        return (b, b, "\n" + textwrap.indent(code.strip(), self.indent(statement)))

    def instead(self, statement: ast.stmt, code: str) -> Edit:
        return self.replace(statement, code.strip().replace("\n", "\n" + self.indent(statement)))

    # -- what is there

    @cached_property
    def main(self) -> ast.FunctionDef | None:
        for n in self.tree.body:
            if isinstance(n, ast.FunctionDef) and self.calls_in(n, "HfArgumentParser"):
                return n
        return None

    def calls_in(self, node: ast.AST, name: str) -> list[ast.Call]:
        return [
            n
            for n in ast.walk(node)
            if isinstance(n, ast.Call) and f".{dotted(n.func)}".endswith(f".{name}")
        ]

    @cached_property
    def roles(self) -> dict[str, str]:
        """What this script calls the things that the best-known one calls model, tokenizer, …"""
        out: dict[str, str] = {}
        for names, pattern in ROLES:
            for name, known in out.items():
                pattern = pattern.replace(f"<{name}>", known)
            if found := re.search(pattern, self.text):
                out.update(zip(names, found.groups(), strict=True))
        return out

    def named(self, code: str) -> str:
        """``code`` with those names in the place of the best-known ones."""
        return re.sub(r"\b[a-z_]+\b", lambda m: self.roles.get(m[0], m[0]), code)

    @cached_property
    def blocks(self) -> list[list[ast.stmt]]:
        """Statement lists of main() and of the if, with and try statements in it."""
        out: list[list[ast.stmt]] = []

        def visit(body: list[ast.stmt]) -> None:
            out.append(body)
            for s in body:
                if isinstance(s, (ast.If, ast.With, ast.Try, ast.For)):
                    for part in ("body", "orelse", "finalbody"):
                        below = getattr(s, part, [])
                        if below and not (part == "orelse" and _is_elif(self, s)):
                            visit(below)

        if self.main:
            visit(self.main.body)
        return out

    @cached_property
    def statements(self) -> list[ast.stmt]:
        return [s for b in self.blocks for s in b]

    @cached_property
    def assigns(self) -> list[ast.Assign]:
        """``name = value`` statements of main()."""
        return [
            s
            for s in self.statements
            if isinstance(s, ast.Assign)
            and len(s.targets) == 1
            and isinstance(s.targets[0], ast.Name)
        ]

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Calls in main() that no f-string holds (ast places those wrongly)."""
        return [n for n in self.plain(self.main) if isinstance(n, ast.Call)] if self.main else []

    def plain(self, node: ast.AST) -> Iterator[ast.AST]:
        yield node
        if not isinstance(node, ast.JoinedStr):
            for child in ast.iter_child_nodes(node):
                yield from self.plain(child)

    def renamed(self, old: str, new: str, within: ast.AST) -> list[Edit]:
        """Edits that rename a variable, function or class."""
        out = []
        for n in self.plain(within):
            if isinstance(n, ast.Name) and n.id == old:
                out.append(self.replace(n, new))
            elif isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == old:
                a, b = self.starts[n.lineno - 1] + n.col_offset, self.span(n)[1]
                found = re.compile(rb"(?:def|class)\s+(?=" + old.encode() + rb"\b)").search(
                    self.bytes, a, b
                )
                out.append((found.end(), found.end() + len(old.encode()), new))
            elif isinstance(n, ast.arg) and n.arg == old:
                a, _ = self.span(n)
                out.append((a, a + len(old.encode()), new))
            elif isinstance(n, ast.JoinedStr) and any(_names(m) == old for m in ast.walk(n)):
                changed = copy.deepcopy(n)
                for m in ast.walk(changed):
                    if isinstance(m, ast.Name) and m.id == old:
                        m.id = new
                out.append(self.replace(n, ast.unparse(changed)))
        return out


def _names(n: ast.AST) -> str | None:
    return n.id if isinstance(n, ast.Name) else None


def _decorators(node: ast.AST) -> list[tuple[int, int]]:
    return [(d.lineno, d.col_offset - 1) for d in getattr(node, "decorator_list", ())]


def _is_elif(code: Code, s: ast.stmt) -> bool:
    if isinstance(s, ast.If) and len(s.orelse) == 1 and isinstance(s.orelse[0], ast.If):
        return code.bytes[code.span(s.orelse[0])[0] :].startswith(b"elif")
    return False


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


Mutate = Callable[[Code, Random], "str | None"]


@dataclass(frozen=True)
class Mutation:
    name: str
    preserving: bool
    run: Mutate


MUTATIONS: dict[str, Mutation] = {}


def mutation(preserving: bool) -> Callable[[Mutate], Mutate]:
    def register(function: Mutate) -> Mutate:
        MUTATIONS[function.__name__] = Mutation(function.__name__, preserving, function)
        return function

    return register


def apply(text: str, name: str, random: Random) -> str | None:
    """The mutated text; None if there is nothing to do, or nothing changes."""
    try:
        new = MUTATIONS[name].run(Code(text), random)
    except SyntaxError:
        return None  # an earlier mutation broke the text on purpose
    if new is None or new == text:
        return None
    if MUTATIONS[name].preserving:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(new, "mutated", "exec")
        except (SyntaxError, ValueError):
            return None  # such as a ``nonlocal`` of nothing
    return new


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


# -- names -------------------------------------------------------------------------------------------


@mutation(True)
def rename_local(code: Code, random: Random) -> str | None:
    if not code.main:
        return None
    names = {
        n.id
        for n in ast.walk(code.main)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    names |= {
        n.name for n in ast.walk(code.main) if isinstance(n, ast.FunctionDef) and n is not code.main
    }
    known = [
        n
        for n in (
            "model",
            "tokenizer",
            "config",
            "trainer",
            "raw_datasets",
            "lm_datasets",
            "data_args",
            "tokenized_datasets",
            "model_args",
            "training_args",
            "train_dataset",
            "eval_dataset",
            "metric",
            "block_size",
            "checkpoint",
        )
        if n in names
    ]
    old = pick(random, sorted(names) + known * 2)
    return code.edit(*code.renamed(old, fresh(code, random), code.main)) if old else None


@mutation(True)
def rename_module_level(code: Code, random: Random) -> str | None:
    names = [n.name for n in code.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    old = pick(random, names)
    if not old:
        return None
    return code.edit(*code.renamed(old, fresh(code, random, "Arguments", "run", "step"), code.tree))


@mutation(True)
def rename_logger(code: Code, random: Random) -> str | None:
    return code.edit(
        *code.renamed("logger", fresh(code, random, "log", "LOG", "_logger"), code.tree)
    )


@mutation(True)
def alias_then_use(code: Code, random: Random) -> str | None:
    """``x = f()`` → ``y = f()``, ``x = y``."""
    s = pick(random, code.assigns)
    if s is None:
        return None
    name = fresh(code, random)
    return code.edit(code.instead(s, f"{name} = {code.code(s.value)}\n{s.targets[0].id} = {name}"))


@mutation(True)
def chained_assignment(code: Code, random: Random) -> str | None:
    s = pick(random, code.assigns)
    if s is None:
        return None
    name, (a, _) = fresh(code, random), code.span(s)
    if random.random() < 0.5:
        a, _ = code.span(s.value)
    return code.edit((a, a, f"{name} = "))


@mutation(True)
def walrus(code: Code, random: Random) -> str | None:
    s = pick(random, code.assigns)
    return code.edit(code.replace(s, f"({s.targets[0].id} := {code.code(s.value)})")) if s else None


@mutation(True)
def annotated_assignment(code: Code, random: Random) -> str | None:
    s = pick(random, code.assigns)
    return code.edit(code.replace(s.targets[0], f"{s.targets[0].id}: object")) if s else None


@mutation(True)
def tuple_assignment(code: Code, random: Random) -> str | None:
    pairs = [
        (a, b)
        for block in code.blocks
        for a, b in zip(block, block[1:], strict=False)
        if a in code.assigns and b in code.assigns and a.targets[0].id not in reads(b)
    ]
    if not (pair := pick(random, pairs)):
        return None
    a, b = pair
    new = f"{a.targets[0].id}, {b.targets[0].id} = {code.code(a.value)}, {code.code(b.value)}"
    return code.edit((code.span(a)[0], code.span(b)[1], new))


@mutation(True)
def callee_alias(code: Code, random: Random) -> str | None:
    """``x = A.load(…)`` → ``load = A.load``, ``x = load(…)``."""
    found = [s for s in code.assigns if isinstance(s.value, ast.Call) and dotted(s.value.func)]
    s = pick(random, found)
    if s is None:
        return None
    func, name = s.value.func, fresh(code, random, "load", "make")
    if isinstance(func, ast.Attribute) and random.random() < 0.5:
        func = func.value
    return code.edit(code.before(s, f"{name} = {code.code(func)}"), code.replace(func, name))


@mutation(True)
def later_reads_alias(code: Code, random: Random) -> str | None:
    """``x = …`` in main()'s own block, and everything after it reads a second name for it."""
    if not code.main:
        return None
    s = pick(random, [s for s in code.main.body if s in code.assigns])
    if s is None:
        return None
    old, name = s.targets[0].id, fresh(code, random)
    later = [t for t in code.main.body if t.lineno > s.lineno]
    if any(
        isinstance(n, ast.Name) and n.id == old and isinstance(n.ctx, ast.Store)
        for t in later
        for n in ast.walk(t)
    ):
        return None
    edits = [e for t in later for e in code.renamed(old, name, t)]
    return code.edit(code.after(s, f"{name} = {old}"), *edits) if edits else None


# -- arguments of calls ------------------------------------------------------------------------------


def _keyword_text(code: Code, k: ast.keyword) -> str:
    return f"{k.arg}={code.code(k.value)}" if k.arg else f"**{code.code(k.value)}"


def _keywords_span(code: Code, call: ast.Call) -> tuple[int, int]:
    first = call.keywords[0]
    a = code.span(first)[0] if first.arg else code.bytes.rindex(b"**", 0, code.span(first.value)[0])
    return a, code.span(call.keywords[-1])[1]


def _ordered(call: ast.Call) -> bool:
    return not call.args or call.args[-1].end_lineno <= call.keywords[0].value.lineno


def _with_keywords(code: Code, call: ast.Call, keywords: list[str]) -> Edit:
    return (*_keywords_span(code, call), ", ".join(keywords))


def _keyword_calls(code: Code, least: int) -> list[ast.Call]:
    calls = [c for c in code.calls if len(c.keywords) >= least and _ordered(c)]
    return calls + [
        c for c in calls if re.search(r"from_|Trainer|load_dataset|\bmap$", dotted(c.func))
    ]


@mutation(True)
def reorder_keywords(code: Code, random: Random) -> str | None:
    call = pick(random, _keyword_calls(code, 2))
    if call is None:
        return None
    texts = [_keyword_text(code, k) for k in call.keywords]
    random.shuffle(texts)
    return code.edit(_with_keywords(code, call, texts))


def _statement_of(code: Code, node: ast.AST) -> ast.stmt | None:
    """The innermost statement of main() around a node, if a statement may go before it."""
    a, b = code.span(node)
    around = [s for s in code.statements if code.span(s)[0] <= a and b <= code.span(s)[1]]
    s = max(around, key=lambda s: code.span(s)[0], default=None)
    return s if isinstance(s, (ast.Assign, ast.Expr)) else None


@mutation(True)
def keywords_to_dict(code: Code, random: Random) -> str | None:
    calls = [c for c in _keyword_calls(code, 1) if _statement_of(code, c) is not None]
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
    rest = [_keyword_text(code, k) for k in call.keywords if k not in moved]
    place = random.randrange(len(rest) + 1)
    rest.insert(place, f"**{name}")
    if random.random() < 0.2:
        rest[place] = f"**{made}"
        return code.edit(_with_keywords(code, call, rest))
    statement = _statement_of(code, call)
    return code.edit(code.before(statement, f"{name} = {made}"), _with_keywords(code, call, rest))


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
    reads_ = [n for n in ast.walk(code.main) if _names(n) == name]
    if not uses or len(reads_) != len(uses) + 1:
        return None
    edits = [
        _with_keywords(
            code, c, [_keyword_text(code, x) for x in c.keywords if x is not k] + entries
        )
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
def dict_copied(code: Code, random: Random) -> str | None:
    s = pick(random, _displays(code))
    if s is None:
        return None
    name, old = s.targets[0].id, fresh(code, random, "common_kwargs", "base_kwargs")
    return code.edit(code.instead(s, f"{old} = {code.code(s.value)}\n{name} = {{**{old}}}"))


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
        _with_keywords(
            code, call, first + [_keyword_text(code, k) for k in call.keywords[len(first) :]]
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
    a, _ = _keywords_span(code, call)
    return code.edit(
        (a, a, f"new_option_{random.randrange(9)}={random.choice(['1', 'None', 'not False'])}, ")
    )


# -- layout ------------------------------------------------------------------------------------------


@mutation(True)
def unparse_all(code: Code, random: Random) -> str | None:
    """No comments, one line a statement."""
    return ast.unparse(code.tree) + "\n"


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


@mutation(True)
def no_comments(code: Code, random: Random) -> str | None:
    lines = code.text.splitlines(keepends=True)
    for t in _tokens(code.text):
        if t.type == tokenize.COMMENT:
            row, col = t.start
            end = "\r\n" if lines[row - 1].endswith("\r\n") else "\n"
            lines[row - 1] = lines[row - 1][:col].rstrip() + end
    return "".join(lines)


@mutation(True)
def single_quotes(code: Code, random: Random) -> str | None:
    edits = []
    for t in _tokens(code.text):
        if (
            t.type == tokenize.STRING
            and re.fullmatch(r'[rb]?"[^"\'\\]*"', t.string)
            and random.random() < 0.9
        ):
            a = code.starts[t.start[0] - 1] + len(t.line[: t.start[1]].encode())
            edits.append((a, a + len(t.string.encode()), t.string.replace('"', "'")))
    return code.edit(*edits)


@mutation(True)
def one_line_statement(code: Code, random: Random) -> str | None:
    found = [
        s
        for s in code.statements
        if s.end_lineno > s.lineno and isinstance(s, (ast.Assign, ast.Expr))
    ]
    s = pick(random, found)
    return code.edit(code.replace(s, ast.unparse(s))) if s else None


@mutation(True)
def one_argument_a_line(code: Code, random: Random) -> str | None:
    call = pick(random, [c for c in code.calls if c.args or c.keywords])
    if call is None:
        return None
    parts = [code.code(a) for a in call.args] + [_keyword_text(code, k) for k in call.keywords]
    pad = "\n" + " " * random.choice((0, 4, 8, 20))
    comma = random.choice((",", ", # why", ""))
    new = f"{code.code(call.func)}({pad}" + f",{pad}".join(parts) + f"{comma}\n)"
    return (
        code.edit(code.replace(call, new)) if "*" not in code.code(call) or call.keywords else None
    )


@mutation(True)
def windows_newlines(code: Code, random: Random) -> str | None:
    return code.text.replace("\r\n", "\n").replace("\n", "\r\n")


@mutation(True)
def two_space_indent(code: Code, random: Random) -> str | None:
    inside = set()
    for t in _tokens(code.text):
        if t.type == tokenize.STRING:
            inside.update(range(t.start[0] + 1, t.end[0] + 1))
    unit = random.choice(("  ", "\t"))
    return "".join(
        line if i in inside else re.sub(r"^(?:    )+", lambda m: unit * (len(m[0]) // 4), line)
        for i, line in enumerate(code.text.splitlines(keepends=True), 1)
    )


@mutation(True)
def semicolons(code: Code, random: Random) -> str | None:
    pairs = [
        (a, b)
        for block in code.blocks
        for a, b in zip(block, block[1:], strict=False)
        if isinstance(a, (ast.Assign, ast.Expr))
        and isinstance(b, (ast.Assign, ast.Expr))
        and b"#" not in code.bytes[code.span(a)[1] : code.span(b)[0]]
    ]
    if not (pair := pick(random, pairs)):
        return None
    return code.edit((code.span(pair[0])[1], code.span(pair[1])[0], "; "))


@mutation(True)
def odd_layout(code: Code, random: Random) -> str | None:
    which = random.randrange(5)
    if which == 0:
        return "\ufeff" + code.text if not code.text.startswith("\ufeff") else None
    if which == 1:
        return code.text.rstrip("\n")
    if which == 2:
        return "\n\n" + code.text
    if which == 3:
        return code.text + "\n\n# the end\n"
    s = pick(random, code.statements)
    return (
        code.edit((code.span(s)[0], code.span(s)[0], "# a comment\n\n" + code.indent(s)))
        if s
        else None
    )


# -- statements --------------------------------------------------------------------------------------


def _free(code: Code, s: ast.stmt) -> bool:
    """May the statement stand in another block?"""
    return not any(
        isinstance(n, (ast.Return, ast.Break, ast.Continue, ast.Nonlocal)) for n in ast.walk(s)
    ) and (not code.code(s).startswith("elif"))


def _nested(code: Code, s: ast.stmt, opening: str, closing: str = "") -> str:
    """``opening``, the statement one level in, ``closing``; not where a string has line breaks."""
    body = code.bytes[code.span(s)[0] : code.span(s)[1]].decode()
    body = "    " + body.replace("\n", "\n    ")
    return code.edit(code.replace(s, f"{opening}\n{code.indent(s)}{body}{closing}"))


def _no_long_strings(code: Code, s: ast.stmt) -> bool:
    return '"""' not in code.code(s)


@mutation(True)
def wrapped(code: Code, random: Random) -> str | None:
    s = pick(random, [s for s in code.statements if _free(code, s) and _no_long_strings(code, s)])
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
            else _imported(_nested(code, s, "with contextlib.nullcontext():"), "contextlib")
        )
    return _imported(
        _nested(code, s, opening, closing), "contextlib" if "contextlib" in opening else ""
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
    s = pick(random, [s for s in code.statements if _free(code, s) and _no_long_strings(code, s)])
    if s is None or (args := _data_args(code)) is None or not _after_parse(code, s):
        return None
    body = "    " + code.code(s).replace("\n", "\n    ")
    pad = code.indent(s)
    return code.edit(code.replace(s, f"if {args}.streaming:\n{pad}{body}\n{pad}else:\n{pad}{body}"))


def _parse(code: Code) -> list[str]:
    for s in code.statements:
        if isinstance(s, ast.Assign) and "parse_args_into_dataclasses" in code.code(s):
            return [n.id for n in ast.walk(s.targets[0]) if isinstance(n, ast.Name)]
    return []


def _data_args(code: Code) -> str | None:
    names = _parse(code)
    classes = code.calls_in(code.tree, "HfArgumentParser")
    if (
        len(names) != 3
        or not classes
        or not classes[0].args
        or not isinstance(classes[0].args[0], ast.Tuple)
    ):
        return None
    return names[1] if "streaming" in code.text else None


def _after_parse(code: Code, s: ast.stmt) -> bool:
    lines = [c.lineno for c in code.calls if "parse_args_into_dataclasses" in dotted(c.func)]
    return bool(lines) and s.lineno > max(lines)


@mutation(True)
def negated_if(code: Code, random: Random) -> str | None:
    found = [
        s
        for s in code.statements
        if isinstance(s, ast.If)
        and s.orelse
        and not _is_elif(code, s)
        and not code.code(s).startswith("elif")
    ]
    if (s := pick(random, found)) is None:
        return None
    (a, b), (c, d) = ((code.span(x[0])[0], code.span(x[-1])[1]) for x in (s.body, s.orelse))
    one, two = code.bytes[a:b].decode(), code.bytes[c:d].decode()
    return code.edit(code.replace(s.test, f"not ({code.code(s.test)})"), (a, b, two), (c, d, one))


@mutation(True)
def if_to_ternary(code: Code, random: Random) -> str | None:
    found = [
        s
        for s in code.statements
        if isinstance(s, ast.If)
        and len(s.body) == len(s.orelse) == 1
        and all(isinstance(x, ast.Assign) for x in (s.body[0], s.orelse[0]))
        and ast.dump(s.body[0].targets[0]) == ast.dump(s.orelse[0].targets[0])
        and not code.code(s).startswith("elif")
    ]
    if (s := pick(random, found)) is None:
        return None
    one, two = (code.code(x.value) for x in (s.body[0], s.orelse[0]))
    return code.edit(
        code.instead(
            s, f"{code.code(s.body[0].targets[0])} = ({one}) if {code.code(s.test)} else ({two})"
        )
    )


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
        and _statement_of(code, c) is not None
    ]
    if (one := pick(random, found)) is None:
        return None
    name, s = fresh(code, random), _statement_of(code, one[0])
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
        if _free(code, s) and _no_long_strings(code, s) and not isinstance(s, ast.FunctionDef)
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
def tail_function(code: Code, random: Random) -> str | None:
    """main() ends early and calls a function of its own for the rest."""
    if not code.main or len(code.main.body) < 8:
        return None
    body = code.main.body
    cut = random.randrange(len(body) // 2, len(body))
    rest = body[cut:]
    local = {
        n.id
        for n in ast.walk(code.main)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    local |= {n.name for n in ast.walk(code.main) if isinstance(n, ast.FunctionDef)} - {
        code.main.name
    }
    first = {
        n.id
        for s in body[:cut]
        for n in ast.walk(s)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    if any(
        n.id not in first
        for s in rest
        for n in ast.walk(s)
        if isinstance(n, ast.Name) and n.id in local and n.id.endswith("dataset")
    ):
        return None
    taken = sorted(set().union(*(reads(s) for s in rest)) & local & first)
    if any(set(MAYBE_UNBOUND) & reads(s) & local for s in rest):
        return None
    name = fresh(code, random, "finish", "train_and_evaluate")
    a, b = code.span(rest[0])[0], code.span(rest[-1])[1]
    text = code.bytes[a:b].decode()
    function = f"def {name}({', '.join(taken)}):\n    {text}\n\n\n"
    start = code.span(code.main)[0]
    return code.edit((start, start, function), (a, b, f"{name}({', '.join(taken)})"))


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
def function_moved_in(code: Code, random: Random) -> str | None:
    found = [
        s
        for s in code.tree.body
        if isinstance(s, ast.FunctionDef) and code.main and s.lineno < code.main.lineno
    ]
    if (s := pick(random, found)) is None:
        return None
    return code.edit(code.before(code.main.body[0], code.code(s) + "\n"), code.replace(s, "pass"))


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
        s, name = _statement_of(code, call), fresh(code, random, "classes")
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


# -- imports -----------------------------------------------------------------------------------------

IMPORTANT = (
    "AutoConfig",
    "AutoTokenizer",
    "AutoModelForCausalLM",
    "HfArgumentParser",
    "Trainer",
    "load_dataset",
    "TrainingArguments",
    "default_data_collator",
    "field",
    "dataclass",
    "CaptureLogger",
    "set_seed",
)


def _from_imports(code: Code) -> list[tuple[ast.ImportFrom, ast.alias]]:
    return [
        (n, a)
        for n in code.tree.body
        if isinstance(n, ast.ImportFrom)
        for a in n.names
        if not a.asname and a.name in IMPORTANT
    ]


def _rewritten(code: Code, node: ast.ImportFrom, alias: ast.alias, instead: str) -> Edit:
    rest = [a.name + (f" as {a.asname}" if a.asname else "") for a in node.names if a is not alias]
    kept = f"from {node.module} import {', '.join(rest)}\n" if rest else ""
    return code.replace(node, kept + instead)


@mutation(True)
def import_split(code: Code, random: Random) -> str | None:
    if (one := pick(random, _from_imports(code))) is None:
        return None
    return code.edit(_rewritten(code, *one, f"from {one[0].module} import {one[1].name}"))


@mutation(True)
def import_as(code: Code, random: Random) -> str | None:
    if (one := pick(random, _from_imports(code))) is None:
        return None
    node, alias = one
    new = fresh(code, random, f"HF{alias.name}", f"_{alias.name}")
    edits = [e for n in code.tree.body if n is not node for e in code.renamed(alias.name, new, n)]
    return code.edit(
        _rewritten(code, node, alias, f"from {node.module} import {alias.name} as {new}"), *edits
    )


@mutation(True)
def import_module(code: Code, random: Random) -> str | None:
    """``from m import x`` → ``import m`` (or ``import m as n``), ``m.x``."""
    if (one := pick(random, _from_imports(code))) is None:
        return None
    node, alias = one
    short = fresh(code, random, "tr", "hf", "dl") if random.random() < 0.4 else ""
    line = f"import {node.module} as {short}" if short else f"import {node.module}"
    edits = [
        e
        for n in code.tree.body
        if n is not node
        for e in code.renamed(alias.name, f"{short or node.module}.{alias.name}", n)
    ]
    if any(
        isinstance(n, ast.Name) and n.id == node.module and isinstance(n.ctx, ast.Store)
        for n in ast.walk(code.tree)
    ):
        return None
    return code.edit(_rewritten(code, node, alias, line), *edits)


@mutation(True)
def import_submodule(code: Code, random: Random) -> str | None:
    found = [(n, a) for n, a in _from_imports(code) if n.module == "datasets"]
    if (one := pick(random, found)) is None:
        return None
    return code.edit(_rewritten(code, *one, f"from datasets.load import {one[1].name}"))


@mutation(True)
def import_in_main(code: Code, random: Random) -> str | None:
    found = [
        (n, a)
        for n, a in _from_imports(code)
        if code.main and not any(a.name in reads(s) for s in code.tree.body if s is not code.main)
    ]
    if (one := pick(random, found)) is None:
        return None
    node, alias = one
    rest = [a.name for a in node.names if a is not alias]
    kept = f"from {node.module} import {', '.join(rest)}" if rest else "pass"
    return code.edit(
        code.replace(node, kept),
        code.before(code.main.body[0], f"from {node.module} import {alias.name}"),
    )


@mutation(True)
def import_in_try(code: Code, random: Random) -> str | None:
    found = [
        n
        for n in code.tree.body
        if isinstance(n, (ast.ImportFrom, ast.Import))
        and code.main
        and n.lineno < code.main.lineno
        and "__future__" not in code.code(n)
    ]
    if (n := pick(random, found)) is None:
        return None
    body = "    " + code.code(n).replace("\n", "\n    ")
    return code.edit(
        code.replace(
            n, f"try:\n{body}\nexcept ImportError as error:\n    raise SystemExit(1) from error"
        )
    )


@mutation(True)
def imports_reordered(code: Code, random: Random) -> str | None:
    found = [n for n in code.tree.body if isinstance(n, (ast.ImportFrom, ast.Import))]
    if len(found) < 2:
        return None
    texts = [code.code(n) for n in found]
    random.shuffle(texts)
    if any("__future__" in t for t in texts):
        return None
    return code.edit(*(code.replace(n, t) for n, t in zip(found, texts, strict=True)))


# -- argument classes --------------------------------------------------------------------------------


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


@mutation(True)
def field_arguments_reordered(code: Code, random: Random) -> str | None:
    found = [
        f.value
        for f in _fields(code)
        if isinstance(f.value, ast.Call) and len(f.value.keywords) > 1
    ]
    if (call := pick(random, found)) is None:
        return None
    texts = [_keyword_text(code, k) for k in call.keywords]
    return code.edit(_with_keywords(code, call, texts[::-1]))


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
def class_docstring_dropped(code: Code, random: Random) -> str | None:
    found = [
        c.body[0] for c in _classes(code) if isinstance(c.body[0], ast.Expr) and len(c.body) > 1
    ]
    return code.edit(code.replace(s, '"""Arguments."""')) if (s := pick(random, found)) else None


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


# -- more than upstream has, and less ------------------------------------------------------------------

EXTRA = (
    'logger.info("here")',
    "tokenizer.pad_token = tokenizer.eos_token",
    "model.config.use_cache = False",
    "model.gradient_checkpointing_enable()",
    "model = torch.compile(model)",
    "model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=8)",
    "raw_datasets = raw_datasets.shuffle(seed=1)",
    'raw_datasets = raw_datasets.filter(lambda row: row["text"])',
    "raw_datasets = raw_datasets.map(lambda row: row)",
    'raw_datasets["test"] = raw_datasets["validation"]',
    "tokenized_datasets = tokenized_datasets.shuffle(seed=1)",
    'tokenized_datasets = tokenized_datasets.filter(lambda row: row["input_ids"])',
    "lm_datasets = lm_datasets.shuffle(seed=1)",
    "training_args.remove_unused_columns = False",
    "data_args.max_train_samples = 10",
    "data_args.streaming = not data_args.streaming",
    "config.use_cache = False",
    "config = AutoConfig.from_pretrained(model_args.model_name_or_path)",
    "tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)",
    "model = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path)",
    "teacher = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path)\nteacher.eval()",
    "trainer.add_callback(None)",
    "trainer.remove_callback(None)",
    "trainer = Trainer(model=model, args=training_args)",
    "train_dataset = train_dataset.select(range(3)) if training_args.do_train else None",
    "eval_dataset = eval_dataset.map(lambda row: row) if training_args.do_eval else None",
    'with training_args.main_process_first(desc="something"):\n    os.environ.get("X")',
    "block_size = min(block_size, 512)",
    "print(column_names)",
    "assert model is not None",
    "del config",
    "import gc\ngc.collect()",
    'if training_args.do_predict:\n    trainer.predict(lm_datasets["test"])',
    "if training_args.do_eval:\n    trainer.evaluate()",
    "model_args.trust_remote_code = False",
    'config_kwargs["trust_remote_code"] = False',
    'tokenizer_kwargs["padding_side"] = "left"',
    'config_kwargs.pop("revision")',
    'kwargs["language"] = "en"',
    "data_collator = default_data_collator",
    "trainer.model = model",
    "trainer.data_collator = default_data_collator",
    'trainer.train_dataset = raw_datasets["train"]',
    "trainer.train()",
    "return",
    'raise ValueError("no")',
)


@mutation(False)
def statement_added(code: Code, random: Random) -> str | None:
    """Something new, most often where its names are known."""
    if not code.main:
        return None
    new = random.choice(EXTRA)
    names = reads(ast.parse(new)) & {
        "model",
        "tokenizer",
        "config",
        "raw_datasets",
        "trainer",
        "lm_datasets",
        "tokenized_datasets",
        "training_args",
        "data_args",
        "model_args",
        "block_size",
        "train_dataset",
        "eval_dataset",
        "column_names",
        "config_kwargs",
        "tokenizer_kwargs",
        "kwargs",
    }
    place = [
        s
        for s in (code.main.body if random.random() < 0.7 else code.statements)
        if not code.code(s).startswith("elif")
    ]
    if random.random() < 0.9:
        for name in names:
            lines = [
                n.lineno
                for n in ast.walk(code.main)
                if _names(n) == name and isinstance(n.ctx, ast.Store)
            ]
            place = [s for s in place if lines and s.lineno >= min(lines)]
    s = pick(random, place)
    return code.edit(code.after(s, new)) if s else None


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
    s = pick(random, [s for s in code.statements if _free(code, s) and _no_long_strings(code, s)])
    names = _parse(code)
    if s is None or len(names) != 3 or not _after_parse(code, s):
        return None
    test = random.choice(
        [
            f"{names[2]}.do_train",
            f"not {names[1]}.streaming",
            f"{names[0]}.model_name_or_path",
            f"{names[2]}.should_log",
        ]
    )
    return _nested(code, s, f"if {test}:")


@mutation(False)
def keyword_dropped(code: Code, random: Random) -> str | None:
    calls = [c for c in _keyword_calls(code, 1)]
    if (call := pick(random, calls)) is None:
        return None
    gone = random.choice(call.keywords)
    rest = [_keyword_text(code, k) for k in call.keywords if k is not gone]
    return code.edit(_with_keywords(code, call, rest)) if rest else None


@mutation(False)
def keyword_changed(code: Code, random: Random) -> str | None:
    found = [k.value for c in code.calls for k in c.keywords if k.arg]
    if (v := pick(random, found)) is None:
        return None
    return code.edit(code.replace(v, random.choice(["None", "True", "False", "[]"])))


@mutation(False)
def keyword_added(code: Code, random: Random) -> str | None:
    wanted = {
        "from_pretrained": [
            "trust_remote_code=False",
            "trust_remote_code=True",
            "trust_remote_code=None",
            "attn_implementation=None",
            "empty_init=True",
        ],
        "from_config": ["trust_remote_code=False", "attn_implementation=None"],
        "Trainer": [
            "callbacks=[]",
            "optimizers=(None, None)",
            "model_init=lambda: model",
            "compute_loss_func=None",
        ],
        "map": ["writer_batch_size=10", "fn_kwargs={}"],
        "train": ["trial=None"],
        "evaluate": ["eval_dataset=eval_dataset", 'metric_key_prefix="eval"'],
    }
    calls = [(c, dotted(c.func).rpartition(".")[2]) for c in code.calls]
    found = [(c, n) for c, n in calls if n in wanted]
    if (one := pick(random, found)) is None:
        return None
    call, name = one
    new = random.choice(wanted[name])
    if new.partition("=")[0] in [k.arg for k in call.keywords]:
        return None
    _, b = code.span(call)
    inner = code.bytes[code.span(call.func)[1] : b - 1].decode().rstrip()
    comma = "" if inner.endswith(("(", ",")) else ", "
    return code.edit((b - 1, b - 1, comma + new))


@mutation(False)
def class_swapped(code: Code, random: Random) -> str | None:
    """Another class of transformers in the place of one that matters."""
    old, new = random.choice(
        [
            ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"),
            ("AutoModelForCausalLM", "AutoModelForVision2Seq"),
            ("AutoTokenizer", "AutoProcessor"),
            ("Trainer", "Seq2SeqTrainer"),
            ("Trainer", "SFTTrainer"),
            ("AutoModelForCausalLM", "AutoModel"),
            ("HfArgumentParser", "TrlParser"),
            ("AutoConfig", "LlamaConfig"),
            ("TrainingArguments", "Seq2SeqTrainingArguments"),
            ("default_data_collator", "DataCollatorWithPadding"),
        ]
    )
    return re.sub(rf"\b{old}\b", new, code.text)


@mutation(False)
def trainer_subclass(code: Code, random: Random) -> str | None:
    call = pick(random, [c for c in code.calls if dotted(c.func) == "Trainer"])
    if call is None:
        return None
    name = fresh(code, random, "CustomTrainer", "AdapterTrainer", "CLMTrainer")
    body = random.choice(
        [
            "pass",
            "def compute_loss(self, *args, **kwargs):\n        return super().compute_loss(*args)",
        ]
    )
    return code.edit(
        code.before(code.main, f"class {name}(Trainer):\n    {body}\n\n\n"),
        code.replace(call.func, name),
    )


@mutation(False)
def definition_added(code: Code, random: Random) -> str | None:
    if not code.main:
        return None
    new = random.choice(
        [
            "class SaveCallback(transformers.TrainerCallback):\n    pass",
            "class AdapterTrainer(Trainer):\n    pass",
            "class CustomTrainer(Trainer):\n    pass",
            "def add_lora(model):\n    return model",
            "def encode_pair(x):\n    return x",
            "def load_model(name):\n    return AutoModelForCausalLM.from_pretrained(name)",
            "def make_tokenizer(name):\n    return AutoTokenizer.from_pretrained(name)",
            "def prepare(raw_datasets):\n    return raw_datasets.map(lambda row: row)",
            "@dataclass\nclass ExtraArguments:\n    extra: int = field(default=1)",
            'os.environ.setdefault("WANDB_DISABLED", "true")',
            "peft = None",
            "LABEL_IGNORED = -100",
            "np = 1",
            "json = None",
            "def encode_prompt(examples):\n    return examples",
        ]
    )
    return code.edit(code.before(code.main, new + "\n\n\n"))


@mutation(False)
def local_shadows(code: Code, random: Random) -> str | None:
    """A local of main() with the name of something that is grafted."""
    if (s := pick(random, code.main.body if code.main else [])) is None:
        return None
    name = random.choice(
        [
            "add_lora",
            "encode_datasets",
            "encode_pair",
            "encode_prompt",
            "stop_ids",
            "AdapterTrainer",
            "PairCollator",
            "predict_responses",
            "zero3_model_kwargs",
            "ResponseAccuracy",
            "AutoModel",
            "os",
            "np",
        ]
    )
    return code.edit(code.after(s, f"{name} = None"))


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


def draw(text: str, random: Random, most: int = 3) -> tuple[str, list[tuple[str, int]]]:
    """Mutate ``text`` one to ``most`` times. Returns the new text, and (name, seed) of each step."""
    count = 1 + sum(random.random() < 0.35 for _ in range(most - 1))
    steps: list[tuple[str, int]] = []
    names = sorted(MUTATIONS)
    for _ in range(40):
        if len(steps) == count:
            break
        name, seed = random.choice(names), random.randrange(1 << 30)
        new = apply(text, name, Random(seed))
        if new is not None:
            text = new
            steps.append((name, seed))
    return text, steps


def replay(text: str, steps: list[tuple[str, int]]) -> str | None:
    """The text after the given steps; None if one of them finds nothing to do."""
    for name, seed in steps:
        new = apply(text, name, Random(seed))
        if new is None:
            return None
        text = new
    return text

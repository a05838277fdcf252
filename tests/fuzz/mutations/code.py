"""A script's text and tree: where things are, and edits of what is there.

What is not rewritten keeps its text: positions come from ast, edits are made on the bytes.
"""

from __future__ import annotations

import ast
import copy
import re
import textwrap
import warnings
from collections.abc import Iterator
from functools import cached_property

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
        word = r"(?<![.\w\"'<])[a-z_]+\b(?!=[^=]|[\"'])"  # no attribute, keyword or string
        return re.sub(word, lambda m: self.roles.get(m[0], m[0]), code)

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
                        if below and not (part == "orelse" and is_elif(self, s)):
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
            elif isinstance(n, ast.JoinedStr) and any(name_of(m) == old for m in ast.walk(n)):
                changed = copy.deepcopy(n)
                for m in ast.walk(changed):
                    if isinstance(m, ast.Name) and m.id == old:
                        m.id = new
                out.append(self.replace(n, ast.unparse(changed)))
        return out


def name_of(n: ast.AST) -> str | None:
    return n.id if isinstance(n, ast.Name) else None


def _decorators(node: ast.AST) -> list[tuple[int, int]]:
    return [(d.lineno, d.col_offset - 1) for d in getattr(node, "decorator_list", ())]


def is_elif(code: Code, s: ast.stmt) -> bool:
    if isinstance(s, ast.If) and len(s.orelse) == 1 and isinstance(s.orelse[0], ast.If):
        return code.bytes[code.span(s.orelse[0])[0] :].startswith(b"elif")
    return False


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def is_store(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)

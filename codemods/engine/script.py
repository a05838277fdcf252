"""The finished script, seen afresh: what every ``verify`` looks at.

Built from the text alone with the standard library's parser; shares nothing with the tree,
the anchors or the edits that made it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property

from .refusal import Candidate, Refusal

PARSERS = ("HfArgumentParser", "LenientArgumentParser")
DATA_READERS = ("load_dataset", "load_files")
MODELS = ("AutoModel", "AutoModelForCausalLM")
MODEL_LOADS = tuple(f"{m}.{how}" for m in MODELS for how in ("from_pretrained", "from_config"))


def walk(node: ast.AST) -> list[ast.AST]:
    """As ``ast.walk``, in half the time: whole scripts are walked here, again and again."""
    found = [node]
    for n in found:
        for value in n.__dict__.values():
            if isinstance(value, list):
                found += [v for v in value if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


class Script:
    def __init__(self, text: str):
        self.text = text
        self.tree = ast.parse(text)
        self.all = walk(self.tree)
        found = [(f".{_called(n.func)}", n) for n in self.all if isinstance(n, ast.Call)]
        self._calls: dict[str, list[tuple[str, ast.Call]]] = {}  # by the last part of the name
        for full, call in sorted(found, key=lambda c: (c[1].lineno, c[1].col_offset)):
            self._calls.setdefault(full.rpartition(".")[2], []).append((full, call))
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.functions = {n.name: n for n in self.tree.body if isinstance(n, ast.FunctionDef)}
        trains = [f for f in self.functions.values() if self.parser_calls(f)]
        if len(trains) != 1:
            raise Refusal("verify: one function that parses the arguments")
        self.main = trains[0]

    @cached_property
    def main_nodes(self) -> list[ast.AST]:
        return walk(self.main)

    @cached_property
    def main_own(self) -> list[ast.AST]:
        """What is in main() itself, and not in what it defines."""
        return list(_own(self.main))

    @cached_property
    def top_own(self) -> list[ast.AST]:
        """What runs at module level, and not in a definition."""
        return list(_own(self.tree))

    @cached_property
    def _main_reads(self) -> dict[str, list[ast.Name]]:
        out: dict[str, list[ast.Name]] = {}
        for n in self.main_nodes:
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                out.setdefault(n.id, []).append(n)
        return out

    @cached_property
    def _unpacked(self) -> set[int]:
        """Identities of what a call in main() unpacks with ``**``."""
        calls = [n for n in self.main_nodes if isinstance(n, ast.Call)]
        return {id(k.value) for n in calls for k in n.keywords if k.arg is None}

    def require(self, holds: object, promise: str, *near: ast.AST) -> None:
        if not holds:
            places = [Candidate(n.lineno, ast.unparse(n).split("\n")[0][:78]) for n in near]
            raise Refusal(
                f"verify: the finished script breaks the promise that {promise}", places or None
            )

    def calls(self, name: str, within: ast.AST | None = None) -> list[ast.Call]:
        """Calls whose dotted name is ``name`` or ends in ``.name``, in source order."""
        known = self._calls.get(name.rpartition(".")[2], ())
        found = [call for full, call in known if full.endswith(f".{name}")]
        return found if within is None else [call for call in found if _is_in(call, within)]

    def parser_calls(self, within: ast.AST) -> list[ast.Call]:
        """Where the parser of the arguments is made: upstream's, or ours in its place."""
        return [call for name in PARSERS for call in self.calls(name, within)]

    def one_call(self, name: str) -> ast.Call:
        found = self.calls(name, self.main)
        self.require(len(found) == 1, f"{name} is called once in {self.main.name}()", *found)
        return found[0]

    def step(self, node: ast.AST) -> ast.stmt:
        return next(s for s in self.main.body if s.lineno <= node.lineno <= s.end_lineno)

    def unconditional(self, call: ast.Call) -> bool:
        """Is the call a statement of main()'s own block, or the value of one?"""
        step = self.step(call)
        return isinstance(step, (ast.Assign, ast.Expr)) and step.value is call

    def assigned(self, call: ast.Call) -> list[str]:
        for n in self.main_nodes:
            if isinstance(n, ast.Assign) and n.value is call:
                return [t.id for t in n.targets if isinstance(t, ast.Name)]
            if isinstance(n, ast.AnnAssign) and n.value is call:
                return [n.target.id] if isinstance(n.target, ast.Name) else []
        return []

    def bindings(self, name: str) -> list[ast.Name]:
        return list(self._stores.get(name, ()))

    @cached_property
    def _stores(self) -> dict[str, list[ast.Name]]:
        """Name → where main() binds or deletes it."""
        out: dict[str, list[ast.Name]] = {}
        for n in self.main_nodes:
            if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load):
                out.setdefault(n.id, []).append(n)
        return out

    def aliases(self, names: Iterable[str]) -> set[str]:
        """``names``, and what main() calls the same things besides (``other = name``)."""
        out = set(names)
        plain = [
            ({dotted(t) for t in getattr(n, "targets", None) or [n.target]}, n.value.id)
            for n in self.main_nodes
            if isinstance(n, (ast.Assign, ast.AnnAssign, ast.NamedExpr))
            and isinstance(n.value, ast.Name)
        ]
        while more := {t for targets, value in plain if value in out for t in targets} - out:
            out |= more
        return out

    def sets(self, *names: str) -> list[ast.AST]:
        """Where main() sets an attribute of that name, whatever it is an attribute of."""
        return [n for n in self.main_nodes if _attribute_set(n) in names]

    def is_bound(self, name: str, node: ast.AST) -> bool:
        """Has main() bound its ``name`` on every way to ``node``? Loops are taken to run."""
        stores, bound, block = self._stores.get(name, ()), False, self.main.body
        first = min((n.lineno for n in stores), default=0)
        while block:
            steps, block = block, None
            for step in steps:
                if _is_in(node, step):
                    bound = bound or (isinstance(step, (ast.For, ast.With)) and _head(step, stores))
                    block = next((b for b in _blocks(step) if _holds(b, node)), None)
                    break
                if step.end_lineno >= first:
                    bound = _after(step, stores, bound)
        return bound

    def keywords(self, call: ast.Call) -> dict[str, ast.expr]:
        """A call's keywords, those out of ``**dict`` displays included."""
        out: dict[str, ast.expr] = {}
        for k in call.keywords:
            if k.arg is not None:
                self.require(k.arg not in out, f"{k.arg} is given once", call)
                out[k.arg] = k.value
                continue
            display = k.value
            if isinstance(display, ast.Name):
                self._only_unpacked(display.id)
                values = [
                    n.value
                    for n in self.main_nodes
                    if isinstance(n, ast.Assign)
                    and any(isinstance(t, ast.Name) and t.id == display.id for t in n.targets)
                ]
                display = values[0] if len(values) == 1 else None
            if isinstance(display, ast.Dict):
                for key, value in zip(display.keys, display.values, strict=True):
                    if isinstance(key, ast.Constant):
                        self.require(key.value not in out, f"{key.value} is given once", call)
                        out[key.value] = value
        return out

    def _only_unpacked(self, name: str) -> None:
        """A dict that is read otherwise than by ** may not hold what its display says."""
        for n in self._main_reads.get(name, ()):
            promise = f"{name} is written once and then only unpacked"
            self.require(id(n) in self._unpacked, promise, n)

    def field(self, cls: str, name: str) -> ast.AnnAssign | None:
        for n in self.classes[cls].body:
            if isinstance(n, ast.AnnAssign) and dotted(n.target) == name:
                return n
        return None

    def bases(self, cls: str) -> list[str]:
        return [dotted(b) for b in self.classes[cls].bases]

    def parsed(self) -> list[str]:
        """Names of the classes given to the parser."""
        found = self.parser_calls(self.main)
        self.require(len(found) == 1, f"one parser is made in {self.main.name}()", *found)
        call = found[0]
        given = call.args[0] if call.args else self.keywords(call).get("dataclass_types")
        self.require(
            isinstance(given, (ast.Tuple, ast.List)), "the parser's classes are listed", call
        )
        return [dotted(e) for e in given.elts]

    @cached_property
    def _groups(self) -> dict[str, str]:
        own = {
            self.argument_class("model_name_or_path"): "model",
            self.argument_class("train_file"): "data",
        }
        roles = [own.get(c, "training") for c in self.parsed()]
        out: dict[str, str] = {}
        parses: list[ast.AST] = []
        for n in self.main_nodes:
            value = dotted(getattr(getattr(n, "value", None), "func", None))
            if not isinstance(n, ast.Assign) or not value.split(".")[-1].startswith("parse_"):
                continue
            parses.append(n)
            target = n.targets[0]
            if isinstance(target, (ast.Tuple, ast.List)):
                for role, element in zip(roles, target.elts, strict=False):
                    name = dotted(element)
                    self.require(out.setdefault(role, name) == name, f"one name for {role}", n)
        self.require(len(out) == 3, "the parser's result is unpacked into three names")
        whole = {dotted(target) for n in parses for target in n.targets} - {""}
        for role, name in out.items():
            made = [s for s in self.main_own if s in parses or self._is_made_of(s, {name, *whole})]
            own = [n for n in self.main_own if n in self.bindings(name)]
            others = [n for n in own if not any(_is_in(n, s) for s in made)]
            self.require(not others, f"{name} is the {role} arguments and nothing else", *others)
        return out

    def _is_made_of(self, step: ast.AST, names: set[str]) -> bool:
        """``name = f(name)`` and the like?"""
        reads = [r for name in names for r in self._main_reads.get(name, ())]
        assigns = isinstance(step, (ast.Assign, ast.AnnAssign, ast.AugAssign))
        return assigns and any(_is_in(r, step) for r in reads)

    def groups(self) -> dict[str, str]:
        """What main() calls the parsed arguments: {"model": …, "data": …, "training": …}."""
        return self._groups

    def loaded(self, cls: str) -> set[str]:
        """Names that a loaded ``cls`` is bound to in main()."""
        calls = self.calls(f"{cls}.from_pretrained", self.main)
        return {name for c in calls for name in self.assigned(c)}

    def model_loads(self) -> list[ast.Call]:
        """Where the script loads a model, pretrained or from a config, in main() or elsewhere."""
        return [call for name in MODEL_LOADS for call in self.calls(name)]

    def loaded_data(self) -> set[str]:
        """Names that loaded data is bound to in main()."""
        calls = [c for name in DATA_READERS for c in self.calls(name, self.main)]
        return {name for c in calls for name in self.assigned(c)}

    def given(self, call: ast.Call, promise: str, *expected: str | set[str]) -> None:
        """Require that a call has just these names for arguments, in this order, all bound."""
        names = [dotted(a) for a in call.args]
        right = len(names) == len(expected) and not call.keywords
        right = right and all(
            name in want if isinstance(want, set) else name == want
            for name, want in zip(names, expected, strict=False)
        )
        self.require(right, promise, call)
        unbound = [n for n in names if n in self._stores and not self.is_bound(n, call)]
        bound = f"{', '.join(unbound)} is bound wherever {dotted(call.func)} is given it"
        self.require(not unbound, bound, call)

    def argument_class(self, field: str) -> str:
        found = [c for c in self.parsed() if c in self.classes and self.field(c, field)]
        self.require(len(found) == 1, f"one argument class defines {field}")
        return found[0]

    def definitions(self) -> dict[str, list[str]]:
        """Every argument the script itself defines → the classes that define it."""
        out: dict[str, list[str]] = {}
        stack = self.parsed()
        for cls in stack:
            if cls in self.classes:
                stack += [b for b in self.bases(cls) if b not in stack]
                for n in self.classes[cls].body:
                    if isinstance(n, ast.AnnAssign):
                        out.setdefault(dotted(n.target), []).append(cls)
        return out

    def arguments(self) -> dict[str, str]:
        """Every command-line argument the script itself defines → its definition (ast.dump)."""
        out: dict[str, str] = {}

        def collect(cls: str) -> None:
            if cls not in self.classes:
                return
            for base in self.bases(cls):
                collect(base)
            for n in self.classes[cls].body:
                if isinstance(n, ast.AnnAssign):
                    out[dotted(n.target)] = ast.dump(n)

        for cls in self.parsed():
            collect(cls)
        return out


def _is_in(node: ast.AST, outer: ast.AST) -> bool:
    start, end = (outer.lineno, outer.col_offset), (outer.end_lineno, outer.end_col_offset)
    return start <= (node.lineno, node.col_offset) and (node.end_lineno, node.end_col_offset) <= end


def _own(function: ast.FunctionDef | ast.Module) -> Iterator[ast.AST]:
    """What is in a function, and not in the functions and classes it defines."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack += ast.iter_child_nodes(node)


def _attribute_set(node: ast.AST) -> str:
    """``b`` of ``a.b = …`` and of ``setattr(a, "b", …)``."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.attr
    if isinstance(node, ast.Call) and dotted(node.func) == "setattr" and len(node.args) > 1:
        return getattr(node.args[1], "value", "")
    return ""


def _blocks(step: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks of a statement that run where it stands (not those of a definition)."""
    if isinstance(step, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return []
    blocks = [getattr(step, part, None) or [] for part in ("body", "orelse", "finalbody")]
    return [*blocks, *(h.body for h in getattr(step, "handlers", ()))]


def _holds(block: list[ast.stmt], node: ast.AST) -> bool:
    return any(_is_in(node, s) for s in block)


def _head(step: ast.For | ast.With, stores: Iterable[ast.Name]) -> bool:
    """Does the first line of a loop or a with statement bind the name?"""
    return any(_is_in(n, step) and not any(_holds(b, n) for b in _blocks(step)) for n in stores)


def _after(step: ast.stmt, stores: Iterable[ast.Name], bound: bool) -> bool:
    """Is the name with these bindings bound after ``step``, if it ``bound`` was before?

    What ends the run or the loop is as good as binding it: nothing follows.
    """
    if isinstance(step, (ast.Return, ast.Raise, ast.Break, ast.Continue)):
        return True
    inside = [n for n in stores if step.lineno <= n.lineno <= step.end_lineno]
    if bound and not inside:
        return True
    if isinstance(step, ast.If):
        return all(_through(b, stores, bound) for b in (step.body, step.orelse))
    if not inside:
        return bound
    if isinstance(step, (ast.For, ast.While, ast.With, ast.Try)):
        bound = bound or (isinstance(step, (ast.For, ast.With)) and _head(step, inside))
        return _through([*step.body, *getattr(step, "orelse", ())], inside, bound)
    if isinstance(step, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        name = inside[0].id
        return bound or any(isinstance(n, ast.Nonlocal) and name in n.names for n in walk(step))
    return not isinstance(inside[-1].ctx, ast.Del)


def _through(block: list[ast.stmt], stores: Iterable[ast.Name], bound: bool) -> bool:
    for step in block:
        bound = _after(step, stores, bound)
    return bound


def _called(func: ast.AST) -> str:
    """``dotted``; of ``f().g`` and the like at least ``.g``, so that no method call hides."""
    if isinstance(func, ast.Attribute):
        return f"{_called(func.value)}.{func.attr}"
    return dotted(func)


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""

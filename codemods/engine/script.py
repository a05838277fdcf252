"""A training script, read once: what is imported, called and bound, and where that runs.

``apply`` reads upstream's text with it, ``verify`` a fresh instance of the finished text. A place is
a meaning: the class that defines ``train_file``, the call that makes the Trainer, the statement
where the model is loaded. Nothing here knows a release, a line or a comment.
"""

from __future__ import annotations

import ast
import platform
from collections.abc import Container, Iterable, Iterator
from functools import cached_property

from .names import Names
from .refusal import Candidate, Refusal, plain

PARSERS = ("transformers.HfArgumentParser", "LenientArgumentParser")
PARSES = ("parse_args_into_dataclasses", "parse_json_file", "parse_yaml_file", "parse_dict")
TRAINERS = ("transformers.Trainer", "AdapterTrainer")
LOADS = ("from_pretrained", "from_config")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None
SCOPES = (*DEFINITIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


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


def dotted(node: ast.AST | None) -> str:
    """``a.b.c`` of names and attributes; of ``f().c`` at least ``.c``; '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def position(node: ast.AST) -> tuple[int, int, int, int]:
    """Sorts nodes as they are read, what is around others first."""
    return node.lineno, node.col_offset, -node.end_lineno, -node.end_col_offset


def string(node: ast.AST | None) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else None


def targets(node: ast.AST) -> list[ast.expr]:
    """The target expressions that a node binds by itself, not by what stands inside it."""
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.withitem):
        return [node.optional_vars] if node.optional_vars else []
    found = getattr(node, "target", None)
    return [found] if isinstance(found, ast.expr) else []


def names_in(target: ast.AST) -> list[str]:
    """The names that a target binds, in a tuple or not."""
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Starred):
        return names_in(target.value)
    elements = target.elts if isinstance(target, (ast.Tuple, ast.List)) else ()
    return [name for element in elements for name in names_in(element)]


def binds(node: ast.AST) -> list[str]:
    """The names that a node binds by itself."""
    if isinstance(node, DEFINITIONS):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [a.asname or a.name.partition(".")[0] for a in node.names]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    return [name for target in targets(node) for name in names_in(target)]


def method_root(node: ast.expr, *methods: str) -> ast.expr:
    """``data`` of ``data.map(…).filter(…)``, whose methods are any or just these."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if methods and node.func.attr not in methods:
            break
        node = node.func.value
    return node


def whole_name(name: str) -> str:
    """The full name of an imported thing; which module of transformers it is in is no matter."""
    first, *parts = name.split(".")
    known = [i for i, part in enumerate(parts) if part[:1].isupper()]
    if first == "transformers" and known:
        return ".".join([first, *parts[known[0] :]])
    return f"datasets.{parts[-1]}" if first == "datasets" and parts else name


def _imported(nodes: Iterable[ast.AST]) -> dict[str, str]:
    out: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for a in node.names:
                first = a.name.partition(".")[0]
                out[a.asname or first] = a.name if a.asname else first
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            out.update({a.asname or a.name: whole_name(module + a.name) for a in node.names})
    return out


class Script:
    """The reading of one text.

    ``grafted`` names definitions at module level that are not upstream's, and not read.
    Raises ``Refusal`` if the text is not Python.
    """

    def __init__(self, text: str, grafted: Container[str] = ()):
        self.text = text
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            where = f" (line {error.lineno})" if getattr(error, "lineno", None) else ""
            python = ".".join(platform.python_version_tuple()[:2])
            hint = f"This is Python {python}: if it is newer Python, run the tool with that"
            raise Refusal(f"upstream's file is not Python{where}", hint=hint) from None
        self.body = [s for s in self.tree.body if getattr(s, "name", None) not in grafted]
        self.nodes = [n for s in self.body for n in walk(s)]
        self._parents = {id(c): n for n in self.nodes for c in ast.iter_child_nodes(n)}
        self.calls = sorted((n for n in self.nodes if isinstance(n, ast.Call)), key=position)
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.functions = {n.name: n for n in self.body if isinstance(n, ast.FunctionDef)}
        self.defined = {s.name for s in self.tree.body if isinstance(s, DEFINITIONS)}
        self._called = {id(c): self.qualified(c.func) or dotted(c.func) for c in self.calls}

    # -- refusing ------------------------------------------------------------------------------

    def candidate(self, node: ast.AST, why: str = "") -> Candidate:
        node = node if hasattr(node, "lineno") else self.statement(node)
        return Candidate(node.lineno, plain(self.code(node)), plain(why))

    def refuse(self, looked_for: str, near: Iterable[ast.AST] = (), hint: str = "") -> Refusal:
        return Refusal(looked_for, [self.candidate(n) for n in [*near][:4]], hint)

    def one(self, found: list, looked_for: str, near: Iterable[Candidate], hint: str = ""):
        if len(found) == 1:
            return found[0]
        if not found:
            raise Refusal(f"found no {looked_for}", [*near][:4], hint)
        raise self.refuse(f"found {len(found)} places, expected one: {looked_for}", found, hint)

    def require(self, holds: object, promise: str, *near: ast.AST) -> None:
        if not holds:
            looked_for = f"verify: the finished script breaks the promise that {promise}"
            raise Refusal(looked_for, [self.candidate(n) for n in near] or None)

    @cached_property
    def _text_lines(self) -> list[bytes]:
        return self.text.encode().split(b"\n")

    def code(self, node: ast.AST) -> str:
        """The text of a node, as it stands there."""
        lines = self._text_lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"\n".join(lines).decode()

    # -- the tree ------------------------------------------------------------------------------

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(id(node))

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """``node`` and what it stands in, inner first."""
        while node is not None:
            yield node
            node = self._parents.get(id(node))

    def inside(self, node: ast.AST, *outer: ast.AST) -> bool:
        known = {id(n) for n in outer}
        return any(id(n) in known for n in self.around(node))

    def own(self, *roots: ast.AST) -> Iterator[ast.AST]:
        """What is below the nodes, but not what is inside definitions and the like."""
        stack = list(roots)
        while stack:
            yield (node := stack.pop())
            if not isinstance(node, SCOPES):
                stack += ast.iter_child_nodes(node)

    def statement(self, node: ast.AST) -> ast.stmt:
        return next(n for n in self.around(node) if isinstance(n, ast.stmt))

    def scope(self, node: ast.AST) -> Scope:
        """The function or class of the module that ``node`` stands in; None at module level."""
        outer = [*self.around(node)][-1]
        return outer if isinstance(outer, DEFINITIONS) and outer is not node else None

    def lines(self, node: ast.AST) -> tuple[int, int]:
        """First and last line of the statement that ``node`` is or stands in; its head alone for a part."""
        step = self.statement(node)
        first = min([step.lineno, *(d.lineno for d in getattr(step, "decorator_list", ()))])
        return first, step.end_lineno

    def where(self, node: ast.AST) -> str:
        """Dotted name of the class or function around ``node``; ``module`` at top level."""
        found = [n.name for n in self.around(node) if isinstance(n, DEFINITIONS)]
        return ".".join(reversed(found)) or "module"

    # -- names ---------------------------------------------------------------------------------

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name of everything imported, wherever, to its full dotted name."""
        return _imported(self.nodes)

    @cached_property
    def module_imports(self) -> dict[str, str]:
        """``imports`` at module level alone."""
        return _imported(self.own(*self.body))

    def qualified(self, node: ast.AST) -> str:
        """Full dotted name of an imported thing; '' for anything else."""
        head, _, rest = dotted(node).partition(".")
        full = self.imports.get(head, "")
        return whole_name(f"{full}.{rest}") if full and rest else full

    def called(self, call: ast.Call) -> str:
        """Full name of what is called; of what is not imported, as it is written."""
        return self._called[id(call)]

    def calls_to(self, *names: str) -> list[ast.Call]:
        return [c for c in self.calls if self._called[id(c)] in names]

    def method_calls(self, *methods: str) -> list[ast.Call]:
        return [c for c in self.calls if getattr(c.func, "attr", None) in methods]

    def sets(self, *names: str) -> list[tuple[ast.AST, ast.expr]]:
        """Where an attribute of one of the names is set, and of what."""
        out = [
            (n, n.value)
            for n in self.nodes
            if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and n.attr in names
        ]
        calls = (c for c in self.calls if self.called(c) == "setattr" and len(c.args) > 1)
        return out + [(c, c.args[0]) for c in calls if string(c.args[1]) in names]

    def uses(self, name: str) -> list[ast.expr]:
        """Where an imported thing is used, by whatever name."""
        return [
            n
            for n in self.nodes
            if isinstance(n, (ast.Name, ast.Attribute)) and self.qualified(n) == name
        ]

    def only_called(self, name: str, *methods: str) -> list[ast.Call]:
        """Calls of an imported function, or of the methods of a class.

        Refusal when it is used otherwise, so that nothing goes by another name.
        """
        for node in self.uses(name):
            above = self.parent(node)
            if isinstance(above, ast.Attribute) and above.attr in methods:
                node, above = above, self.parent(above)
            if not (isinstance(above, ast.Call) and above.func is node):
                raise self.refuse(f"every use of {name} to be a call of it", [node])
        return self.calls_to(*(f"{name}.{m}" for m in methods), *(() if methods else (name,)))

    @cached_property
    def reads(self) -> dict[str, list[ast.Name]]:
        """Name → where it is read."""
        out: dict[str, list[ast.Name]] = {}
        for n in self.nodes:
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                out.setdefault(n.id, []).append(n)
        return out

    @cached_property
    def _bindings(self) -> dict[tuple[int, str], list[ast.AST]]:
        out: dict[tuple[int, str], list[ast.AST]] = {}
        for scope in self.functions.values():
            for node in sorted(
                (n for n in self.own(*scope.body) if binds(n)),
                key=lambda n: position(self.statement(n)),
            ):
                for name in binds(node):
                    out.setdefault((id(scope), name), []).append(node)
            for node in (n for n in walk(scope) if isinstance(n, ast.Nonlocal)):
                inner = next(n for n in self.around(node) if isinstance(n, DEFINITIONS))
                for n in self.own(*inner.body):
                    for name in set(binds(n)) & set(node.names):
                        out.setdefault((id(scope), name), []).append(n)
        return out

    @cached_property
    def _deletions(self) -> dict[tuple[int, str], list[ast.AST]]:
        out: dict[tuple[int, str], list[ast.AST]] = {}
        for n in self.nodes:
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Del):
                out.setdefault((id(self.scope(n)), n.id), []).append(n)
        return out

    def deletions(self, name: str, scope: Scope) -> list[ast.AST]:
        return self._deletions.get((id(scope), name), [])

    def bindings(self, name: str, scope: Scope) -> list[ast.AST]:
        """What binds ``name`` in a function itself, in source order."""
        return self._bindings.get((id(scope), name), [])

    @cached_property
    def names(self) -> Names:
        return Names(self)

    def calls_of(self, function: ast.FunctionDef) -> list[ast.Call]:
        return [c for c in self.calls if self.called(c) == function.name]

    # -- the arguments -------------------------------------------------------------------------

    def near_misses(self, calls: Iterable[ast.Call]) -> Iterator[Candidate]:
        """Calls that are nearly what is looked for, and what they are instead."""
        for c in calls:
            yield self.candidate(c, self.qualified(c.func) or "no import that is seen here")

    @cached_property
    def parser_call(self) -> ast.Call:
        near = self.near_misses(c for c in self.calls if "Parser" in self.called(c))
        return self.one(self.calls_to(*PARSERS), "call of transformers.HfArgumentParser", near)

    @cached_property
    def parsed_classes(self) -> list[str]:
        """Names of the classes given to the parser, in its order."""
        call = self.parser_call
        given = call.args[:1] or [k.value for k in call.keywords if k.arg == "dataclass_types"]
        if given and isinstance(given[0], ast.Name):
            name = given[0].id
            given = [n.value for n in self.nodes if isinstance(n, ast.Assign) and name in binds(n)]
        if len(given) != 1 or not isinstance(given[0], (ast.Tuple, ast.List)):
            looked_for = "the classes given to HfArgumentParser to be a tuple written out"
            raise self.refuse(looked_for, [call])
        return [dotted(e) for e in given[0].elts]

    def field(self, cls: str | ast.ClassDef, name: str) -> ast.AnnAssign | None:
        body = (self.classes[cls] if isinstance(cls, str) else cls).body
        found = (n for n in body if isinstance(n, ast.AnnAssign) and dotted(n.target) == name)
        return next(found, None)

    def bases(self, cls: str) -> list[str]:
        return [dotted(b) for b in self.classes[cls].bases]

    def _argument_class(self, field: str, what: str) -> ast.ClassDef:
        known = [self.classes[c] for c in self.parsed_classes if c in self.classes]
        return self.one(
            [c for c in known if self.field(c, field)],
            f"dataclass with a field {field!r} among the classes given to HfArgumentParser ({what})",
            (self.candidate(c) for c in self.classes.values()),
            "If upstream renamed the field, teach codemods/engine/script.py the new name",
        )

    @cached_property
    def data_class(self) -> ast.ClassDef:
        return self._argument_class("train_file", "the data arguments")

    @cached_property
    def model_class(self) -> ast.ClassDef:
        return self._argument_class("model_name_or_path", "the model arguments")

    @cached_property
    def first_argument_class(self) -> ast.ClassDef:
        return min(self.model_class, self.data_class, key=position)

    @cached_property
    def groups(self) -> tuple[str | None, ...]:
        """What each parsed class holds: the model, data or training arguments, or others."""
        known = {self.model_class.name: "model_args", self.data_class.name: "data_args"}
        roles = [known.get(c) or self._training(c) for c in self.parsed_classes]
        if sorted(filter(None, roles)) != ["data_args", "model_args", "training_args"]:
            looked_for = "HfArgumentParser to be given model, data and training arguments, one each"
            raise self.refuse(looked_for, [self.parser_call])
        return tuple(roles)

    def _training(self, cls: str) -> str | None:
        """Is the class transformers' training arguments, or made of them?"""
        full = self.imports.get(cls, cls)
        bases = self.bases(cls) if cls in self.classes else ()
        is_training = full.startswith("transformers.") and full.endswith("TrainingArguments")
        return "training_args" if is_training or any(map(self._training, bases)) else None

    def definitions(self) -> dict[str, list[tuple[str, ast.AnnAssign]]]:
        """Every argument the script itself defines → the classes that do, bases first, and how."""
        out: dict[str, list[tuple[str, ast.AnnAssign]]] = {}

        def collect(cls: str) -> None:
            for base in self.bases(cls) if cls in self.classes else ():
                collect(base)
            for n in self.classes[cls].body if cls in self.classes else ():
                if isinstance(n, ast.AnnAssign):
                    out.setdefault(dotted(n.target), []).append((cls, n))

        for cls in self.parsed_classes:
            collect(cls)
        return out

    # -- the things a trainer is made of -------------------------------------------------------

    @cached_property
    def trainer_call(self) -> ast.Call:
        near = self.near_misses(c for c in self.calls if "rainer" in self.called(c).split(".")[-1])
        return self.one(self.calls_to(*TRAINERS), "call of transformers.Trainer", near)

    @cached_property
    def main(self) -> ast.FunctionDef:
        """The function of the module that makes the Trainer, or that calls the one that does."""
        found = self.scope(self.trainer_call)
        if not isinstance(found, ast.FunctionDef):
            raise self.refuse("the Trainer to be made in a function", [self.trainer_call])
        seen = []
        while found not in seen:
            seen.append(found)
            above = {self.scope(r) for r in self.reads.get(found.name, ())}
            found = above.pop() if len(above) == 1 and None not in above else found
        return found

    def loads(self, cls: str) -> list[ast.Call]:
        """Calls that load ``transformers.cls``, pretrained or from a config."""
        calls = self.only_called(f"transformers.{cls}", *LOADS, "register")
        return [c for c in calls if c.func.attr in LOADS]

    @cached_property
    def model_loads(self) -> list[ast.Call]:
        """Where the model that is trained is loaded, pretrained or from a config."""
        found = [c for c in self.method_calls(*LOADS) if self.names.made_by(c) == "model"]
        if not any(c.func.attr == "from_pretrained" for c in found):
            raise self.refuse(
                "found no call of from_pretrained of a model class of transformers",
                self.method_calls(*LOADS),
                "The model is expected to be loaded through that class by name",
            )
        return found

    @cached_property
    def data_maps(self) -> list[ast.Call]:
        """Where the loaded data, and what was mapped from it, is mapped."""
        known, found = set(), []
        for call in (c for c in self.calls if isinstance(c.func, ast.Attribute)):
            scope, name = self.scope(call), dotted(method_root(call))
            if (scope, name) in known or "data" in self.names.roles(name, scope):
                found += [call] * (call.func.attr == "map")
                known |= {(scope, n) for n in binds(self.parent(call))}
        return found

    def name(self, role: str, scope: Scope) -> str:
        """What a function calls its model, its tokenizer, …; Refusal if that is not clear."""
        return self.names.one(role, scope)

    # -- values that may stand in a call or in a dict that is handed to it -----------------------

    def keyword(self, call: ast.Call, name: str) -> list[tuple[ast.AST, ast.expr]]:
        """Where a call is given ``name``: (what holds the value, the value).

        The holder is the keyword, the dict display that has the entry, or the assignment to
        ``kwargs["name"]``. Refusal when the call unpacks a dict that is not written out here.
        """
        found = [(k, k.value) for k in call.keywords if k.arg == name]
        for k in call.keywords:
            if k.arg is None:
                found += [(h, v) for h, key, v in self._entries(k.value, call) if key == name]
        return found

    def given(self, call: ast.Call, name: str) -> list[tuple[ast.AST, ast.expr]]:
        """As ``keyword``, for what decides: Refusal when only some runs give the call its ``name``."""
        found, around = self.keyword(call, name), [None, *self.around(call)]
        dicts = [dotted(k.value) for k in call.keywords if k.arg is None]
        bound = [b for d in dicts if (b := self.bindings(d, self.scope(call)))]
        fills = [h for h, _ in found if not self.inside(h, *(n for b in bound for n in b))]
        always = any(self.parent(self.statement(h)) in around for h in fills) or any(
            all(any(self.inside(h, n) for h, _ in found) for n in b) for b in bound
        )
        if found and not always:
            raise self.refuse(f"{name} to be given to this call always or never", [call, *fills])
        return found

    def _entries(self, node: ast.expr, call: ast.Call) -> list[tuple[ast.AST, str, ast.expr]]:
        """Every (holder, key, value) of a dict that is written out, and filled, in this function."""
        if isinstance(node, ast.Dict):
            known = [(node, string(k), v) for k, v in zip(node.keys, node.values, strict=True) if k]
            more = [v for k, v in zip(node.keys, node.values, strict=True) if k is None]
            return known + [e for m in more for e in self._entries(m, call)]
        if isinstance(node, ast.Call) and self.called(node) == "dict":
            known = [(k, k.arg, k.value) for k in node.keywords if k.arg]
            more = [*node.args, *(k.value for k in node.keywords if k.arg is None)]
            return known + [e for m in more for e in self._entries(m, call)]
        if isinstance(node, ast.Name) and (made := self._filled(node.id, call)) is not None:
            return made
        if isinstance(node, ast.Call) and dotted(node.func) == "zero3_model_kwargs":
            return []  # ours, and nobody else's keyword is among them
        raise self.refuse(
            "every ** of this call to be one dict written out in its function",
            [call],
            "Its keywords can't be known otherwise",
        )

    def _filled(self, name: str, call: ast.Call) -> list[tuple[ast.AST, str, ast.expr]] | None:
        """The entries of the dict ``name``; None when it may hold others than are seen here."""
        scope, out = self.scope(call), []
        bound = self.bindings(name, scope)
        if not bound or not all(isinstance(n, (ast.Assign, ast.AnnAssign)) for n in bound):
            return None
        for node in bound:
            out += self._entries(node.value, call)
        for read in (r for r in self.reads.get(name, ()) if self.scope(r) is scope):
            above = self.parent(read)
            if isinstance(above, ast.keyword) and above.arg is None:
                continue
            if isinstance(above, ast.Dict) and above.keys[above.values.index(read)] is None:
                continue
            if isinstance(above, ast.Subscript) and isinstance(
                set_ := self.parent(above), ast.Assign
            ):
                out.append((set_, string(above.slice), set_.value))
            elif getattr(above, "attr", "") == "update" and isinstance(
                self.parent(above), ast.Call
            ):
                update = self.parent(above)
                out += [(k, k.arg, k.value) for k in update.keywords if k.arg]
                rest = [*update.args, *(k.value for k in update.keywords if k.arg is None)]
                out += [e for m in rest for e in self._entries(m, call)]
            elif not self._only_asks(above):
                looked_for = f"{name!r} to be written, filled and unpacked, and nothing else"
                raise self.refuse(looked_for, [self.statement(read), call])
        return out

    def _only_asks(self, above: ast.AST | None) -> bool:
        """``kwargs["a"]``, ``kwargs.get("a")``, ``"a" in kwargs``?"""
        if isinstance(above, ast.Subscript):
            return isinstance(above.ctx, ast.Load)
        return isinstance(above, ast.Compare) or getattr(above, "attr", "") in (
            "get",
            "items",
            "keys",
        )

    # -- where things run ------------------------------------------------------------------------

    def steps(self, node: ast.AST) -> list[ast.stmt]:
        """The statements around ``node``, outer first, each of which runs when the one around does.

        The first stands in its function's own block, a further one in a ``with`` or a ``try``.
        """
        scope = self.scope(node)
        block, out = (scope or self.tree).body, []
        while block:
            out.append(next(s for s in block if self.inside(node, s)))
            block = out[-1].body if isinstance(out[-1], (ast.With, ast.Try)) else []
            block = block if any(self.inside(node, s) for s in block) else []
        return out

    def not_nested(self, node: ast.AST) -> ast.AST:
        """``node``; Refusal when it stands in a definition inside its function."""
        scope = self.scope(node)
        for outer in self.around(node):
            if outer is scope:
                break
            if isinstance(outer, (*DEFINITIONS, ast.Lambda)):
                where = f"{scope.name}()" if scope else "the module"
                raise self.refuse(f"this to stand in {where} itself, not in a definition", [node])
        return node

    def lifted(self, node: ast.AST, *roles: str) -> ast.AST:
        """``node``, or the call that leads to it, in a function that knows things of all ``roles``."""
        while True:
            scope = self.scope(node)
            missing = [r for r in roles if not self.names.all(r, scope)]
            above = self.calls_of(scope) if scope else []
            if not missing or len(above) != 1 or self.scope(above[0]) is None:
                return node
            node = above[0]

"""Which names hold the model, the tokenizer, the data, … in each function of a script.

A name gets its role where something is made (``model = AutoModel….from_pretrained(…)``), and hands
it on: by assignment, as an argument of one of the script's functions, as what such a function
returns. So it does not matter in which function upstream parses, loads or trains.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .nodes import dotted

if TYPE_CHECKING:
    from .nodes import Scope
    from .script import Script

ROLES = {
    "model_args": "model arguments",
    "data_args": "data arguments",
    "training_args": "training arguments",
    "config": "model's config",
    "tokenizer": "tokenizer",
    "model": "model",
    "data": "loaded data",
    "mapped": "mapped data",
    "trainer": "Trainer",
}
# What makes a thing of a role. A role may also be a tuple of roles, or of None.
MAKERS = (
    (r"transformers\.\w*Config\.from_\w+", "config"),
    (r"transformers\.\w*Tokenizer\w*\.from_\w+", "tokenizer"),
    (r"transformers\.\w*(Model|ForCausalLM)\w*\.from_\w+", "model"),
    (r"add_lora", "model"),
    (r"datasets\.load_(dataset|from_disk)|(\w+\.)*load_files", "data"),
    (r"datasets\.(Iterable)?DatasetDict", "data"),
    (r"transformers\.Trainer|AdapterTrainer", "trainer"),
    (r"encode_datasets", "mapped"),
)
DATA = {"data", "mapped"}
Role = str | tuple


class Names:
    def __init__(self, script: Script):
        self.script = script
        self._known: dict[tuple[int, str], dict[Role, None]] = {}
        self._returns = {
            name: [n.value for n in script.own(*f.body) if isinstance(n, ast.Return) and n.value]
            for name, f in script.functions.items()
        }
        assigns = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
        self._assigns = [n for n in script.nodes if isinstance(n, assigns) and n.value]
        self._handed = [c for c in script.calls if script.called(c) in script.functions]
        while self._spread():
            pass

    def roles(self, name: str, scope: Scope) -> list[Role]:
        return list(self._known.get((id(scope), name), ()))

    def is_a(self, role: str, node: ast.expr) -> bool:
        """Is the expression a name of that role where it stands?"""
        return role in self.roles(dotted(node), self.script.scope(node))

    def all(self, role: str, scope: Scope) -> list[str]:
        """Every name of a role in a function."""
        return [n for (s, n), roles in self._known.items() if s == id(scope) and role in roles]

    def all_of(self, roles: Iterable[str], scope: Scope) -> set[str]:
        return {n for role in roles for n in self.all(role, scope)}

    def one(self, role: str, scope: Scope) -> str:
        """The name of a role in a function; Refusal unless there is one, and it is nothing else."""
        found = self.all(role, scope)
        if role == "data" and len(found) > 1:
            found = [n for n in found if self._is_mapped(n, scope)] or found
        where = f"{scope.name}()" if scope else "the module"
        if len(found) != 1:
            looked_for = f"one name for the {ROLES[role]} in {where}, not {len(found)}"
            near = [b for n in found for b in self.script.bindings(n, scope)]
            near = near or self._makers(role)
            raise self.script.refuse(looked_for + (f" ({', '.join(found)})" if found else ""), near)
        others = [
            b for b in self.script.bindings(found[0], scope) if not self._fits(b, found[0], role)
        ]
        if others and role not in ("data", "config"):
            looked_for = f"{found[0]!r} to be the {ROLES[role]} and nothing else"
            raise self.script.refuse(looked_for, others)
        return found[0]

    def _makers(self, role: str) -> list[ast.Call]:
        """Where things of a role, or nearly so, are made."""
        calls = self.script.calls
        made = [
            c
            for c in calls
            if (r := self.made_by(c)) and (role in r if isinstance(r, tuple) else r == role)
        ]
        is_loaded = role in ("config", "tokenizer", "model")
        return made or (
            self.script.method_calls("from_pretrained", "from_config") if is_loaded else []
        )

    def _is_mapped(self, name: str, scope: Scope) -> bool:
        """Is the data of that name mapped here, or handed to a function that does?"""
        script = self.script
        for call in script.data_maps:
            if script.scope(call) is scope and getattr(call.func.value, "id", "") == name:
                return True
        return any(
            isinstance(a, ast.Name) and a.id == name and self._is_mapped(param, function)
            for call in self._handed
            if script.scope(call) is scope
            for function in [script.functions[script.called(call)]]
            for param, a in _parameters(function, call)
        )

    def _fits(self, node: ast.AST, name: str, role: Role) -> bool:
        """Does the binding give the name a thing of the role, or what was made of such a thing?"""
        value, scope = getattr(node, "value", None), self.script.scope(node)
        if isinstance(value, ast.Constant) and value.value is None:
            return True
        if role == "tokenizer" and isinstance(value, ast.Call) and self._is_tokenizer(value):
            return True
        reads = {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        if name in reads or isinstance(node, ast.AugAssign):
            return True
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        return value is not None and any(
            (name, role) in self._given(t, r) for t in targets for r in self._made(value, scope)
        )

    def _is_tokenizer(self, call: ast.Call) -> bool:
        """Is it made by a class of tokenizers that nobody here knows?"""
        *_, last = ("", *self.script.called(call).split("."))
        return last == "from_pretrained" or last.endswith(("Tokenizer", "TokenizerFast"))

    # -- how roles spread ------------------------------------------------------------------------

    def _spread(self) -> bool:
        """Hand every role on by one step; did any name get a new one?"""
        before = sum(map(len, self._known.values()))
        for node in self._assigns:
            scope = self.script.scope(node)
            for role in self._made(node.value, scope):
                for target in getattr(node, "targets", None) or [node.target]:
                    self._give(scope, target, role)
        for call in self._handed:
            function = self.script.functions[self.script.called(call)]
            for param, value in _parameters(function, call):
                for role in self._made(value, self.script.scope(call)):
                    self._known.setdefault((id(function), param), {})[role] = None
        return sum(map(len, self._known.values())) > before

    def _give(self, scope: Scope, target: ast.expr, role: Role) -> None:
        for name, part in self._given(target, role):
            self._known.setdefault((id(scope), name), {})[part] = None

    def _given(self, target: ast.expr | None, role: Role) -> list[tuple[str, Role]]:
        """(name, role) of what a target gets of a thing."""
        if isinstance(target, ast.Name):
            return [(target.id, role)]
        if (
            isinstance(target, ast.Subscript)
            and role == "data"
            and isinstance(target.value, ast.Name)
        ):
            return [(target.value.id, role)]  # a split of it
        if isinstance(target, (ast.Tuple, ast.List)) and isinstance(role, tuple):
            parts = zip(target.elts, role, strict=False)  # the parser may give more
            return [pair for t, r in parts if r for pair in self._given(t, r)]
        return []

    def made_by(self, call: ast.Call) -> Role | None:
        """The role of what a call makes by itself."""
        name = self.script.called(call)
        if name.split(".")[-1].startswith("parse_") and isinstance(call.func, ast.Attribute):
            return self.script.groups
        return next((role for maker, role in MAKERS if re.fullmatch(maker, name)), None)

    def _made(self, node: ast.expr | None, scope: Scope) -> list[Role]:
        """The roles of a value."""
        if isinstance(node, ast.Name):
            return self.roles(node.id, scope)
        if isinstance(node, ast.Tuple):
            parts = [self._made(e, scope) for e in node.elts]
            return [tuple(p[0] if p else None for p in parts)] if any(parts) else []
        if isinstance(node, ast.IfExp):
            return [*self._made(node.body, scope), *self._made(node.orelse, scope)]
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            place, whole = node.slice.value, self._made(node.value, scope)
            parts = [r[place] for r in whole if isinstance(r, tuple) and _is_place(place, r)]
            return [r for r in parts if r]
        if not isinstance(node, ast.Call):
            return []
        if role := self.made_by(node):
            return [role]
        if (name := self.script.called(node)) in self._returns:
            inside = self.script.functions[name]
            return [r for value in self._returns[name] for r in self._made(value, inside)]
        owner = getattr(node.func, "value", None)
        if getattr(node.func, "attr", "") == "map" and DATA & {*self._made(owner, scope)}:
            return ["mapped"]
        return self._made(owner, scope) if isinstance(owner, ast.Call) else []


def _is_place(place: object, role: tuple) -> bool:
    return isinstance(place, int) and 0 <= place < len(role)


def _parameters(function: ast.FunctionDef, call: ast.Call) -> list[tuple[str, ast.expr]]:
    """(parameter, what the call gives it) of a call without * and **."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    plain = (
        []
        if any(isinstance(a, ast.Starred) for a in call.args)
        else zip(names, call.args, strict=False)
    )
    return [*plain, *((k.arg, k.value) for k in call.keywords if k.arg)]

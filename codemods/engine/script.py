"""A training script: its arguments, and what a trainer is made of.

``apply`` reads upstream's text with it, ``verify`` a fresh instance of the finished text. A place is
a meaning: the class that defines ``train_file``, the call that makes the Trainer, the statement
where the model is loaded. Nothing here knows a release, a line or a comment.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property

from .keywords import Keywords
from .names import DATA, Names
from .nodes import Scope, binds, dotted, method_root, position
from .refusal import Candidate

PARSERS = ("transformers.HfArgumentParser", "LenientArgumentParser")
TRAINERS = ("transformers.Trainer", "AdapterTrainer")
LOADS = ("from_pretrained", "from_config")


class Script(Keywords):
    @cached_property
    def names(self) -> Names:
        return Names(self)

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
            if (scope, name) in known or DATA & {*self.names.roles(name, scope)}:
                found += [call] * (call.func.attr == "map")
                known |= {(scope, n) for n in binds(self.parent(call))}
        return found

    def name(self, role: str, scope: Scope) -> str:
        """What a function calls its model, its tokenizer, …; Refusal if that is not clear."""
        return self.names.one(role, scope)

    def lifted(self, node: ast.AST, *roles: str) -> ast.AST:
        """``node``, or the call that leads to it, in a function that knows things of all ``roles``."""
        while True:
            scope = self.scope(node)
            missing = [r for r in roles if not self.names.all(r, scope)]
            above = self.calls_of(scope) if scope else []
            if not missing or len(above) != 1 or self.scope(above[0]) is None:
                return node
            node = above[0]

"""Where things are in upstream's script, told by what they do.

An anchor is a meaning: the class that defines ``train_file``, the name that the tokenizer is
bound to, the call that makes the Trainer. Nothing here knows a release, a line or a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import libcst as cst

from .refusal import Refusal
from .source import Source, children
from .syntax import string

_PARSES = ("parse_args_into_dataclasses", "parse_json_file", "parse_yaml_file", "parse_dict")
_SCOPES = (cst.FunctionDef, cst.ClassDef, cst.Lambda, cst.BaseComp)


def dotted(node: cst.CSTNode) -> str | None:
    """``a.b.c`` for names and attributes of names, else None."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr.value}"
    return None


_TARGETS = {
    cst.Assign: lambda n: [t.target for t in n.targets],
    **dict.fromkeys(
        (cst.AnnAssign, cst.AugAssign, cst.For, cst.CompFor, cst.NamedExpr), lambda n: [n.target]
    ),
    cst.WithItem: lambda n: [n.asname.name] if n.asname else [],
    cst.ExceptHandler: lambda n: [n.name.name] if n.name else [],
    **dict.fromkeys((cst.FunctionDef, cst.ClassDef), lambda n: [n.name]),
}


def _targets(node: cst.CSTNode) -> list[cst.CSTNode]:
    """The target expressions that a node binds by itself (not by what stands inside it)."""
    find = _TARGETS.get(type(node))
    return find(node) if find else []


def _names_in(target: cst.CSTNode) -> Iterator[cst.Name]:
    if isinstance(target, cst.Name):
        yield target
    elif isinstance(target, (cst.Tuple, cst.List)):
        for element in target.elements:
            yield from _names_in(element.value)


def own_nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """``node`` and what is below it, but not what is inside nested functions or classes."""
    yield node
    stack = list(reversed(list(children(node))))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, _SCOPES):
            stack.extend(reversed(list(children(node))))


class Anchors:
    """Lazily found places of one Source; each raises Refusal when it isn't there or not unique."""

    def __init__(self, source: Source):
        self.source = source
        self.calls = [n for n in source.nodes if isinstance(n, cst.Call)]

    # -- names ---------------------------------------------------------------------------------

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name of everything imported, wherever, to its full dotted name."""
        out: dict[str, str] = {}
        for node in self.source.nodes:
            if isinstance(node, cst.Import):
                for alias in node.names:
                    full = dotted(alias.name)
                    local = alias.asname.name.value if alias.asname else full.split(".")[0]
                    out[local] = full if alias.asname else local
            elif isinstance(node, cst.ImportFrom) and not isinstance(node.names, cst.ImportStar):
                module = dotted(node.module) if node.module else ""
                for alias in node.names:
                    local = alias.asname.name.value if alias.asname else alias.name.value
                    out[local] = f"{module}.{alias.name.value}"
        return out

    def qualified(self, node: cst.CSTNode) -> str:
        """Full dotted name of an imported thing; '' for anything else."""
        name = dotted(node)
        if name is None:
            return ""
        head, _, rest = name.partition(".")
        full = self.imports.get(head, "")
        return f"{full}.{rest}" if full and rest else full

    def calls_to(self, *names: str) -> list[cst.Call]:
        """Calls of imported things whose full name is one of ``names``."""
        return [c for c in self.calls if self._names[id(c.func)] in names]

    @cached_property
    def _names(self) -> dict[int, str]:
        """Full name of what each call calls, by the identity of the callee."""
        return {id(c.func): self.qualified(c.func) for c in self.calls}

    def method_calls(self, *methods: str) -> list[cst.Call]:
        return [
            c
            for c in self.calls
            if isinstance(c.func, cst.Attribute) and c.func.attr.value in methods
        ]

    def one(self, found: list, looked_for: str, near: list, hint: str) -> cst.CSTNode:
        if len(found) == 1:
            return found[0]
        if not found:
            raise Refusal(f"found no {looked_for}", self.source.candidates(near), hint)
        count = f"found {len(found)} places, expected one: {looked_for}"
        raise Refusal(count, self.source.candidates(found), hint)

    # -- argument classes ----------------------------------------------------------------------

    @cached_property
    def classes(self) -> list[cst.ClassDef]:
        return [n for n in self.source.module.body if isinstance(n, cst.ClassDef)]

    def field(self, cls: cst.ClassDef, name: str) -> cst.AnnAssign | None:
        for line in cls.body.body:
            if isinstance(line, cst.SimpleStatementLine):
                for small in line.body:
                    if isinstance(small, cst.AnnAssign) and dotted(small.target) == name:
                        return small
        return None

    def _argument_class(self, field: str, what: str) -> cst.ClassDef:
        named = {dotted(e.value) for e in self._parsed_classes}
        found = [c for c in self.classes if c.name.value in named and self.field(c, field)]
        return self.one(
            found,
            f"dataclass with a field {field!r} among the classes given to HfArgumentParser ({what})",
            self.classes,
            "If upstream renamed the field, teach codemods/engine/anchors.py the new name",
        )

    @cached_property
    def parser_call(self) -> cst.Call:
        found = self.calls_to("transformers.HfArgumentParser")
        near = [c for c in self.calls if "Parser" in (dotted(c.func) or "")]
        return self.one(found, "call of transformers.HfArgumentParser", near, "")

    @cached_property
    def _parsed_classes(self) -> list[cst.BaseElement]:
        args = self.parser_call.args
        if not args or not isinstance(args[0].value, (cst.Tuple, cst.List)):
            raise Refusal(
                "the classes given to HfArgumentParser are not a tuple written in the call",
                [self.source.candidate(self.parser_call)],
            )
        return list(args[0].value.elements)

    @cached_property
    def data_class(self) -> cst.ClassDef:
        return self._argument_class("train_file", "the data arguments")

    @cached_property
    def model_class(self) -> cst.ClassDef:
        return self._argument_class("model_name_or_path", "the model arguments")

    @cached_property
    def first_argument_class(self) -> cst.ClassDef:
        pair = (self.model_class, self.data_class)
        return pair[0] if self.source.before(*pair) else pair[1]

    @cached_property
    def _argument_names(self) -> dict[str, str]:
        """What main() calls the three parsed groups: model, data, training."""
        order = [dotted(e.value) for e in self._parsed_classes]
        roles = {self.model_class.name.value: "model", self.data_class.name.value: "data"}
        if len(order) != 3 or len(set(order)) != 3:
            raise Refusal(
                "HfArgumentParser is not given exactly the model, data and training arguments",
                [self.source.candidate(self.parser_call)],
            )
        names: dict[str, set[str]] = {"model": set(), "data": set(), "training": set()}
        for call in self.method_calls(*_PARSES):
            assign = self.source.parent(call)
            if not isinstance(assign, cst.Assign):
                continue
            got = [n.value for n in _names_in(assign.targets[0].target)]
            if len(got) < 3 or len(assign.targets) != 1:
                continue
            for cls, name in zip(order, got, strict=False):
                names[roles.get(cls, "training")].add(name)
        for role, found in names.items():
            if len(found) != 1:
                raise Refusal(
                    f"the name that main() gives the {role} arguments is not unique or not found "
                    f"({', '.join(sorted(found)) or 'none'})",
                    self.source.candidates(self.method_calls(*_PARSES)),
                    "The parser's result is expected to be unpacked into three names",
                )
        out = {role: found.pop() for role, found in names.items()}
        calls = self.method_calls(*_PARSES)
        whole = [t for c in calls for t in _targets(self.source.parent(c))]
        parts = [
            r for t in whole if isinstance(t, cst.Name) for r in self.reads(t.value, self.main)
        ]
        for role, name in out.items():
            self._kept(name, calls, f"{role} arguments", parts)
        return out

    @property
    def model_args(self) -> str:
        return self._argument_names["model"]

    @property
    def data_args(self) -> str:
        return self._argument_names["data"]

    @property
    def training_args(self) -> str:
        return self._argument_names["training"]

    # -- main() --------------------------------------------------------------------------------

    @cached_property
    def main(self) -> cst.FunctionDef:
        """The module-level function that parses the arguments and makes the Trainer."""
        outer = self._function_of(self.parser_call)
        if outer is None or self._function_of(self.trainer_call) is not outer:
            raise Refusal(
                "one function that both parses the arguments and makes the Trainer",
                self.source.candidates([self.parser_call, self.trainer_call]),
                "Upstream may have split main(); the edits need re-anchoring",
            )
        return outer

    def _function_of(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        outer = [a for a in self.source.ancestors(node) if isinstance(a, cst.FunctionDef)]
        if outer and self.source.parent(outer[-1]) is self.source.module:
            return outer[-1]
        return None

    @property
    def body(self) -> list[cst.BaseStatement]:
        return list(self.main.body.body)

    def step(self, node: cst.CSTNode) -> cst.BaseStatement:
        """The statement of main()'s own block that ``node`` stands in."""
        chain = [node, *self.source.ancestors(node)]
        if self.main.body not in chain:
            raise Refusal(
                "this to stand in the function that trains", [self.source.candidate(node)]
            )
        return chain[chain.index(self.main.body) - 1]

    def place(self, node: cst.CSTNode) -> cst.BaseStatement:
        """``step``; Refusal when it is a definition, which runs somewhere else."""
        step = self.step(node)
        if isinstance(step, (cst.FunctionDef, cst.ClassDef)):
            raise Refusal(
                f"this to stand in {self.main.name.value}() itself, not in a definition",
                [self.source.candidate(node)],
                "What is to follow it can't be placed: the definition runs elsewhere",
            )
        return step

    def bound(self, node: cst.CSTNode) -> set[str]:
        """Names that running ``node`` binds in the scope it stands in."""
        out: set[str] = set()
        nodes = [node] if isinstance(node, _SCOPES) else own_nodes(node)
        for n in nodes:
            if isinstance(n, (cst.Import, cst.ImportFrom)):
                if isinstance(n.names, cst.ImportStar):
                    continue
                for alias in n.names:
                    name = alias.asname.name if alias.asname else alias.name
                    out.add(dotted(name).split(".")[0])
            for target in _targets(n):
                out.update(t.value for t in _names_in(target))
        return out

    def reads(self, name: str, within: cst.CSTNode) -> list[cst.Name]:
        """Places in ``within`` where ``name`` is used (also inside nested functions)."""
        return [n for n in self._reads.get(name, ()) if self.source.inside(n, within)]

    @cached_property
    def _reads(self) -> dict[str, list[cst.Name]]:
        out: dict[str, list[cst.Name]] = {}
        for n in self.source.nodes:
            if isinstance(n, cst.Name) and self.is_read(n):
                out.setdefault(n.value, []).append(n)
        return out

    @cached_property
    def _bindings(self) -> dict[str, list[cst.CSTNode]]:
        """Name → the nodes that bind it anywhere in main()."""
        out: dict[str, list[cst.CSTNode]] = {}
        for n in self.source.below(self.main):
            for target in _targets(n):
                for t in _names_in(target):
                    out.setdefault(t.value, []).append(n)
        return out

    def bindings(self, name: str) -> list[cst.CSTNode]:
        """What binds ``name`` in main(), in source order."""
        return self._bindings.get(name, [])

    def aliases(self, names: list[str]) -> list[str]:
        """``names``, and what main() calls the same things besides (``other = name``)."""
        out = list(names)
        for name in out:
            for read in self.reads(name, self.main):
                above = self.source.parent(read)
                if isinstance(above, (cst.Assign, cst.AnnAssign, cst.NamedExpr)):
                    found = [t.value for target in _targets(above) for t in _names_in(target)]
                    out += [t for t in found if t not in out]
        return out

    def is_read(self, name: cst.Name) -> bool:
        above = self.source.parent(name)
        if isinstance(above, cst.Attribute):
            return above.value is name
        if isinstance(above, cst.Arg):
            return above.value is name
        if isinstance(above, cst.Param):
            return above.name is not name
        if isinstance(above, (cst.ImportAlias, cst.AsName, cst.FunctionDef, cst.ClassDef)):
            return False
        if isinstance(
            above, (cst.AssignTarget, cst.AnnAssign, cst.NamedExpr, cst.For, cst.CompFor)
        ):
            return above.target is not name
        node = name
        while isinstance(above, (cst.Element, cst.Tuple, cst.List)):
            node, above = above, self.source.parent(above)
        return not (
            isinstance(above, (cst.AssignTarget, cst.For, cst.CompFor)) and above.target is node
        )

    def target_of(self, call: cst.CSTNode, what: str) -> str:
        """The one name that a call's result is assigned to."""
        above = self.source.parent(call)
        if isinstance(above, cst.Assign) and len(above.targets) == 1:
            name = dotted(above.targets[0].target)
            if name and "." not in name:
                return name
        if isinstance(above, cst.AnnAssign) and isinstance(above.target, cst.Name):
            return above.target.value
        raise Refusal(f"the {what} to be assigned to a plain name", [self.source.candidate(call)])

    def _one_target(self, calls: list[cst.Call], what: str, near: list[cst.Call]) -> str:
        names = {self.target_of(c, what) for c in calls}
        if len(names) != 1:
            raise Refusal(
                f"found {'no' if not names else 'more than one'} name that the {what} is bound to",
                self.source.candidates(calls or near),
            )
        return names.pop()

    def _kept(
        self, name: str, calls: list[cst.Call], what: str, parts: Sequence[cst.Name] = ()
    ) -> str:
        """``name``; Refusal when main() binds it to other things than the calls make.

        ``parts`` are reads of what holds several things that the calls make.
        """
        others = [
            n
            for n in self.other_bindings(name, calls)
            if not any(self.source.inside(r, n) for r in parts)
        ]
        if others:
            looked_for = f"{name!r} to be the {what} and nothing else"
            raise Refusal(looked_for, self.source.candidates(others))
        return name

    def other_bindings(self, name: str, calls: list[cst.Call]) -> list[cst.CSTNode]:
        """Where main() binds ``name`` to what is made neither by the calls nor of itself."""
        return [
            n
            for n in self.bindings(name)
            if getattr(n, "value", None) not in calls
            and not self._made_of_itself(n, name)
            and not self._is_local(n, name)
        ]

    def _made_of_itself(self, node: cst.CSTNode, name: str) -> bool:
        """``name = f(name)``, ``name, other = f(name, other)``, ``name += …`` and the like?"""
        alone = all(isinstance(t, cst.Name) for t in _targets(node))
        made = alone or isinstance(getattr(node, "value", None), cst.Call)
        return made and any(self.source.inside(r, node) for r in self.reads(name, self.main))

    def _is_local(self, node: cst.CSTNode, name: str) -> bool:
        """Is the ``name`` that the node binds not main()'s, but a definition's or comprehension's?"""
        above = list(self.source.ancestors(node))
        scopes = [n for n in above[: above.index(self.main)] if isinstance(n, _SCOPES)]
        return bool(scopes) and not any(
            isinstance(n, cst.Nonlocal) and name in {item.name.value for item in n.names}
            for n in own_nodes(scopes[0])
        )

    # -- the things a trainer is made of --------------------------------------------------------

    def loads(self, cls: str) -> list[cst.Call]:
        """Calls that load ``transformers.cls``, pretrained or from a config.

        Refusal when the class is used otherwise, so that no load goes by another name.
        """
        name = f"transformers.{cls}"
        found = self.calls_to(f"{name}.from_pretrained", f"{name}.from_config")
        known = {id(c.func.value) for c in found}
        for node in self._uses.get(name, ()):
            if id(node) not in known:
                looked_for = f"every use of {name} to be a call that loads it"
                raise Refusal(looked_for, [self.source.candidate(node)])
        return found

    def only_called(self, name: str) -> list[cst.Call]:
        """Calls of the imported function ``name``; Refusal when it is used otherwise, as by alias."""
        found = self.calls_to(name)
        known = {id(c.func) for c in found}
        for node in self._uses.get(name, ()):
            if id(node) not in known:
                looked_for = f"every use of {name} to be a call of it"
                raise Refusal(looked_for, [self.source.candidate(node)])
        return found

    @cached_property
    def _uses(self) -> dict[str, list[cst.CSTNode]]:
        """Full name of an imported thing → the names and attributes that read it."""
        out: dict[str, list[cst.CSTNode]] = {}
        for n in self.source.nodes:
            read = isinstance(n, cst.Attribute) or (isinstance(n, cst.Name) and self.is_read(n))
            if read and (full := self.qualified(n)):
                out.setdefault(full, []).append(n)
        return out

    @cached_property
    def config(self) -> str:
        return self._one_target(
            self.loads("AutoConfig"), "model's config", self.method_calls("from_pretrained")
        )

    @cached_property
    def tokenizer(self) -> str:
        calls = self.loads("AutoTokenizer")
        name = self._one_target(calls, "tokenizer", self.method_calls("from_pretrained"))
        return self._kept(name, calls, "tokenizer")

    @cached_property
    def model_loads(self) -> list[cst.Call]:
        found = self.loads("AutoModelForCausalLM")
        if not any(c.func.attr.value == "from_pretrained" for c in found):
            raise Refusal(
                "found no call of transformers.AutoModelForCausalLM.from_pretrained",
                self.source.candidates(self.method_calls("from_pretrained", "from_config")),
                "The model is expected to be loaded through that class by name",
            )
        return found

    @cached_property
    def model(self) -> str:
        name = self._one_target(self.model_loads, "model", [])
        return self._kept(name, self.model_loads, "model")

    @cached_property
    def trainer_call(self) -> cst.Call:
        near = [c for c in self.calls if "Trainer" in (dotted(c.func) or "")]
        return self.one(
            self.calls_to("transformers.Trainer"), "call of transformers.Trainer", near, ""
        )

    @cached_property
    def trainer(self) -> str:
        name = self.target_of(self.trainer_call, "Trainer")
        return self._kept(name, [self.trainer_call], "Trainer")

    @cached_property
    def raw_datasets(self) -> str:
        """The name that the loaded data is bound to and mapped from."""
        loads = self.calls_to("datasets.load_dataset")
        names = {
            t.value
            for c in loads
            if isinstance(self.source.parent(c), cst.Assign)
            for target in self.source.parent(c).targets
            for t in _names_in(target.target)
        }
        mapped = {dotted(c.func.value) for c in self.method_calls("map")}
        found = names & mapped
        if len(found) != 1:
            raise Refusal(
                f"found {len(found)} names that load_dataset's result is bound to and that are mapped",
                self.source.candidates(loads + self.method_calls("map")),
            )
        return found.pop()

    # -- values that may stand in a call or in a dict that is handed to it -----------------------

    def dict_display(self, name: str) -> cst.Dict | None:
        """The dict display that ``name`` is bound to, if that's its only binding in main()."""
        bindings = self._bindings.get(name, [])
        if len(bindings) == 1 and isinstance(bindings[0], (cst.Assign, cst.AnnAssign)):
            value = bindings[0].value
            return value if isinstance(value, cst.Dict) else None
        return None

    def keyword(self, call: cst.Call, name: str) -> cst.Arg | cst.DictElement | None:
        """``name=…`` of a call, also when it comes out of a ``**dict`` written in main()."""
        for arg in call.args:
            if arg.keyword is not None and arg.keyword.value == name:
                return arg
        for display in self.starred(call).values():
            for element in display.elements:
                if isinstance(element, cst.DictElement) and string(element.key) == name:
                    return element
        return None

    def starred(self, call: cst.Call) -> dict[str, cst.Dict]:
        """The ``**dicts`` of a call; Refusal when one is not a dict display seen here."""
        out = {}
        for arg in call.args:
            if arg.star != "**":
                continue
            name = dotted(arg.value) or ""
            display = arg.value if isinstance(arg.value, cst.Dict) else self.dict_display(name)
            if display is None or any(
                isinstance(e, cst.StarredDictElement) for e in display.elements
            ):
                raise Refusal(
                    "every ** of this call to be one dict written out in main(), with all its keys",
                    [self.source.candidate(call)],
                    "Its keywords can't be known otherwise",
                )
            self._only_unpacked(name, call)
            out[name or str(id(arg))] = display
        return out

    def _only_unpacked(self, name: str, call: cst.Call) -> None:
        """A dict that is changed after it is written doesn't say what the call gets."""
        for read in self.reads(name, self.main) if name else ():
            above = self.source.parent(read)
            if not (isinstance(above, cst.Arg) and above.star == "**"):
                raise Refusal(
                    f"{name!r} to be written once and then only unpacked with **",
                    [self.source.candidate(read), self.source.candidate(call)],
                )

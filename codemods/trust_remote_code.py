"""Config, tokenizer and model may run the code that comes with the model.

    config_kwargs = {…}                         →  config_kwargs = {…, "trust_remote_code": True}
    AutoConfig.from_pretrained(name, a=b)       →  AutoConfig.from_pretrained(name, a=b, trust_remote_code=True)
    trust_remote_code: bool = field(default=False, …)   →  trust_remote_code: bool = field(default=True, …)

Where upstream has the argument its default changes and it stays switchable.
"""

from __future__ import annotations

import ast

import libcst as cst

from .engine.anchors import Anchors
from .engine.patch import Patch
from .engine.script import Script, dotted
from .engine.syntax import add_argument, add_entry

KEY = "trust_remote_code"
LOADERS = ("AutoConfig", "AutoTokenizer")


def apply(patch: Patch) -> None:
    a = patch.anchors
    value = _value(patch, a)
    loads = [c for cls in LOADERS for c in a.loads(cls)] + a.model_loads
    done: set[int] = set()
    for call in loads:
        given = a.keyword(call, KEY)
        if given is not None:
            if patch.source.code(given.value) not in (value, "True"):
                raise patch.refuse(f"{KEY} to be {value}", [call])
            continue
        display = _own_dict(patch, a, call, loads)
        if display is None:
            patch.change(call, add_argument(f"{KEY}={value}"), _what(a, call), f"{KEY}={value}")
        elif id(display) not in done:
            done.add(id(display))
            patch.change(display, add_entry(KEY, value), _what(a, call), f'"{KEY}": {value}')


def _what(a: Anchors, call: cst.Call) -> str:
    return f"{a.qualified(call.func).removeprefix('transformers.')} trusts the model's code"


def _value(patch: Patch, a: Anchors) -> str:
    """What to pass: upstream's own argument, its default made True, or plain True."""
    own = a.field(a.model_class, KEY)
    if own is None:
        elsewhere = [f for f in (a.field(c, KEY) for c in a.classes) if f is not None]
        if elsewhere:
            raise patch.refuse(f"{KEY} to be one of the model arguments", elsewhere)
        return "True"
    args = own.value.args if isinstance(own.value, cst.Call) else ()
    default = [x.value for x in args if x.keyword and x.keyword.value == "default"]
    if not default and isinstance(own.value, cst.Name):
        default = [own.value]
    if len(default) != 1 or patch.source.code(default[0]) not in ("False", "True"):
        raise patch.refuse(f"the argument {KEY} to have a default of True or False", [own])
    if patch.source.code(default[0]) == "False":
        patch.replace(default[0], cst.Name("True"), f"upstream's own {KEY} defaults to True")
    return f"{a.model_args}.{KEY}"


def _own_dict(patch: Patch, a: Anchors, call: cst.Call, loads: list[cst.Call]) -> cst.Dict | None:
    """The call's ``**dict`` if only loaders of this patch unpack it."""
    for name, display in a.starred(call).items():
        uses = [patch.source.parent(patch.source.parent(r)) for r in a.reads(name, a.main)]
        inline = [x for u in uses for x in u.args if x.keyword and x.keyword.value == KEY]
        if not inline and all(any(u is c for c in loads) for u in uses):
            return display
    return None


def verify(script: Script) -> None:
    own = script.field(script.argument_class("model_name_or_path"), KEY)
    if own is not None:
        values = [k.value for k in getattr(own.value, "keywords", ()) if k.arg == "default"]
        values = values or [own.value]
        is_true = isinstance(values[0], ast.Constant) and values[0].value is True
        script.require(is_true, f"{KEY} defaults to True", own)
        replaced = script.sets(KEY)
        script.require(not replaced, f"the user's {KEY} is not replaced", *replaced)
    for cls in (*LOADERS, "AutoModel", "AutoModelForCausalLM"):
        calls = [
            c
            for m in ("from_pretrained", "from_config")
            for c in script.calls(f"{cls}.{m}", script.main)
        ]
        for call in calls:
            value = script.keywords(call).get(KEY)
            trusts = isinstance(value, ast.Constant) and value.value is True
            upstreams = f"{script.groups()['model']}.{KEY}"
            trusts = trusts or (own is not None and dotted(value) == upstreams)
            script.require(trusts, f"{cls} is loaded with {KEY}", call)
        if cls in LOADERS:
            script.require(calls, f"{cls} is loaded")

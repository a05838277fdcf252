"""Config, tokenizer and model may run the code that comes with the model.

    config_kwargs = {…}                         →  config_kwargs = {…, "trust_remote_code": True}
    AutoConfig.from_pretrained(name, a=b)       →  AutoConfig.from_pretrained(name, a=b, trust_remote_code=True)
    trust_remote_code: bool = field(default=False, …)   →  trust_remote_code: bool = field(default=True, …)

Where upstream has the argument its default changes and it stays switchable.
"""

from __future__ import annotations

import ast

from .engine.nodes import dotted
from .engine.patch import Patch
from .engine.script import Script
from .engine.syntax import add_entry

KEY = "trust_remote_code"
LOADERS = ("AutoConfig", "AutoTokenizer")


def apply(patch: Patch) -> None:
    script = patch.script
    own = _own_argument(patch)
    loads = [c for cls in LOADERS for c in script.loads(cls)] + script.model_loads
    dicts, done = _own_dicts(script, loads), []
    for call in loads:
        value = f"{script.name('model_args', script.scope(call))}.{KEY}" if own else "True"
        what = f"{script.called(call).removeprefix('transformers.')} trusts the model's code"
        given = script.given(call, KEY)
        if others := [v for _, v in given if ast.unparse(v) not in (value, "True")]:
            raise patch.refuse(f"{KEY} to be {value}", others)
        if given:
            continue
        display = dicts.get(id(call))
        if display is None:
            patch.add_argument(call, f"{KEY}={value}", what)
        elif display not in done:
            done.append(display)
            patch.change(display, add_entry(KEY, value), what, f'"{KEY}": {value}')


def _own_argument(patch: Patch) -> bool:
    """Has upstream the argument? Its default becomes True."""
    script = patch.script
    own = script.field(script.model_class, KEY)
    if own is None:
        elsewhere = [f for f in (script.field(c, KEY) for c in script.classes) if f is not None]
        if elsewhere:
            raise patch.refuse(f"{KEY} to be one of the model arguments", elsewhere)
        return False
    default = _default(own)
    if default is None or ast.unparse(default) not in ("False", "True"):
        raise patch.refuse(f"the argument {KEY} to have a default of True or False", [own])
    if ast.unparse(default) == "False":
        patch.replace(default, "True", f"upstream's own {KEY} defaults to True")
    return True


def _default(own: ast.AnnAssign) -> ast.expr | None:
    given = [k.value for k in getattr(own.value, "keywords", ()) if k.arg == "default"]
    return given[0] if given else own.value


def _own_dicts(script: Script, loads: list[ast.Call]) -> dict[int, ast.Dict]:
    """Identity of a load → the dict display that it unpacks, as do other loads and nothing else."""
    out = {}
    for call in loads:
        scope = script.scope(call)
        for name in [dotted(k.value) for k in call.keywords if not k.arg]:
            made = [getattr(b, "value", None) for b in script.bindings(name, scope)]
            reads = [r for r in script.reads.get(name, ()) if script.scope(r) is scope]
            uses = [script.parent(script.parent(r)) for r in reads]
            is_own = len(made) == 1 and isinstance(made[0], ast.Dict)
            if is_own and all(u in loads and not _says(u) for u in uses):
                out[id(call)] = made[0]
    return out


def _says(call: ast.Call) -> bool:
    return any(k.arg == KEY for k in call.keywords)


def verify(script: Script) -> None:
    own = script.field(script.model_class, KEY)
    if own is not None:
        default = _default(own)
        is_true = isinstance(default, ast.Constant) and default.value is True
        script.require(is_true, f"{KEY} defaults to True", own)
        replaced = [n for n, _ in script.sets(KEY)]
        script.require(not replaced, f"the user's {KEY} is not replaced", *replaced)
    for cls in LOADERS:
        script.require(script.loads(cls), f"{cls} is loaded")
    for call in [c for cls in LOADERS for c in script.loads(cls)] + script.model_loads:
        values = [value for _, value in script.given(call, KEY)]
        trusts = [v for v in values if _trusts(script, v, own is not None)]
        promise = f"{script.called(call).split('.')[-2]} is loaded with {KEY}"
        script.require(values and trusts == values, promise, call)


def _trusts(script: Script, value: ast.expr, own: bool) -> bool:
    if isinstance(value, ast.Constant):
        return value.value is True
    known = script.names.all("model_args", script.scope(value))
    return own and dotted(value) in [f"{name}.{KEY}" for name in known]

"""Calls that are given something else than upstream gives them."""

from __future__ import annotations

from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import keyword_calls, keyword_text, mutation, pick, with_keywords


@mutation(False)
def keyword_dropped(code: Code, random: Random) -> str | None:
    calls = [c for c in keyword_calls(code, 1)]
    if (call := pick(random, calls)) is None:
        return None
    gone = random.choice(call.keywords)
    rest = [keyword_text(code, k) for k in call.keywords if k is not gone]
    return code.edit(with_keywords(code, call, rest)) if rest else None


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

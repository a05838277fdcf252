"""What the Trainer is given: metrics computed in another way, callbacks, optimizers, a dict of all."""

from __future__ import annotations

import ast
from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import fresh, keyword_text, mutation, pick, with_keywords

COMPUTED = (
    'preds, labels = eval_preds\nmask = labels != -100\nreturn {"accuracy": float((preds == labels)[mask].mean())}',
    'preds, labels = eval_preds\npreds = preds[0] if isinstance(preds, tuple) else preds\nreturn metric.compute(predictions=preds.argmax(-1), references=labels)',
    'texts = tokenizer.batch_decode(eval_preds.predictions)\nreturn {"length": sum(map(len, texts))}',
    'return {"perplexity": math.exp(eval_preds.losses.mean())}',
)  # fmt: skip
LOGITS = (
    "return logits.argmax(dim=-1), labels",
    "return (logits[0] if isinstance(logits, tuple) else logits).argmax(-1), labels.ne(-100)",
    "return logits",
    "logits = logits[..., :-1, :]\nreturn torch.where(labels[..., 1:] != -100, logits.argmax(-1), -100)",
)
CALLBACKS = (
    ("", "[transformers.PrinterCallback()]"),
    ("", "[]"),
    ("own = [transformers.PrinterCallback(), transformers.ProgressCallback()]", "own"),
    ("own = (transformers.PrinterCallback(),)", "own"),
    ("own = [transformers.PrinterCallback()] if training_args.should_log else None", "own"),
    ("", "[transformers.PrinterCallback()] if training_args.do_eval else []"),
    ("own = []\nif training_args.do_eval:\n    own.append(transformers.PrinterCallback())", "own"),
)


def _trainer(code: Code) -> ast.Call | None:
    calls = [c for c in code.calls if dotted(c.func).endswith("Trainer") and c.keywords]
    return calls[0] if calls else None


def _given(code: Code, keyword: str) -> ast.FunctionDef | None:
    """The function of main() that the Trainer is given by that name, where it is wanted."""
    call = _trainer(code)
    values = [k.value for k in call.keywords if k.arg == keyword] if call else []
    names = {n.id for v in values for n in ast.walk(v) if isinstance(n, ast.Name)}
    found = [s for s in code.statements if isinstance(s, ast.FunctionDef) and s.name in names]
    return found[0] if found else None


def _body_replaced(code: Code, function: ast.FunctionDef | None, body: str) -> str | None:
    if function is None:
        return None
    names = [a.arg for a in function.args.args]
    for old, new in zip(("eval_preds",) if len(names) == 1 else ("logits", "labels"), names):
        body = body.replace(old, new)
    lines = f"def {function.name}({', '.join(names)}):\n" + body
    return code.edit(code.instead(function, code.named(lines).replace("\n", "\n    ")))


@mutation(True)
def metrics_computed_otherwise(code: Code, random: Random) -> str | None:
    return _body_replaced(code, _given(code, "compute_metrics"), random.choice(COMPUTED))


@mutation(True)
def logits_kept_otherwise(code: Code, random: Random) -> str | None:
    return _body_replaced(
        code, _given(code, "preprocess_logits_for_metrics"), random.choice(LOGITS)
    )


@mutation(False)
def metrics_from_a_factory(code: Code, random: Random) -> str | None:
    """A function of the script makes compute_metrics, of a metric it is given or loads."""
    function = _given(code, "compute_metrics")
    if function is None or "metric = evaluate.load" not in code.text:
        return None
    name = fresh(code, random, "make_compute_metrics", "build_metrics")
    loads = random.random() < 0.5
    line = '    metric = evaluate.load("accuracy")\n' if loads else ""
    made = f"def {name}({'' if loads else 'metric'}):\n{line}{_reindented(code, function)}\n    return {function.name}\n\n\n"
    return code.edit(
        code.before(code.main, made),
        code.instead(function, f"{function.name} = {name}({'' if loads else 'metric'})"),
    )


def _reindented(code: Code, function: ast.FunctionDef) -> str:
    pad = code.indent(function)
    lines = (pad + code.code(function)).splitlines()
    return "\n".join("    " + line.removeprefix(pad) if line.strip() else line for line in lines)


@mutation(False)
def metrics_of_a_class(code: Code, random: Random) -> str | None:
    function = _given(code, "compute_metrics")
    if function is None:
        return None
    cls = (
        "class TokenAccuracy:\n    def __init__(self, ignored):\n        self.ignored = ignored\n\n"
        "    def __call__(self, given):\n        return {}\n\n\n"
    )
    new = f"{function.name} = TokenAccuracy(-100)"
    return code.edit(code.before(code.main, cls), code.instead(function, new))


@mutation(False)
def metric_loaded_otherwise(code: Code, random: Random) -> str | None:
    found = [s for s in code.assigns if code.code(s.value).startswith("evaluate.load(")]
    if (s := pick(random, found)) is None:
        return None
    new = random.choice(
        [
            'evaluate.combine(["accuracy", "perplexity"])',
            'evaluate.load("perplexity")',
            'datasets.load_metric("accuracy")',
            'evaluate.load("accuracy", experiment_id=str(training_args.seed))',
        ]
    )
    return code.edit(code.replace(s.value, code.named(new)))


@mutation(False)
def no_choice_of_logits(code: Code, random: Random) -> str | None:
    """compute_metrics stays, and gets all logits."""
    call = _trainer(code)
    rest = [k for k in call.keywords if k.arg != "preprocess_logits_for_metrics"] if call else []
    if not rest or len(rest) == len(call.keywords):
        return None
    return code.edit(with_keywords(code, call, [keyword_text(code, k) for k in rest]))


@mutation(False)
def own_callbacks(code: Code, random: Random) -> str | None:
    call = _trainer(code)
    if call is None or any(k.arg == "callbacks" for k in call.keywords):
        return None
    before, value = map(code.named, random.choice(CALLBACKS))
    step = next(s for s in code.main.body if s.lineno <= call.lineno <= s.end_lineno)
    given = [*(keyword_text(code, k) for k in call.keywords), f"callbacks={value}"]
    edits = [with_keywords(code, call, given)]
    return code.edit(*edits, *([code.before(step, before)] if before else []))


@mutation(False)
def own_optimizer(code: Code, random: Random) -> str | None:
    call = _trainer(code)
    if call is None:
        return None
    value = random.choice(
        ["(torch.optim.AdamW(model.parameters()), None)", "(None, None)", "(optimizer, None)"]
    )
    step = next(s for s in code.main.body if s.lineno <= call.lineno <= s.end_lineno)
    made = "optimizer = torch.optim.AdamW(model.parameters())"
    given = [*(keyword_text(code, k) for k in call.keywords), f"optimizers={code.named(value)}"]
    return code.edit(with_keywords(code, call, given), code.before(step, code.named(made)))


@mutation(True)
def trainer_of_a_dict(code: Code, random: Random) -> str | None:
    """``Trainer(a=b)`` → ``Trainer(**dict(a=b))``, or a dict that is filled before."""
    call = _trainer(code)
    if call is None or any(k.arg is None for k in call.keywords) or call.args:
        return None
    texts = [keyword_text(code, k) for k in call.keywords]
    which = random.randrange(3)
    if which == 0:
        return code.edit(with_keywords(code, call, [f"**dict({', '.join(texts)})"]))
    step = next(s for s in code.main.body if s.lineno <= call.lineno <= s.end_lineno)
    name = fresh(code, random, "trainer_kwargs", "options")
    if which == 1:
        made = f"{name} = dict({', '.join(texts)})"
    else:
        made = f"{name} = {{}}\n" + "\n".join(
            f'{name}["{k.arg}"] = ({code.code(k.value)})' for k in call.keywords
        )
    return code.edit(with_keywords(code, call, [f"**{name}"]), code.before(step, made))

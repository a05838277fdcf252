"""codemods/response_accuracy.py"""

from __future__ import annotations

import pytest

from codemods import response_accuracy
from tests.codemods.helpers import BASES, FINISHED, NEW, OLD, Tables, apply, dedent, render

of = Tables(response_accuracy, "metric")

LOAD = 'metric = evaluate.load("accuracy")'
SCORE = "def score(pair):\n    return metric.compute(predictions=pair[0], references=pair[1])"
REST = "model=model, train_dataset=train_rows, eval_dataset=eval_rows"
THEIRS = ("compute_metrics", "preprocess_logits_for_metrics")


def served(metric: str, left: str = "", **more) -> tuple:
    """What is there for the metrics alone, and what of it is left."""
    return metric, left, more


BEST = "def best(logits, labels):\n    return logits.argmax(-1)"
BLOCK = f"{LOAD}\n\n{SCORE}"
WHAT_SERVED_ONLY_THE_METRICS_GOES = {
    "as it is": served(BLOCK),
    "with comments": served(f"# How good?\n{LOAD}  # of tokens\n{SCORE}"),
    "under another name of the library": served(
        BLOCK.replace("evaluate.", "judge."),
        imports=OLD["imports"] + "\nimport evaluate as judge",
    ),
    "from a function": served(
        BLOCK.replace("evaluate.load", "fetch"),
        imports=OLD["imports"] + "\nfrom evaluate import load as fetch",
    ),
    "the data library's": served(BLOCK.replace("evaluate.load", "load_metric")),
    "any metric, with options": served(BLOCK.replace('"accuracy"', "margs.metric, cache_dir=None")),
    "several": served(f'rest = evaluate.load("bleu")\n{LOAD}\n{SCORE} + rest.compute()'),
    "computed any way": served(f"{LOAD}\nscore = lambda pair: metric.compute(*pair, weights=None)"),
    "imported there": served(f"import evaluate\n{BLOCK}"),
    "on a condition": served(
        f"if targs.do_eval:\n    {LOAD}\n    {SCORE.replace(chr(10), chr(10) + '    ')}"
    ),
    "with a message": served(f"{BLOCK}\nlogger.info(f'scored by {{metric}}')"),
    "with a check": served(
        f"{LOAD}\nif metric is None:\n    raise ValueError('no metric')\n{SCORE}"
    ),
    "no function": served("score = None"),
    "what else it does stays": served(f"{BLOCK}\nprint('ready')", "print('ready')"),
    "what else it is read by keeps it": served(
        "size = 3\nbest = lambda logits, labels: logits[size]\ntrain_rows = train_rows[size]",
        "size = 3\ntrain_rows = train_rows[size]",
    ),
}
test_what_served_only_the_metrics_goes = of.transforms(
    WHAT_SERVED_ONLY_THE_METRICS_GOES,
    also=lambda base: {
        "trainer": (
            f"trainer = Trainer({REST}, compute_metrics=score, preprocess_logits_for_metrics=best)",
            f"trainer = Trainer({REST})",
        )
    },
)
MODULE = {
    "helper": (
        f"{BEST}\n\n\ndef helper(rows):\n    return rows",
        "def helper(rows):\n    return rows",
    )
}
GIVEN = {
    "by keyword": ("trainer = Trainer(REST, compute_metrics=score)", "trainer = Trainer(REST)"),
    "neither": ("trainer = Trainer(REST)",) * 2,
    "on a condition": (
        "trainer = Trainer(\n    REST,\n    # Scored.\n    compute_metrics=score if dargs else None,\n)",
        "trainer = Trainer(\n    REST,\n)",
    ),
    "in a dict": (
        'rest = {"args": targs, "compute_metrics": score}\ntrainer = Trainer(REST, **rest)',
        'rest = {"args": targs}\ntrainer = Trainer(REST, **rest)',
    ),
    "in a dict of its own": (
        'rest = {"compute_metrics": score}\ntrainer = Trainer(REST, **rest)',
        "rest = {}\ntrainer = Trainer(REST, **rest)",
    ),
    "in a call of dict": (
        "trainer = Trainer(**dict(REST, compute_metrics=score, args=targs))",
        "trainer = Trainer(**dict(REST, args=targs))",
    ),
    "in a dict that is filled": (
        "rest = {}\nrest['compute_metrics'] = score\ntrainer = Trainer(REST, **rest)",
        "rest = {}\ntrainer = Trainer(REST, **rest)",
    ),
    "in a dict that is filled on a condition": (
        "rest = {}\nif targs.do_eval:\n    rest['compute_metrics'] = score\n    rest['args'] = targs\n"
        "trainer = Trainer(REST, **rest)",
        "rest = {}\nif targs.do_eval:\n    rest['args'] = targs\ntrainer = Trainer(REST, **rest)",
    ),
    "in a dict that is updated": (
        "rest = {}\nrest.update(compute_metrics=score, args=targs)\ntrainer = Trainer(REST, **rest)",
        "rest = {}\nrest.update(args=targs)\ntrainer = Trainer(REST, **rest)",
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("row", GIVEN.values(), ids=GIVEN)
def test_the_trainer_gets_no_function(row, base):
    before, after = (n.replace("REST", REST) for n in row)
    metric = (BLOCK, "") if "score" in before else ("", "")
    rows = {"trainer": (before, after), "metric": metric}
    of.transformed(rows, BASES[base])


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["trainer"]
    after = "\n".join(n for n in before.splitlines() if not n.strip().startswith(THEIRS))
    rows = {"trainer": (before, after), "metric": (BASES[base]["metric"], ""), **MODULE}
    of.transformed(rows, BASES[base])


def test_the_trainer_is_made_in_a_function_with_its_metrics():
    made = "trainer = make(model, tokenizer, margs, dargs, targs, train_rows, eval_rows)"
    helper = dedent("""
    def make(model, tokenizer, margs, dargs, targs, a, b):
        LOAD
        SCORE
        return Trainer(model, targs, train_dataset=a, eval_dataset=bMORE)
    """)
    before = helper.replace("LOAD", LOAD).replace("SCORE", SCORE.replace("\n", "\n    "))
    after = helper.replace("    LOAD\n    SCORE\n", "").replace("MORE", "")
    rows = {
        "helper": (before.replace("MORE", ", compute_metrics=score"), after),
        "trainer": (made, made),
        "metric": ("", ""),
    }
    of.transformed(rows)


REMOVED = ("removed", "main", "")
DROPPED = [("changed", "main", "")] * 2
test_record = of.records(
    None, old=[*DROPPED, REMOVED, ("removed", "main.score", "")], new=[*DROPPED, REMOVED]
)


def test_the_record_says_why():
    _, patch = apply(render(NEW), response_accuracy)
    assert [c.what for c in patch.changes] == [
        *(f"no {n}: accuracy over response tokens is the Trainer's own" for n in THEIRS),
        "it served upstream's metrics only",
    ]


NONE = "no metric is loaded from the hub"
VERIFY_REFUSES = {
    "used otherwise": (NONE, f"{BLOCK}\nprint(metric.description)\ntrain_rows = metric"),
    "never given to the Trainer": (NONE, f'{BLOCK}\nrest = evaluate.load("bleu")'),
    "handed to the function that makes the Trainer": (
        NONE,
        {
            "helper": "def make(model, tokenizer, margs, dargs, targs, a, b, score):\n"
            "    return Trainer(model, train_dataset=a, eval_dataset=b, compute_metrics=score)",
            "trainer": "trainer = make(\n"
            "    model, tokenizer, margs, dargs, targs, train_rows, eval_rows, score)",
        },
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES)

OWN = "the Trainer computes its metrics itself"
RIGHT = FINISHED["trainer"]
VERIFY_CATCHES = {
    "upstream's": (NONE, {"metric": OLD["metric"]}),
    "under another name": (
        NONE,
        {"metric": 'from evaluate import load as l\nrest = l("bleu")'},
    ),
    "the data library's": (
        NONE,
        {"metric": "import datasets\nmetric = datasets.load_metric('accuracy')"},
    ),
    "several at once": (NONE, {"metric": "metric = evaluate.combine(['accuracy'])"}),
    "a function": (OWN, f"{RIGHT[:-1]}    compute_metrics=score,\n)"),
    "none, said so": (OWN, f"{RIGHT[:-1]}    preprocess_logits_for_metrics=None,\n)"),
    "in a dict": (OWN, f"rest = dict(compute_metrics=score)\n{RIGHT[:-1]}    **rest,\n)"),
}
test_verify_catches = of.catches(VERIFY_CATCHES, slot="trainer")
test_verify_accepts = of.accepts("", SCORE)

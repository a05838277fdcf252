"""codemods/response_accuracy.py"""

from __future__ import annotations

import pytest

from codemods import response_accuracy
from tests.codemods.helpers import (
    BASES,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    check_unverified,
    render,
)

SCORE = """
def score(pair):
    return metric.compute(predictions=pair[0], references=pair[1])
"""
OTHER = OLD["imports"].replace("import evaluate\n", "")

TRANSFORMED = {
    "the name alone": (
        "import evaluate",
        'metric = evaluate.load("accuracy")',
        "metric = ResponseAccuracy()",
    ),
    "other quotes, a comment": (
        "import evaluate",
        "metric = evaluate.load('accuracy')  # from the hub",
        "metric = ResponseAccuracy()  # from the hub",
    ),
    "with a cache": (
        "import evaluate",
        'metric = evaluate.load("accuracy", cache_dir=margs.config_name)',
        "metric = ResponseAccuracy()",
    ),
    "over several lines": (
        "import evaluate",
        'metric = evaluate.load(\n    "accuracy",  # of tokens\n    cache_dir=None,\n)',
        "metric = ResponseAccuracy()",
    ),
    "by keyword": (
        "import evaluate",
        "metric = evaluate.load(path='accuracy')",
        "metric = ResponseAccuracy()",
    ),
    "annotated": (
        "import evaluate",
        'metric: Metric = evaluate.load("accuracy")',
        "metric: Metric = ResponseAccuracy()",
    ),
    "the library by another name": (
        "import evaluate as judge",
        'metric = judge.load("accuracy")',
        "metric = ResponseAccuracy()",
    ),
    "the function imported": (
        "from evaluate import load",
        'metric = load("accuracy")',
        "metric = ResponseAccuracy()",
    ),
    "the function by another name": (
        "from evaluate import load as fetch",
        'metric = fetch("accuracy")',
        "metric = ResponseAccuracy()",
    ),
    "another load beside it": (
        "import evaluate",
        'metric = evaluate.load("accuracy")\nstate = torch.load("state")',
        'metric = ResponseAccuracy()\nstate = torch.load("state")',
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("imports", "before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(imports, before, after, newline):
    imports = f"{imports}\n{OTHER}"
    check_transformed(
        response_accuracy,
        before + "\n" + SCORE,
        after + "\n" + SCORE,
        slot="metric",
        also={"imports": (imports, imports)},
        newline=newline,
    )


@pytest.mark.parametrize("base", BASES)
def test_upstreams_shapes(base):
    before = BASES[base]["metric"]
    call = next(n for n in before.splitlines() if "evaluate.load" in n).split(" = ")[1]
    check_transformed(
        response_accuracy,
        before,
        before.replace(call, "ResponseAccuracy()"),
        slot="metric",
        base=BASES[base],
    )


def test_imported_where_it_is_used():
    check_transformed(
        response_accuracy,
        f'import evaluate\nmetric = evaluate.load("accuracy")\n{SCORE}',
        f"import evaluate\nmetric = ResponseAccuracy()\n{SCORE}",
        slot="metric",
        also={"imports": (OTHER, OTHER)},
    )


def test_the_record():
    _, patch = apply(render(OLD), response_accuracy)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "main", "ResponseAccuracy()")
    ]
    assert patch.graft_before is None


HINT = "It gives the accuracy metric"
COMPUTE = "return metric.compute(predictions=pair[0], references=pair[1])"
REFUSED = {
    "already done": (
        {"metric": f"metric = ResponseAccuracy()\n{SCORE}"},
        "found no call of evaluate.load",
        (COMPUTE,),
        HINT,
    ),
    "no metric": ({"metric": "score = None"}, "found no call of evaluate.load", (), HINT),
    "the library is not imported": (
        {"imports": OTHER},
        "found no call of evaluate.load",
        ('metric = evaluate.load("accuracy")', COMPUTE),
        HINT,
    ),
    "another library's": (
        {"imports": f"from metrics import evaluate\n{OTHER}"},
        "found no call of evaluate.load",
        ('metric = evaluate.load("accuracy")', COMPUTE),
        HINT,
    ),
    "the data library's": (
        {"metric": f'metric = datasets.load_metric("accuracy")\n{SCORE}'},
        "found no call of evaluate.load",
        (COMPUTE,),
        HINT,
    ),
    "another metric": (
        {"metric": f'metric = evaluate.load("bleu")\n{SCORE}'},
        'evaluate.load to be given "accuracy"',
        ('metric = evaluate.load("bleu")',),
        "",
    ),
    "a metric by name": (
        {"metric": f"metric = evaluate.load(margs.metric)\n{SCORE}"},
        'evaluate.load to be given "accuracy"',
        ("metric = evaluate.load(margs.metric)",),
        "",
    ),
    "a metric in bytes": (
        {"metric": f"metric = evaluate.load(b'accuracy')\n{SCORE}"},
        'evaluate.load to be given "accuracy"',
        ("metric = evaluate.load(b'accuracy')",),
        "",
    ),
    "a metric put together": (
        {"metric": f"metric = evaluate.load('accu' 'racy')\n{SCORE}"},
        'evaluate.load to be given "accuracy"',
        ("metric = evaluate.load('accu' 'racy')",),
        "",
    ),
    "nothing": (
        {"metric": f"metric = evaluate.load()\n{SCORE}"},
        'evaluate.load to be given "accuracy"',
        ("metric = evaluate.load()",),
        "",
    ),
    "two metrics": (
        {"metric": f'metric = evaluate.load("accuracy")\nmore = evaluate.load("bleu")\n{SCORE}'},
        "found 2 places, expected one: call of evaluate.load",
        ('metric = evaluate.load("accuracy")', 'more = evaluate.load("bleu")'),
        HINT,
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(response_accuracy, looked_for, nearest=nearest, hint=hint, **filled)


UNVERIFIED = {
    "bound to no name": (
        'metrics = {"all": evaluate.load("accuracy")}\n'
        "def score(pair):\n"
        '    return metrics["all"].compute(predictions=pair[0], references=pair[1])',
        "the metric is computed",
    ),
    "never computed": (
        'metric = evaluate.load("accuracy")\nscore = None',
        "the metric is computed",
    ),
    "computed by position": (
        'metric = evaluate.load("accuracy")\n'
        "def score(pair):\n    return metric.compute(pair[0], pair[1])",
        "the metric gets predictions and references",
    ),
    "computed with weights": (
        'metric = evaluate.load("accuracy")\ndef score(pair):\n'
        "    return metric.compute(predictions=pair[0], references=pair[1], sample_weight=None)",
        "the metric gets predictions and references",
    ),
}


@pytest.mark.parametrize(("metric", "promise"), UNVERIFIED.values(), ids=UNVERIFIED)
def test_verify_refuses_what_apply_let_pass(metric, promise):
    check_unverified(response_accuracy, promise, metric=metric)


RIGHT = f"metric = ResponseAccuracy()\n{SCORE}"
CAUGHT = {
    "upstream's": (OLD["metric"], "ResponseAccuracy is called once in main()"),
    "made twice": (
        RIGHT + "\nmore = ResponseAccuracy()",
        "ResponseAccuracy is called once in main()",
    ),
    "one more from the hub": (
        RIGHT + '\nmore = evaluate.load("bleu")',
        "no metric is loaded from the hub",
    ),
    "another is computed": (
        'metric = ResponseAccuracy()\nmore = get("accuracy")\n' + SCORE.replace("metric", "more"),
        "the metric is computed",
    ),
    "not bound": ("ResponseAccuracy()\n" + SCORE, "the metric is computed"),
    "made at each call": (SCORE.replace("metric", "ResponseAccuracy()"), "the metric is computed"),
    "references are missing": (
        RIGHT.replace(", references=pair[1]", ""),
        "the metric gets predictions and references",
    ),
    "other words": (
        RIGHT.replace("references", "labels"),
        "the metric gets predictions and references",
    ),
    "unpacked": (
        "metric = ResponseAccuracy()\ndef score(pair):\n    return metric.compute(**pair)",
        "the metric gets predictions and references",
    ),
    "imported from the hub's library": (
        RIGHT + '\nfrom evaluate import load\nmore = load("bleu")',
        "no metric is loaded from the hub",
    ),
}


@pytest.mark.parametrize(
    ("spoilt", "promise"),
    [
        pytest.param(
            *v,
            id=k,
        )
        for k, v in CAUGHT.items()
    ],
)
def test_verify_catches(spoilt, promise):
    check_caught(response_accuracy, promise, metric=spoilt)


@pytest.mark.parametrize("metric", [RIGHT, RIGHT.replace("metric", "right"), RIGHT + SCORE])
def test_verify_accepts(metric):
    check_accepted(response_accuracy, metric=metric)

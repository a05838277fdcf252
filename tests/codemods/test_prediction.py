"""codemods/prediction.py"""

from __future__ import annotations

import pytest

from codemods import prediction
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    check_unverified,
    render,
)

PREDICT = """
if targs.do_predict:
    predict_responses(trainer, tokenizer, encode_prompt, stop_ids, lead_ids, raw, margs, dargs, targs)"""

TRANSFORMED = {
    "always": "metrics = trainer.evaluate()",
    "dropped": "trainer.evaluate()  # to the log",
    "on a condition": "if targs.do_eval:\n    metrics = trainer.evaluate()\n    print(metrics)",
    "after a comment": "# How good is it?\nif targs.do_eval:\n    print(trainer.evaluate())",
    "with arguments": "scores = trainer.evaluate(\n    eval_dataset=None,\n    max_length=3,\n)",
    "in a loop": "for rows in (None, None):\n    trainer.evaluate(rows)",
    "in a branch": "if targs.do_eval:\n    trainer.evaluate()\nelse:\n    print('no evaluation')",
    "in a try": "try:\n    trainer.evaluate()\nfinally:\n    print('evaluated')",
    "twice": "first = trainer.evaluate()\nprint(first)\nsecond = trainer.evaluate()",
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("before", TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, base):
    after = f"{before}\n{PREDICT}"
    check_transformed(prediction, before, after, slot="evaluate", base=BASES[base])


def test_crlf():
    before = TRANSFORMED["on a condition"]
    check_transformed(prediction, before, f"{before}\n{PREDICT}", slot="evaluate", newline="\r\n")


def test_what_comes_after_stays_after():
    before = "trainer.evaluate()\n# And publish it.\n{}if targs.push_to_hub:\n    trainer.push()"
    check_transformed(
        prediction,
        before.format(""),
        before.format("").replace("()\n#", f"()\n{PREDICT}\n#", 1),
        slot="evaluate",
    )


def test_the_last_statement_of_main():
    check_transformed(
        prediction,
        "trainer.evaluate()",
        f"trainer.evaluate()\n{PREDICT}",
        slot="end",
        also={"evaluate": ("", "")},
    )


def test_another_thing_that_evaluates():
    before = "trainer.evaluate()\njudge.evaluate()\nexpression.evaluate()"
    text, _ = apply(render(OLD, {"evaluate": before}), prediction)
    assert text == render(OLD, {"evaluate": before.replace("()", f"()\n{PREDICT}", 1)})
    check_unverified(prediction, "prediction comes after training and evaluation", evaluate=before)


def test_other_names():
    check_transformed(
        prediction,
        "coach.evaluate()",
        "coach.evaluate()\n\nif run.do_predict:\n    predict_responses("
        "coach, words, encode_prompt, stop_ids, lead_ids, rows_of, the_model, the_data, run)",
        slot="evaluate",
        also={
            slot: (text, text)
            for slot, text in {
                "parse": OLD["parse"].replace("margs, dargs, targs", "the_model, the_data, run"),
                "load": "rows_of = load_dataset('json', data_files=the_data.train_file)",
                "tokenizer": "words = AutoTokenizer.from_pretrained('there')",
                "config": "config = AutoConfig.from_pretrained('there')",
                "model": "model = AutoModelForCausalLM.from_pretrained('there')",
                "mapping": "chunks = rows_of.map(words)",
                "splits": OLD["splits"].replace("targs", "run"),
                "trainer": "coach = Trainer(\n"
                "    model=model, train_dataset=train_rows, eval_dataset=eval_rows)",
                "train": "coach.train()",
            }.items()
        },
    )


def test_the_record():
    _, patch = apply(render(OLD), prediction)
    assert [(c.kind, c.where, c.code.strip()) for c in patch.changes] == [
        ("added after", "main", PREDICT.strip())
    ]
    assert patch.graft_before.name.value == "main"


REFUSED = {
    "nothing is evaluated": (
        {"evaluate": "print('trained')"},
        "found no call of trainer.evaluate",
        ("trainer.train()",),
    ),
    "another thing is": (
        {"evaluate": "judge.evaluate()"},
        "found no call of trainer.evaluate",
        ("trainer.train()", "judge.evaluate()"),
    ),
    "evaluated by a helper": (
        {
            "helper": "def judge(trainer):\n    return trainer.evaluate()",
            "evaluate": "judge(trainer)",
        },
        "this to stand in the function that trains",
        ("return trainer.evaluate()",),
    ),
    "the Trainer has no name": (
        {"trainer": "Trainer(model).train()"},
        "the Trainer to be assigned to a plain name",
        ("Trainer(model).train()",),
    ),
    "the Trainer is an attribute": (
        {"trainer": "state.trainer = Trainer(model)"},
        "the Trainer to be assigned to a plain name",
        ("state.trainer = Trainer(model)",),
    ),
    "the Trainer has two names": (
        {"trainer": "trainer = coach = Trainer(model)"},
        "the Trainer to be assigned to a plain name",
        ("trainer = coach = Trainer(model)",),
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest):
    check_refused(prediction, looked_for, nearest=nearest, **filled)


def test_verify_refuses_evaluation_before_training():
    check_unverified(
        prediction,
        "prediction comes after training and evaluation",
        train=OLD["evaluate"],
        evaluate=OLD["train"],
    )


REPLACED = {
    "by a statement": "targs.do_predict = False",
    "by a call": "setattr(targs, 'do_predict', False)",
}


@pytest.mark.parametrize("load", REPLACED.values(), ids=REPLACED)
def test_what_the_user_says_is_not_replaced(load):
    check_unverified(
        prediction, "the user's do_predict is not replaced", load=f"{OLD['load']}\n{load}"
    )


def test_the_raw_data_is_still_there():
    check_unverified(
        prediction,
        "raw is bound wherever predict_responses is given it",
        train=OLD["train"] + "\ndel raw",
    )


def test_evaluation_in_a_nested_function():
    before = "def judge():\n    return trainer.evaluate()\nprint(judge())"
    check_refused(
        prediction,
        "to stand in main() itself, not in a definition",
        nearest=("return trainer.evaluate()",),
        hint="What is to follow it",
        evaluate=before,
    )


CALL = "predict_responses(trainer, tokenizer, encode_prompt, stop_ids, lead_ids, raw, margs, dargs, targs)"
CAUGHT = {
    "no prediction": ({"evaluate": OLD["evaluate"]}, "predict_responses is called once in main()"),
    "twice": (
        {"end": f"if targs.do_predict:\n    {CALL}"},
        "predict_responses is called once in main()",
    ),
    "always": ({"evaluate": CALL}, "prediction runs if and only if --do_predict"),
    "on another condition": (
        {"evaluate": f"if targs.do_eval:\n    {CALL}"},
        "prediction runs if and only if --do_predict",
    ),
    "on one more condition": (
        {"evaluate": f"if targs.do_predict and targs.do_eval:\n    {CALL}"},
        "prediction runs if and only if --do_predict",
    ),
    "unless": (
        {"evaluate": f"if not targs.do_predict:\n    {CALL}"},
        "prediction runs if and only if --do_predict",
    ),
    "within evaluation": (
        {"evaluate": f"if targs.do_eval:\n    if targs.do_predict:\n        {CALL}"},
        "prediction runs if and only if --do_predict",
    ),
    "after something else": (
        {"evaluate": f"if targs.do_predict:\n    print('now')\n    {CALL}"},
        "prediction runs if and only if --do_predict",
    ),
    "or something else": (
        {"evaluate": f"if targs.do_predict:\n    {CALL}\nelse:\n    print('no prediction')"},
        "prediction runs if and only if --do_predict",
    ),
    "in the other branch": (
        {"evaluate": f"if targs.do_predict:\n    print('yes')\nelse:\n    {CALL}"},
        "prediction runs if and only if --do_predict",
    ),
    "before training": (
        {"train": FINISHED["evaluate"], "evaluate": FINISHED["train"]},
        "prediction comes after training and evaluation",
    ),
    "before evaluation": (
        {"evaluate": f"if targs.do_predict:\n    {CALL}\ntrainer.evaluate()"},
        "prediction comes after training and evaluation",
    ),
    "after an early end": (
        {"splits": "if not targs.do_train:\n    return"},
        "nothing ends the run before prediction",
    ),
    "after the end of evaluation": (
        {"evaluate": f"if targs.do_eval:\n    sys.exit(0)\nif targs.do_predict:\n    {CALL}"},
        "nothing ends the run before prediction",
    ),
    "of another model": (
        {"evaluate": f"if targs.do_predict:\n    {CALL.replace('trainer', 'model')}"},
        "prediction uses the trained model",
    ),
    "of no model": (
        {"evaluate": "if targs.do_predict:\n    predict_responses()"},
        "prediction uses the trained model",
    ),
    "of the model without the trainer": (
        {"evaluate": f"if targs.do_predict:\n    {CALL.replace('trainer', 'trainer.model')}"},
        "prediction uses the trained model",
    ),
    "arguments swapped": (
        {"evaluate": f"if targs.do_predict:\n    {CALL.replace('margs, dargs', 'dargs, margs')}"},
        "prediction",
    ),
    "condition of another group": (
        {"evaluate": f"if dargs.do_predict:\n    {CALL}"},
        "prediction runs if and only if --do_predict",
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
    check_caught(prediction, promise, **spoilt)


@pytest.mark.parametrize(
    "evaluate",
    [
        f"if targs.do_predict:\n    {CALL}",
        f"trainer.evaluate()\ntrainer.evaluate()\nif targs.do_predict:\n    {CALL}\nprint('end')",
        f"if targs.do_predict:\n    answers = {CALL}",
        f"def judge():\n    return trainer.x\nif targs.do_predict:\n    {CALL}\nreturn",
    ],
)
def test_verify_accepts(evaluate):
    check_accepted(prediction, evaluate=evaluate)

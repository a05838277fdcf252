"""codemods/prediction.py"""

from __future__ import annotations

import textwrap

import pytest

from codemods import prediction
from tests.codemods.helpers import FINISHED, OLD, Tables, apply, render

of = Tables(prediction, "evaluate")

NAMES = "trainer, tokenizer, encode_prompt, stop_ids, lead_ids, raw, margs, dargs, targs"
CALL = f"predict_responses({NAMES})"
PREDICT = f"if targs.do_predict:\n    {CALL}"


def predicts(text: str, predict: str = PREDICT) -> tuple[str, str]:
    """PREDICT is the line before which evaluation ends."""
    lines = textwrap.dedent(text).strip().split("\n")
    before, after = [], []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        is_here = line.strip() == "PREDICT"
        before += [] if is_here else [line]
        after += ["", *textwrap.indent(predict, indent).split("\n")] if is_here else [line]
    return "\n".join(before), "\n".join(after)


EVALUATE = "if targs.do_eval:\n    print(trainer.evaluate())"
TRANSFORMED = {
    "always": predicts("metrics = trainer.evaluate()\nPREDICT"),
    "dropped": predicts("trainer.evaluate()  # to the log\nPREDICT"),
    "on a condition": predicts(f"# How good is it?\n{EVALUATE}\nPREDICT"),
    "with arguments": predicts("scores = trainer.evaluate(\n    max_length=3,\n)\nPREDICT"),
    "in a loop": predicts("for rows in (None, None):\n    trainer.evaluate(rows)\nPREDICT"),
    "in a branch": predicts(f"{EVALUATE}\nelse:\n    print('no evaluation')\nPREDICT"),
    "twice": predicts("a = trainer.evaluate()\nprint(a)\nb = trainer.evaluate()\nPREDICT"),
    "with what comes after": predicts(f"{EVALUATE}\nPREDICT\n# And publish it.\ntrainer.push()"),
    "before the end of the process group": predicts(
        f"{EVALUATE}\nPREDICT\ntorch.distributed.destroy_process_group()"
    ),
    "before an end of the run": predicts(f"{EVALUATE}\nPREDICT\nsys.exit(0)"),
    "before what is returned": predicts(f"{EVALUATE}\nPREDICT\nreturn 0"),
}
test_transformed = of.transforms(TRANSFORMED)

TRAIN = "if targs.do_train:\n    trainer.train()"
BLOCKS = {
    "a try that tears down": """
        try:
            trainer.train()
            trainer.evaluate()
            PREDICT
            trainer.push()
        finally:
            torch.distributed.destroy_process_group()
        """,
    "a with": """
        with run:
            trainer.train()
            if targs.do_eval:
                trainer.evaluate()
            PREDICT
        """,
    "a with in a try": """
        try:
            with run:
                trainer.train()
                trainer.evaluate()
                PREDICT
        finally:
            close()
        """,
    "a with for evaluation alone": """
        try:
            trainer.train()
            with run:
                trainer.evaluate()
            PREDICT
        finally:
            close()
        """,
    "a branch": """
        if targs.do_train:
            trainer.train()
            trainer.evaluate()
        PREDICT
        """,
}  # fmt: skip


@pytest.mark.parametrize("text", BLOCKS.values(), ids=BLOCKS)
def test_in_the_block_that_trains(text):
    of.transformed({"evaluate": predicts(text), "train": ("", "")})


def test_in_the_block_that_makes_the_trainer():
    before, after = predicts("""
        with run:
            trainer = Trainer(model=model, train_dataset=train_rows, eval_dataset=eval_rows)
            trainer.train()
            trainer.evaluate()
            PREDICT
        """)
    of.transformed(
        {"trainer": (before, after), "metric": ("", ""), "train": ("", ""), "evaluate": ("", "")},
    )


def test_the_last_statement_of_main():
    rows = {"evaluate": ("", ""), "end": predicts("trainer.evaluate()\nPREDICT")}
    of.transformed(rows)


KNOWN = "coach, words, rows, m, d, run"
THERE = PREDICT.replace("targs.do", "run.do").replace(
    NAMES, "coach, words, encode_prompt, stop_ids, lead_ids, rows, m, d, run"
)
GIVEN = "trainer, tokenizer, raw, margs, dargs, targs"
FUNCTIONS = {
    "knows all": (
        f"def judge({KNOWN}):\n    coach.evaluate()\n    PREDICT",
        f"judge({GIVEN})",
        THERE,
    ),
    "trains, too": (
        f"def judge({KNOWN}):\n    coach.train()\n    coach.evaluate()\n    PREDICT",
        f"judge({GIVEN})",
        THERE,
    ),
}


@pytest.mark.parametrize(("helper", "call", "predict"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_evaluated_by_a_function_that_knows_all(helper, call, predict):
    of.transformed({"helper": predicts(helper, predict), "evaluate": (call, call)})


def test_evaluated_by_a_function_that_knows_little():
    helper = "def judge(trainer):\n    return trainer.evaluate()"
    rows = {"helper": (helper, helper), "evaluate": predicts("scores = judge(trainer)\nPREDICT")}
    of.transformed(rows)


def test_another_thing_that_evaluates():
    before, after = predicts("trainer.evaluate()\nPREDICT\njudge.evaluate()\nexpression.evaluate()")
    text, _ = apply(render(OLD, {"evaluate": before}), prediction)
    assert text == render(OLD, {"evaluate": after})


def test_other_names():
    said = {
        "parse": OLD["parse"].replace("margs, dargs, targs", "the_model, the_data, run"),
        "load": "rows_of = load_dataset('json', data_files=the_data.train_file)",
        "tokenizer": "words = AutoTokenizer.from_pretrained('there')",
        "config": "config = AutoConfig.from_pretrained('there')",
        "model": "model = AutoModelForCausalLM.from_pretrained('there')",
        "mapping": "chunks = rows_of.map(words)",
        "splits": OLD["splits"].replace("targs", "run"),
        "metric": "",
        "trainer": "coach = Trainer(model, run, train_dataset=train_rows, eval_dataset=eval_rows)",
        "train": "coach.train()",
    }
    names = "coach, words, encode_prompt, stop_ids, lead_ids, rows_of, the_model, the_data, run"
    predict = PREDICT.replace("targs.do", "run.do").replace(NAMES, names)
    rows = {slot: (text, text) for slot, text in said.items()}
    of.transformed({**rows, "evaluate": predicts("coach.evaluate()\nPREDICT", predict)})


test_record = of.records("main", both=[("added after", "main", f"{PREDICT}\n")])

NONE = "found no call of the Trainer's train or evaluate"
REFUSED = {
    "nothing is trained": (NONE, "", {"train": "", "evaluate": "print('trained')"}),
    "another thing is": (NONE, "judge.evaluate()", {"train": "", "evaluate": "judge.evaluate()"}),
    "the Trainer has no name": (
        NONE,
        "Trainer(model).train()",
        {"trainer": "Trainer(model).train()", "train": "", "evaluate": ""},
    ),
    "the Trainer has two names": (
        "one name for the Trainer in main(), not 2 (trainer, coach)",
        "trainer = coach = Trainer(model)\ntrainer = coach = Trainer(model)",
        {"trainer": "trainer = coach = Trainer(model)"},
    ),
    "in a definition": (
        "this to stand in main() itself, not in a definition",
        "return trainer.evaluate()",
        "def judge():\n    return trainer.evaluate()\nprint(judge())",
    ),
}
test_refused = of.refuses(REFUSED)

LATE, ENDS = (
    "prediction comes after training and evaluation",
    "nothing ends the run before prediction",
)
VERIFY_REFUSES = {
    "evaluation before training": (LATE, {"train": OLD["evaluate"], "evaluate": OLD["train"]}),
    "the group ends before": (ENDS, f"dist.destroy_process_group()\n{EVALUATE}"),
    "the run ends before": (ENDS, "if targs.do_eval:\n    trainer.evaluate()\n    sys.exit()"),
    "main ends before": (ENDS, {"train": f"{TRAIN}\n    return"}),
    "do_predict is replaced": (
        "the user's do_predict is not replaced",
        {"load": f"{OLD['load']}\ntargs.do_predict = False"},
    ),
    "a try of its own may tear down": (
        "nothing is torn down before prediction",
        "try:\n    trainer.evaluate()\nfinally:\n    close()",
    ),
    "do_predict is replaced by a call": (
        "the user's do_predict is not replaced",
        {"load": f"{OLD['load']}\nsetattr(targs, 'do_predict', False)"},
    ),
    "the data is gone": (
        "raw is bound wherever predict_responses is given it",
        {"train": f"{TRAIN}\ndel raw"},
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES)

IFF = "prediction runs if and only if --do_predict"
ONCE, USES = "predict_responses is called once", "prediction uses the trained model"
VERIFY_CATCHES = {
    "no prediction": (ONCE, OLD["evaluate"]),
    "twice": (ONCE, {"end": PREDICT}),
    "always": (IFF, CALL),
    "on another condition": (IFF, PREDICT.replace("do_predict", "do_eval")),
    "on one more condition": (
        IFF,
        PREDICT.replace("do_predict", "do_predict and targs.do_eval"),
    ),
    "unless": (IFF, PREDICT.replace("if", "if not")),
    "within evaluation": (
        IFF,
        f"if targs.do_eval:\n    {PREDICT.replace(chr(10), chr(10) + '    ')}",
    ),
    "after something else": (IFF, PREDICT.replace(CALL, f"print('now')\n    {CALL}")),
    "or something else": (IFF, f"{PREDICT}\nelse:\n    print('no prediction')"),
    "in the other branch": (IFF, f"if targs.do_predict:\n    pass\nelse:\n    {CALL}"),
    "another group's condition": (IFF, PREDICT.replace("targs.do", "dargs.do")),
    "before training": (LATE, {"train": FINISHED["evaluate"], "evaluate": FINISHED["train"]}),
    "before evaluation": (LATE, f"{PREDICT}\ntrainer.evaluate()"),
    "after an early end": (ENDS, {"splits": "if not targs.do_train:\n    return"}),
    "after the end of evaluation": (ENDS, f"if targs.do_eval:\n    sys.exit(0)\n{PREDICT}"),
    "after the end of the group": (ENDS, f"dist.destroy_process_group()\n{PREDICT}"),
    "after what is torn down": (
        "nothing is torn down before prediction",
        f"try:\n    trainer.evaluate()\nfinally:\n    close()\n{PREDICT}",
    ),
    "of another model": (USES, PREDICT.replace("(trainer", "(model")),
    "of no model": (USES, PREDICT.replace(NAMES, "")),
    "of the model without the trainer": (USES, PREDICT.replace("(trainer", "(trainer.model")),
    "arguments swapped": (USES, PREDICT.replace("margs, dargs", "dargs, margs")),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    PREDICT,
    f"trainer.evaluate()\ntrainer.evaluate()\n{PREDICT}\nprint('end')",
    PREDICT.replace("predict_resp", "answers = predict_resp"),
    f"def judge():\n    return trainer.x\n{PREDICT}\nreturn",
    f"try:\n    trainer.evaluate()\n    if targs.do_predict:\n        {CALL}\nfinally:\n    close()",
)

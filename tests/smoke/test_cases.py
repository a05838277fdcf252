"""What users ran into: each with data of its kind, through the script, to what is right.

What is learnt is read off `--preview`, how many rows are used off a run's results.
"""

from __future__ import annotations

import json

import pytest

from tests.smoke.conftest import Case
from tests.smoke.test_user_errors import error_of

pytestmark = pytest.mark.smoke
DATES = [f"2024-0{n}-1{n}" for n in range(1, 9)]


def pairs(answers: list) -> list[dict]:
    return [{"prompt": f"第{n}题？", "response": answer} for n, answer in enumerate(answers)]


def as_csv(answers: list[str]) -> str:
    return "prompt,response\n" + "".join(f"第{n}题？,{a}\n" for n, a in enumerate(answers))


def test_dates_of_one_file_beside_the_texts_of_another(case: Case) -> None:
    (case.folder / "many").mkdir()
    case.data("many/1.jsonl", pairs(["明天再说。", "不知道。"]))
    case.data("many/2.jsonl", pairs(DATES))
    assert case.learns(case.folder / "many" / "*.jsonl") == ["明天再说。", "不知道。", *DATES]


def test_dates_alone(case: Case) -> None:
    results, output = case.trains(case.data("dates.jsonl", pairs(DATES)))
    assert results["train_samples"] == len(DATES)
    assert "skipped" not in output
    assert ": cut the " not in output


def test_leading_zeros_after_ten_thousand_rows_of_words(case: Case) -> None:
    zips = ["010002", "000000", "07030"]
    file = case.text("zip.csv", as_csv(["好"] * 10_001 + zips))
    assert case.learns(file)[-4:] == ["好", *zips]


def test_words_for_nothing_are_answers(case: Case) -> None:
    words = ["NA", "n/a", "null", "NaN", "None", "小明", "#N/A", "-"]
    file = case.text("words.csv", as_csv([*words, ""]))
    assert case.learns(file) == words
    results, output = case.trains(file)
    assert results["train_samples"] == len(words)
    assert "skipped 1 of 9 rows with an empty prompt or response" in output


def test_numbers_in_csv_are_answers(case: Case) -> None:
    assert case.learns(case.text("labels.csv", as_csv(["0", "1", "1", "0"]))) == [
        "0",
        "1",
        "1",
        "0",
    ]


def test_what_is_cut_is_told(case: Case) -> None:
    file = case.data("stories.jsonl", pairs(["从前有座山，山里有座庙。" * 30] * 5 + ["短。"] * 2))
    _, output = case.trains(file, max_target_length=40)
    assert "stories.jsonl: cut the response of 5 of 7 rows at --max_target_length 40" in output


def test_histories_of_several_forms(case: Case) -> None:
    earlier = [["在吗？", "在。"]]
    forms = ["", earlier, "[]", [], json.dumps(earlier), None]
    rows = [{**row, "history": form} for row, form in zip(pairs(["好"] * 6), forms)]
    file = case.data("rounds.jsonl", rows)
    output = case.ends(do_train=True, train_file=file, preview=6, history_column="history")
    assert "6 rows used, 0 skipped" in output
    assert output.partition("\ntrain, ")[0].count("在吗？") == 2


@pytest.mark.parametrize(
    ("train", "dev"),
    [({}, {"from": "dev"}), ({"id": 7}, {}), ({"id": 7}, {"id": "d7"})],
)
def test_other_columns_in_one_of_two_files(case: Case, train: dict, dev: dict) -> None:
    trained = case.data("train.jsonl", [{**row, **train} for row in pairs(["好"] * 8)])
    evaluated = case.data("dev.jsonl", [{**row, **dev} for row in pairs(["好"] * 3)])
    results, output = case.trains(trained, evaluated, do_eval=True)
    assert (results["train_samples"], results["eval_samples"]) == (8, 3)
    for argument, columns in (("train_file", train), ("validation_file", dev)):
        line = f"--{argument}: columns that are not used: {', '.join(map(repr, columns))}."
        assert output.count(line) == bool(columns)


def test_an_arguments_file_with_a_list(case: Case) -> None:
    first, second, *_ = case.layers.split(",")
    data = str(case.data("rows.jsonl", pairs(["好"] * 6)))
    given = {
        "model_name_or_path": str(case.model),
        "train_file": [data],
        "validation_file": data,
        "output_dir": str(case.folder / "out"),
        "lora_target_modules": [first, second],
        "lora_rank": "4",
        "do_train": "yes",
        "max_steps": 1,
        "report_to": "none",
        **case.options,
    }
    arguments = case.text("arguments.json", json.dumps(given))
    case.program(case.script, arguments)
    config = json.loads((case.folder / "out" / "adapter_config.json").read_text("utf-8"))
    assert set(config["target_modules"]) == {first, second}
    assert config["r"] == 4


def test_a_report_that_is_not_installed_is_told_at_once(case: Case) -> None:
    from transformers.integrations import INTEGRATION_TO_CALLBACK

    for name in ("comet_ml", "codecarbon", "wandb"):
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except RuntimeError:
            break
    else:
        pytest.skip("all are installed")
    file = case.data("rows.jsonl", pairs(["好"] * 6))
    status, output = case.start(
        do_train=True, train_file=file, validation_file=file, report_to=name
    )
    assert status == 1
    assert error_of(output).startswith(f"error: --report_to {name}: ")
    assert "Encoding" not in output


def test_a_long_history_does_not_take_the_questions_place(case: Case) -> None:
    earlier = [[f"很久以前的第{n}个问题" * 8, f"很久以前的第{n}个回答" * 8] for n in range(3)]
    row = {"prompt": "现在几点？", "response": "三点。", "history": earlier}
    file = case.data("long.jsonl", [row] * 3)
    output = case.ends(do_train=True, train_file=file, preview=1, history_column="history", max_source_length=96)  # fmt: skip
    assert "现在几点？" in output
    assert "很久以前的第0个问题" not in output
    assert "prompts cut: 3, responses cut: 0" in output

"""One line for a user's mistake, a traceback for a bug."""

import json
import multiprocessing
import os

import pytest

pytest.importorskip("datasets")
pytest.importorskip("transformers")
import datasets
import transformers
import user_errors
from data_arguments import PromptResponseArguments
from user_errors import run_main


def code_of(main):
    with pytest.raises(SystemExit) as ended:
        run_main(main)
    return ended.value.code


def said(capsys, main):
    """The one line that running `main` prints, after the progress bars of others."""
    assert code_of(main) == 1
    *bars, line, rest = capsys.readouterr().err.split("\n")
    assert line.startswith("error: ") and rest == ""
    assert not any("error: " in bar for bar in bars)
    return line.removeprefix("error: ")


def unpack(pair):
    first, second = pair
    return first, second


def test_what_main_returns_is_returned():
    assert run_main(lambda: 3) == 3


@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_what_the_script_states(capsys, kind):
    def main():
        raise kind("so\n  it  is\n")

    assert said(capsys, main) == "so it is"


def test_an_assertion_of_the_script(capsys):
    text = "def main():\n    assert 'txt' in ['csv'], 'a csv file, please'"
    exec(
        compile(text, "script.py", "exec"), names := {}
    )  # pytest would rewrite an assert of its own
    assert said(capsys, names["main"]) == "a csv file, please"


def test_what_a_worker_process_states(capsys):
    """As `Dataset.map` with several processes passes it on."""

    def main():
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.map(state, [0])

    assert said(capsys, main) == "row 0"


def state(row):
    raise ValueError(f"row {row}")


def convert(text):
    return int(text)


def bug_in_worker():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(json.loads, ["{"])


def no_message():
    raise AssertionError


def other_kind():
    raise TypeError("broken")


@pytest.mark.parametrize(
    "bug",
    [
        lambda: convert("x"),
        lambda: unpack((1, 2, 3)),
        lambda: json.loads("{"),
        lambda: [].index(0),
        lambda: os.listdir("/no/such/folder"),
        lambda: {}["key"],
        no_message,
        other_kind,
        bug_in_worker,
    ],
)
def test_bugs_keep_their_traceback(capsys, bug):
    with pytest.raises(Exception) as error:
        run_main(bug)
    assert not isinstance(error.value, SystemExit)
    assert capsys.readouterr().err == ""


def test_an_interrupt():
    def main():
        raise KeyboardInterrupt

    assert code_of(main) == 130


def test_other_exits_are_left_alone():
    def main():
        raise SystemExit(2)

    assert code_of(main) == 2


def test_other_ranks_say_who_they_are(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert code_of(lambda: state(1)) == 1
    assert capsys.readouterr().err == "error on rank 3: row 1\n"


def test_the_traceback_is_logged(caplog):
    caplog.set_level("DEBUG")
    assert code_of(lambda: state(1)) == 1
    assert "Traceback (most recent call last)" in caplog.text
    assert 'raise ValueError(f"row {row}")' in caplog.text


# -- libraries ---------------------------------------------------------------------------------------


def load_model(tmp_path):
    transformers.AutoConfig.from_pretrained(str(tmp_path / "no-model"))


def load_broken_config(tmp_path):
    (tmp_path / "config.json").write_text("{", "utf-8")
    transformers.AutoConfig.from_pretrained(str(tmp_path))


def parse(*line):
    parser = transformers.HfArgumentParser((PromptResponseArguments,))
    return parser.parse_args_into_dataclasses(list(line))


def unknown_model_type(_):
    transformers.CONFIG_MAPPING["none-such"]


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        (load_model, "no-model"),
        (load_broken_config, "config"),
        (lambda _: parse("--none", "1"), "--none"),
        (lambda _: parse("--num_beams", "0"), "--num_beams must be at least 1, not 0."),
        (unknown_model_type, "--model_type"),
    ],
)
def test_what_a_library_refuses_to_load(capsys, tmp_path, main, expected):
    assert expected in said(capsys, lambda: main(tmp_path))


def test_the_models_own_code_is_no_library(capsys, tmp_path):
    """A file that is missing there is the user's matter, anything else is not."""
    remote = {"__name__": "transformers_modules.toy"}
    exec("def build(error):\n    raise error", remote)
    library = {"__name__": "transformers.auto", "build": remote["build"]}
    exec("def from_pretrained(error):\n    build(error)", library)
    load = library["from_pretrained"]
    assert said(capsys, lambda: load(OSError("no vocabulary"))) == "no vocabulary"
    with pytest.raises(ValueError, match="broken"):
        run_main(lambda: load(ValueError("broken")))


# -- data files --------------------------------------------------------------------------------------


class Arguments(PromptResponseArguments):
    train_file = validation_file = dataset_name = None


def read(tmp_path, **files):
    """A `main` that loads files; `name="text"` or bytes, in a file of the name's last part."""
    data_args = Arguments(history_column="history")
    paths = {}
    for split, (name, content) in files.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        setattr(data_args, f"{split}_file", str(path))
        paths[split] = str(path)

    def main():
        arguments = data_args  # as the script's main() holds them
        builder = "csv" if paths["train"].endswith("csv") else "json"
        return datasets.load_dataset(builder, data_files=paths, cache_dir=str(tmp_path)), arguments

    return main


GOOD = '{"prompt": "a", "response": "b", "history": [["q", "r"]]}\n'
NULL = '{"prompt": null, "response": "", "history": null}\n'


def test_good_files_are_read(tmp_path):
    (loaded, _) = run_main(read(tmp_path, train=("t.jsonl", GOOD + NULL)))
    assert len(loaded["train"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.json", None, "there is no file '{path}'."),
        ("t.json", "", "{path} is empty."),
        ("t.csv", "", "{path} is empty."),
        ("t.jsonl", GOOD + "{prompt\n", "{path}, line 2, column 2: not JSON: "),
        ("t.json", f"[{GOOD}, {{]", "{path}, line 2, column 4: not JSON: "),
        (
            "t.jsonl",
            GOOD + "[1, 2]",
            "{path}, row 2 (counted from 1): expected an object, found 1.",
        ),
        (
            "t.csv",
            "prompt\n你\n".encode("gbk"),
            "{path}, line 2: not UTF-8 (byte 0xc4 at position 1)",
        ),
    ],
)
def test_files_that_cannot_be_read(capsys, tmp_path, name, content, expected):
    line = said(capsys, read(tmp_path, train=(name, content)))
    assert line.startswith("--train_file: " + expected.format(path=tmp_path / name))


def test_text_that_shows_late_not_to_be_utf_8(capsys, tmp_path):
    load = read(tmp_path, train=("t.jsonl", GOOD.encode() + '{"prompt": "你"}'.encode("gbk")))

    def main():
        loaded, data_args = load()
        return [row["prompt"] for row in loaded["train"]], data_args

    assert said(capsys, main).startswith(f"--train_file: {tmp_path / 't.jsonl'}, line 2: not UTF-8")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_file_at_fault_is_named(capsys, tmp_path, split):
    main = read(tmp_path, **{"train": ("t.json", GOOD), split: ("v.json", "{")})
    assert said(capsys, main).startswith(f"--{split}_file: {tmp_path / 'v.json'}, line 1")


def test_files_of_two_kinds(capsys, tmp_path):
    main = read(tmp_path, train=("t.json", GOOD), validation=("v.csv", "prompt\nx\n"))
    assert said(capsys, main) == (
        "--train_file and --validation_file must be of one kind, not .csv and .json."
    )


def test_what_does_not_show_in_the_file_is_told_by_its_cause(capsys, tmp_path):
    line = said(capsys, read(tmp_path, train=("t.csv", "prompt,response\na,b\na,b,c,d,e\n")))
    assert line.startswith("cannot load the data: ") and "line 3" in line


def test_a_column_without_a_type(capsys, tmp_path):
    empty = '{"prompt": "a", "response": "b", "history": []}\n'
    main = read(tmp_path, train=("t.json", empty), validation=("v.json", GOOD))
    assert said(capsys, main).endswith("put others first, or write it as JSON text in all rows")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": 3}, "column 'prompt': expected text, found int 3."),
        ({"history": "x"}, "column 'history': expected JSON, found str 'x'."),
        ({"history": 1.5}, "column 'history': expected a list of [prompt, response] pairs"),
        ({"history": [["a", 1]]}, "column 'history': expected a [prompt, response] pair"),
    ],
)
def test_rows_are_checked_as_they_are_read(tmp_path, row, expected):
    path = tmp_path / "t.json"
    path.write_text(f"[{GOOD}, {json.dumps({**json.loads(GOOD), **row})}]", "utf-8")
    with pytest.raises(ValueError) as error:
        user_errors._check_data_file(str(path), Arguments(history_column="history"))
    assert f"{path}, row 2 (counted from 1), {expected}" in str(error.value)


def test_long_messages_are_cut():
    assert user_errors._one_line("a\n" * 1000, most=10) == "a a a a a…"

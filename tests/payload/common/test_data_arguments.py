"""The data arguments by themselves, as a base class and through the argument parser."""

from dataclasses import dataclass, field

import pytest
from data_arguments import PromptResponseArguments


@dataclass
class ScriptArguments(PromptResponseArguments):
    """What the script makes of them, cut down to its sources of data."""

    dataset_name: str = field(default=None)
    train_file: str = field(default=None)
    validation_file: str = field(default=None)

    def __post_init__(self):
        super().__post_init__()
        if self.validation_file is not None:
            assert self.validation_file.split(".")[-1] in ["csv", "json", "txt", "jsonl"]


def test_defaults():
    args = PromptResponseArguments()
    assert (args.max_source_length, args.max_target_length, args.max_new_tokens) == (1024, 128, 128)
    assert PromptResponseArguments(max_target_length=7).max_new_tokens == 7
    assert PromptResponseArguments(max_target_length=7, max_new_tokens=3).max_new_tokens == 3
    smallest = PromptResponseArguments(max_source_length=2, max_target_length=3)
    assert smallest.max_new_tokens == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_source_length": 1}, "--max_source_length must be at least 2, not 1."),
        ({"max_target_length": 2}, "--max_target_length must be at least 3, not 2."),
        ({"max_target_length": -5}, "--max_target_length must be at least 3, not -5."),
        ({"num_beams": 0}, "--num_beams must be at least 1, not 0."),
        ({"max_predict_samples": 0}, "--max_predict_samples must be at least 1, not 0."),
        ({"max_new_tokens": 0}, "--max_new_tokens must be at least 1, not 0."),
        ({"prompt_column": ""}, "--prompt_column must not be empty."),
        ({"test_file": "t.txt"}, "--test_file must end in .csv, .json, .jsonl, not 't.txt'."),
        ({"test_file": "folder.json/t"}, "--test_file must end in"),
        ({"test_file": "none.jsonl"}, "--test_file: there is no file 'none.jsonl'."),
        ({"test_file": "folder/*.csv"}, "--test_file: there is no file 'folder/*.csv'."),
    ],
)
def test_errors_take_one_line(options, said):
    with pytest.raises(ValueError) as error:
        ScriptArguments(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t.json", "t.jsonl", "t.csv"):
        (tmp_path / name).touch()


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.csv", "*.json"])
def test_a_test_file_alone_is_loaded_as_validation_data(name):
    assert ScriptArguments(test_file=name).validation_file == name
    for source in ("dataset_name", "train_file"):
        args = ScriptArguments(test_file=name, **{source: "x.json"})
        assert args.validation_file is None
    assert ScriptArguments(test_file=name, validation_file="v.csv").validation_file == "v.csv"


def test_a_test_file_elsewhere_is_not_looked_for():
    args = ScriptArguments(test_file="https://example.org/t.json", train_file="x.json")
    assert args.test_file == "https://example.org/t.json"


@pytest.mark.usefixtures("files")
def test_the_parser_takes_them():
    transformers = pytest.importorskip("transformers")
    parser = transformers.HfArgumentParser((ScriptArguments,))
    (args,) = parser.parse_args_into_dataclasses(
        ["--history_column", "history", "--test_file", "t.csv", "--ignore_pad_token_for_loss", "no"]
    )
    assert (args.history_column, args.validation_file) == ("history", "t.csv")
    assert args.ignore_pad_token_for_loss is False


def test_columns():
    args = ScriptArguments(history_column="history")
    present = ["prompt", "response", "history", "more"]
    assert args.find_columns(present, "t.csv") == ("prompt", "response", "history")
    assert ScriptArguments().find_columns(present, "t.csv") == ("prompt", "response", None)
    found = args.find_columns(["prompt", "history"], "t.csv", response_needed=False)
    assert found == ("prompt", None, "history")


@pytest.mark.parametrize(
    ("present", "said"),
    [
        (
            ["prompt", "history"],
            "t.csv has no column 'response'; its columns are: prompt, history.",
        ),
        (["response"], "t.csv has no column 'prompt'; its columns are: response."),
        (["prompt", "response"], "t.csv has no column 'history'"),
        ([], "t.csv is empty."),
    ],
)
def test_missing_columns(present, said):
    with pytest.raises(ValueError) as error:
        ScriptArguments(history_column="history").find_columns(present, "t.csv")
    assert said in str(error.value)


def test_rows():
    columns = ("prompt", "response", "history")
    read = ScriptArguments.read_row
    assert read(["a", "b", '[["q", "r"]]'], columns, "t", 1) == ["a", "b", [("q", "r")]]
    assert read([None, " \n", None], columns, "t", 1) == ["", "", []]
    assert read(["a", 3, 4], ("prompt", None, None), "t", 1) == ["a", "", []]
    with pytest.raises(ValueError) as error:
        read(["a", "b", [["q"]]], columns, "t.csv", 7)
    assert str(error.value) == (
        "t.csv, row 7 (counted from 1), column 'history': expected a [prompt, response] pair, "
        "found list ['q']."
    )


def test_a_data_set_with_a_name_is_loaded_by_datasets(monkeypatch):
    """Upstream may have one call for both, which is then given no files."""
    asked = []
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: asked.append((a, k)) or "loaded")
    found = PromptResponseArguments().load_files(
        "name", "config", data_files=None, split="train[:5%]", cache_dir="c"
    )
    assert found == "loaded"
    options = {"split": "train[:5%]", "streaming": False, "cache_dir": "c"}
    assert asked == [(("name", "config"), options)]

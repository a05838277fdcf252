"""The data arguments by themselves, as a base class and through the argument parser."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

datasets = pytest.importorskip("datasets")
from data_arguments import PromptResponseArguments

ROW = {"prompt": "a", "response": "b"}


@dataclass
class ScriptArguments(PromptResponseArguments):
    """What the script makes of them, cut down to its sources of data."""

    dataset_name: str = field(default=None)
    train_file: str = field(default=None)
    validation_file: str = field(default=None)

    def __post_init__(self):
        super().__post_init__()
        for file in (self.train_file, self.validation_file):
            assert file is None or file.split(".")[-1] in ["csv", "json", "jsonl", "gz", "parquet"]


def write(name, *rows):
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        datasets.Dataset.from_list(list(rows)).to_parquet(name)
    elif name.endswith(".csv"):
        path.write_text(
            "prompt,response\n" + "".join(f"{r['prompt']},{r['response']}\n" for r in rows)
        )
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t.json", "t.jsonl", "t.csv", "x.json", "x, y.csv", "t.parquet", "folder/1.csv"):
        write(name, ROW)
    for name in ("t.txt", "folder/t", "z.jsonl.zip"):
        Path(name).touch()


def test_defaults():
    args = PromptResponseArguments()
    assert (args.max_source_length, args.max_target_length, args.max_new_tokens) == (1024, 128, 128)
    assert PromptResponseArguments(max_target_length=7).max_new_tokens == 7
    assert PromptResponseArguments(max_target_length=7, max_new_tokens=3).max_new_tokens == 3
    smallest = PromptResponseArguments(max_source_length=2, max_target_length=3)
    assert smallest.max_new_tokens == 3
    limits = PromptResponseArguments(learn="all").limits()
    assert vars(limits) == {"max_source_length": 1024, "max_target_length": 128, "learn": "all"}


KINDS = (
    " is no csv, json or jsonl file, packed (.gz) or not, nor are all files parquet, or all arrow."
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_source_length": 1}, "--max_source_length must be at least 2, not 1."),
        ({"max_target_length": 2}, "--max_target_length must be at least 3, not 2."),
        ({"max_target_length": -5}, "--max_target_length must be at least 3, not -5."),
        ({"num_beams": 0}, "--num_beams must be at least 1, not 0."),
        ({"max_predict_samples": 0}, "--max_predict_samples must be at least 1, not 0."),
        ({"max_new_tokens": 0}, "--max_new_tokens must be at least 1, not 0."),
        ({"preview": 0}, "--preview must be at least 1, not 0."),
        ({"prompt_column": " , "}, "--prompt_column must not be empty."),
        ({"response_column": ""}, "--response_column must not be empty."),
        ({"learn": "first"}, "--learn must be last or all, not 'first'."),
        ({"test_file": "t.txt"}, "--test_file: 't.txt'" + KINDS),
        ({"train_file": "z.jsonl.zip"}, "--train_file: 'z.jsonl.zip'" + KINDS),
        ({"train_file": "t.csv,t.parquet"}, "--train_file: 't.parquet'" + KINDS),
        ({"train_file": "*"}, "--train_file: 't.parquet'" + KINDS),
        ({"test_file": "folder/t"}, "--test_file: 'folder/t'" + KINDS),
        ({"test_file": "none.jsonl"}, "--test_file: there is no file 'none.jsonl'."),
        ({"test_file": "nowhere/*.csv"}, "--test_file: there is no file 'nowhere/*.csv'."),
        ({"validation_file": ""}, "--validation_file must not be empty."),
    ],
)
def test_errors_take_one_line(options, said):
    with pytest.raises(ValueError) as error:
        ScriptArguments(**options)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("t.json", "t.json"),
        ("folder", "folder/1.csv"),
        ("t.js*", "t.json,t.jsonl"),
        ("t.csv, folder,", "t.csv,folder/1.csv"),
        ("x, y.csv", "x, y.csv"),
        ("x*", "x, y.csv,x.json"),
        ("t.parquet", "t.parquet"),
        ("https://example.org/t.json", "https://example.org/t.json"),  # not looked for now
    ],
)
def test_a_test_file_alone_is_loaded_as_validation_data(given, found):
    args = ScriptArguments(test_file=given)
    assert args.test_file == args.validation_file == found
    assert args.only_predicts
    for source in ({"dataset_name": "x"}, {"train_file": "x.json"}):
        assert ScriptArguments(test_file=given, **source).validation_file is None
    assert ScriptArguments(test_file=given, validation_file="t.csv").validation_file == "t.csv"


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, {"prompt": ["prompt"], "response": "response", "history": None, "messages": None}),
        (
            {"prompt_column": "instruction, input,", "history_column": "h", "messages_column": ""},
            {"prompt": ["instruction", "input"], "response": "response", "history": "h", "messages": None},
        ),
    ],
)  # fmt: skip
def test_columns(options, columns):
    assert ScriptArguments(**options).columns() == columns


def test_sources():
    args = ScriptArguments(train_file="t.js*")
    assert args.source("train") == args.source("validation") == "t.json and 1 more"
    assert ScriptArguments(train_file="x, y.csv").source("train") == "x, y.csv"
    args = ScriptArguments(train_file="x*", validation_file="t.csv")
    assert [args.source(s) for s in ("train", "validation", "test")] == [
        "x, y.csv and 1 more",
        "t.csv",
        "split 'test'",
    ]
    assert ScriptArguments(dataset_name="d").source("train") == "split 'train'"


def load(args, split=None, **options):
    """As the script does it."""
    given = {"train": args.train_file, "validation": args.validation_file}
    given = {name: file for name, file in given.items() if file is not None}
    return args.load_files("csv", data_files=given, split=split, **options)


@pytest.mark.parametrize("streaming", [False, True])
def test_all_files_of_all_splits_are_loaded(streaming):
    args = ScriptArguments(train_file="x*,t.csv", validation_file="folder")
    found = load(args, streaming=streaming)
    assert type(found) is (datasets.IterableDatasetDict if streaming else datasets.DatasetDict)
    assert [row["place"] for row in found["train"]] == [
        "x, y.csv, row 1 (line 2)",
        "x.json, row 1 (line 1)",
        "t.csv, row 1 (line 2)",
    ]
    assert [row["place"] for row in found["validation"]] == ["folder/1.csv, row 1 (line 2)"]


def test_parts_of_a_split_are_of_one_reading(caplog):
    """And what is said of it is said once."""
    write("m.jsonl", *[{**ROW, "id": n} for n in range(40)])
    args = ScriptArguments(train_file="m.jsonl")
    assert load(args).keys() == {"train"}
    held_out = load(args, "train[:5%]")
    Path("m.jsonl").unlink()
    rest = load(args, "train[5%:]")
    assert [len(held_out), len(rest)] == [2, 38]
    assert [r.message for r in caplog.records] == ["--train_file: columns that are not used: 'id'."]


def test_only_test_files_need_no_response(caplog):
    write("q.jsonl", {"prompt": "a", "id": 1})
    args = ScriptArguments(test_file="q.jsonl")
    assert len(load(args)["validation"]) == 1
    assert len(args.load_files(None, data_files={"test": args.test_file}, split="test")) == 1
    assert [r.message for r in caplog.records] == ["--test_file: columns that are not used: 'id'."]
    with pytest.raises(ValueError, match="q.jsonl has no column 'response'"):
        load(ScriptArguments(test_file="q.jsonl", train_file="q.jsonl"))


def test_files_with_types():
    args = ScriptArguments(train_file="t.parquet")
    assert load(args)["train"][:] == {"prompt": ["a"], "response": ["b"]}
    assert len(load(args, "train[:100%]")) == 1
    with pytest.raises(ValueError) as error:
        load(ScriptArguments(train_file="t.parquet", validation_file="t.csv"))
    assert str(error.value) == (
        "--train_file (parquet) and --validation_file (csv) must be of one kind, or of csv, json and jsonl."
    )


def test_test_data_is_required():
    with pytest.raises(ValueError, match="--do_predict needs a --test_file"):
        ScriptArguments(train_file="t.csv").require_test_data({"train": ()})
    ScriptArguments(train_file="t.csv").require_test_data({"test": ()})
    ScriptArguments(test_file="t.csv").require_test_data({})


def test_the_parser_takes_them():
    transformers = pytest.importorskip("transformers")
    parser = transformers.HfArgumentParser((ScriptArguments,))
    (args,) = parser.parse_args_into_dataclasses(
        ["--history_column", "history", "--test_file", "t.csv", "--ignore_pad_token_for_loss", "no"]
    )
    assert (args.history_column, args.validation_file) == ("history", "t.csv")
    assert args.ignore_pad_token_for_loss is False


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

"""Rows to features: what is read, skipped and refused, the cache, batching and the accuracy."""

import contextlib
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
pytest.importorskip("transformers")
import numpy as np
import prompt_response
import transformers
from chatglm_encoding import encode_pair
from conftest import PlainModel, messages
from evaluation_counts import _response_accuracy
from positions import check_longest
from prompt_response import PairCollator, encode_datasets

PATCHES = Path(prompt_response.__file__).parents[1]


def run_arguments(do_train=True, do_eval=False):
    return types.SimpleNamespace(
        do_train=do_train,
        do_eval=do_eval,
        length_column_name="length",
        process_index=0,
        main_process_first=lambda desc: contextlib.nullcontext(),
    )


def splits(**rows):
    return datasets.DatasetDict(
        {split: datasets.Dataset.from_list(given) for split, given in rows.items()}
    )


def row(prompt="a", response="b", **more):
    return {"prompt": prompt, "response": response, **more}


def encode(raw, tokenizer, data_args, **changes):
    for name, value in changes.items():
        setattr(data_args, name, value)
    return encode_datasets(raw, encode_pair, tokenizer, data_args, run_arguments())


def features(tokenizer, prompt, history, response, data_args, number=0):
    """What becomes of one row: what `encode_pair` says, its length and its number."""
    encoded = encode_pair(tokenizer, messages(prompt, history, response), data_args)
    return {**encoded, "length": len(encoded["input_ids"]), "row": number}


def test_rows_become_what_encode_pair_says(tokenizer, data_args):
    raw = splits(train=[row("hi", "yo", other=1), row("hello", "x" * 50, other=2)])
    result = encode(raw, tokenizer, data_args)
    assert isinstance(result, datasets.DatasetDict) and list(result) == ["train"]
    columns = ["input_ids", "labels", "source_length", "target_length", "length", "row"]
    assert result["train"].column_names == columns
    assert result["train"].to_list() == [
        features(tokenizer, "hi", [], "yo", data_args),
        features(tokenizer, "hello", [], "x" * 50, data_args, 1),
    ]


@pytest.mark.parametrize("do_train", [False, True])
@pytest.mark.parametrize("do_eval", [False, True])
def test_only_needed_splits_are_encoded(tokenizer, data_args, do_train, do_eval):
    # The test split could not be encoded: it has no response.
    raw = splits(train=[row()], validation=[row()], test=[{"prompt": "a"}])
    result = encode_datasets(
        raw, encode_pair, tokenizer, data_args, run_arguments(do_train, do_eval)
    )
    assert list(result) == ["train"] * do_train + ["validation"] * do_eval


def test_a_split_that_is_not_there_is_left_to_the_script(tokenizer, data_args):
    assert "train" not in encode(splits(validation=[row()]), tokenizer, data_args)


@pytest.mark.parametrize("as_json", [False, True])
def test_history(tokenizer, data_args, as_json):
    rounds = [[], [["q", "r"]], [["q", "r"], ["s", "t"]], None]
    cells = [json.dumps(value) if as_json and value is not None else value for value in rounds]
    raw = splits(train=[row(history=cell) for cell in cells])
    data_args.max_source_length = 90
    result = encode(raw, tokenizer, data_args, history_column="history")["train"]
    assert result.to_list() == [
        features(tokenizer, "a", value, "b", data_args, number)
        for number, value in enumerate(rounds)
    ]
    assert len({len(ids) for ids in result["input_ids"]}) == 3


def test_blank_rows_are_skipped_and_counted(tokenizer, data_args, caplog):
    blank = [row(prompt=None), row(response=None), row(prompt=""), row(response=" \n")]
    result = encode(splits(train=[*blank, row(), *blank]), tokenizer, data_args)
    assert len(result["train"]) == 1
    assert "split 'train': skipped 8 of 9 rows" in caplog.text


def test_a_whole_batch_of_blank_rows_does_not_hurt(tokenizer, data_args):
    # map() hands over 1000 rows at a time.
    raw = splits(train=[row(prompt="")] * 1000 + [row()] * 3 + [row(prompt="")] * 1500)
    assert len(encode(raw, tokenizer, data_args)["train"]) == 3


def test_nothing_but_blank_rows_is_an_error(tokenizer, data_args):
    with pytest.raises(ValueError, match="no usable row: in all 2 of them the prompt"):
        encode(splits(train=[row(prompt=""), row(response="")]), tokenizer, data_args)


def test_the_limit_counts_rows_of_the_data(tokenizer, data_args):
    seen = []

    def counting(*args):
        seen.append(args[1][-2]["content"])
        return encode_pair(*args)

    raw = splits(train=[row(prompt=""), *(row(prompt=f"p{i}") for i in range(50))])
    data_args.max_train_samples = 3
    result = encode_datasets(raw, counting, tokenizer, data_args, run_arguments())
    assert len(result["train"]) == 2
    assert set(seen) == {"a", "p0", "p1"}
    assert len(encode(raw, tokenizer, data_args, max_train_samples=1000)["train"]) == 50


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "a", "response": "b"}], "has no column 'prompt'; its columns are: question"),
        ([row(), row(prompt="c", response="d")], "has no column 'history'"),
        (
            [row(prompt=7.5, history=None)],
            "row 1 (counted from 1), column 'prompt': expected text, found float 7.5.",
        ),
        (
            [row(response=["b"], history=None)],
            "row 1 (counted from 1), column 'response': expected text, found a list",
        ),
        (
            [row(history="[]"), row(history="{")],
            "row 2 (counted from 1), column 'history': expected JSON",
        ),
        ([row(history='"ab"')], "column 'history': expected a list of [prompt, response] pairs"),
        ([row(history='["ab"]')], "expected a [prompt, response] pair, found str 'ab'"),
        (
            [row(history=[["a", "b"], ["c"]])],
            "expected a [prompt, response] pair, found a list ['c']",
        ),
        ([row(history=[["a", None]])], "expected a [prompt, response] pair"),
        ([row(history="[[1, true]]")], "expected text, found true or false True"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_bad_data_is_named(tokenizer, data_args, rows, said, streaming):
    raw = splits(train=rows)
    if streaming:
        raw = datasets.IterableDatasetDict({"train": raw["train"].to_iterable_dataset()})
    with pytest.raises(ValueError) as error:
        list(encode(raw, tokenizer, data_args, history_column="history")["train"])
    assert "split 'train'" in str(error.value) and said in str(error.value)
    assert "\n" not in str(error.value)


def test_workers_give_the_same_rows_and_errors(tokenizer, data_args):
    raw = splits(train=[row(prompt=f"p{i}") for i in range(20)])
    alone = encode(raw, tokenizer, data_args, overwrite_cache=True)["train"].to_list()
    assert (
        encode(raw, tokenizer, data_args, preprocessing_num_workers=2)["train"].to_list() == alone
    )
    raw = splits(train=[row(history="[]")] * 7 + [row(history="?")])
    with pytest.raises(
        ValueError, match=r"row 8 \(counted from 1\), column 'history': expected JSON"
    ):
        encode(raw, tokenizer, data_args, history_column="history")


def test_rows_of_files_are_named_by_their_place(tokenizer, data_args):
    cells = [
        {"place": f"a.csv, row {n}", "history": "", "prompt": "p", "response": "r" * n}
        for n in range(3)
    ]
    raw = splits(train=cells)
    assert encode(raw, tokenizer, data_args)["train"].to_list() == [
        features(tokenizer, "p", [], "r" * n, data_args, n) for n in (1, 2)
    ]
    data_args.learn = "all"
    with pytest.raises(ValueError, match="--learn all"):
        encode(raw, tokenizer, data_args)
    raw = splits(train=[dict(cells[1], history='[{"role": "system", "content": "s"}]')])
    with pytest.raises(ValueError, match=r"^a\.csv, row 1: ChatGLM-6B's format has no place"):
        encode(raw, tokenizer, data_args, learn="last")


def test_cuts_are_counted_in_one_line(tokenizer, data_args, caplog):
    rows = [row("hi", "x" * n) for n in (5, 18, 19, 30)] + [row("p" * 60, "yo")] * 2
    encode(splits(train=rows), tokenizer, data_args)
    assert caplog.text.count("cut") == 1
    assert (
        "split 'train': cut the response of 2 of 6 rows at --max_target_length 20 (32 would hold 99 % "
        "of the rows), and the prompt or its history of 2 of 6 rows at --max_source_length 40 (61 would"
    ) in caplog.text
    caplog.clear()
    encode(splits(train=rows[:2]), tokenizer, data_args)
    assert "cut" not in caplog.text


def test_the_first_cut_of_a_stream_is_told(tokenizer, data_args, caplog):
    rows = [row("hi", "yo"), row("hi", "x" * 30), row("hi", "x" * 31)]
    raw = datasets.IterableDatasetDict({"train": splits(train=rows)["train"].to_iterable_dataset()})
    assert len(list(encode(raw, tokenizer, data_args)["train"])) == 3
    assert caplog.text.count("cut at") == 1
    assert "row 2 (counted from 1): cut at --max_target_length 20" in caplog.text


class TableModel(torch.nn.Module):
    """A model that looks its positions up in a table, two rows larger, as OPT's is."""

    def __init__(self, positions):
        super().__init__()
        self.words, self.places = torch.nn.Embedding(9, 2), torch.nn.Embedding(positions + 2, 2)
        self.config = types.SimpleNamespace(max_position_embeddings=positions)

    def get_input_embeddings(self):
        return self.words


@pytest.mark.parametrize("streaming", [False, True])
def test_a_row_longer_than_the_model_is_told(tokenizer, data_args, caplog, streaming):
    rows = splits(train=[row("hi", "yo"), row(prompt=""), row("p" * 30, "yo")])
    raw = datasets.IterableDatasetDict({"train": rows["train"].to_iterable_dataset()})
    raw = raw if streaming else rows
    said = r"row 3 \(counted from 1\): 35 tokens, and the model has 34 positions"

    def encoded(model):
        arguments = run_arguments()
        found = encode_datasets(raw, encode_pair, tokenizer, data_args, arguments)
        check_longest(arguments, model)  # once there is a model
        return list(found["train"])

    with pytest.raises(ValueError, match=said):
        encoded(TableModel(34))
    assert len(encoded(TableModel(35))) == 2
    assert "positions" not in caplog.text
    assert len(encoded(PlainModel(34))) == 2  # positions that are computed go on
    assert caplog.text.count("the model has 34 positions") == 1


def test_any_split_is_encoded_when_it_is_asked_for(tokenizer, data_args):
    raw = splits(train=[row("a", "b")], test=[row("c", "d"), row("", "e")])
    found = encode_datasets(raw, encode_pair, tokenizer, data_args, run_arguments(do_train=False))
    assert not len(found)
    assert "train" in found
    assert "validation" not in found
    assert len(found["test"]) == 1
    assert found["test"] is found["test"]
    assert list(found) == ["test"]
    with pytest.raises(KeyError):
        found["validation"]


def test_a_file_too_small_to_evaluate_on(tokenizer, data_args):
    data_args.validation_split_percentage = 5
    raw = splits(train=[row()])
    raw["validation"] = raw["train"].select([])
    with pytest.raises(ValueError, match="--do_eval: .* too small .* give --validation_file"):
        encode_datasets(raw, encode_pair, tokenizer, data_args, run_arguments(True, True))
    assert len(encode(raw, tokenizer, data_args)["train"]) == 1


@pytest.mark.parametrize("raw", [{}, {"train": None}])
def test_nothing_to_predict_from_is_told_before_training(tokenizer, data_args, raw):
    arguments = run_arguments()
    arguments.do_predict = True
    with pytest.raises(ValueError, match="--do_predict needs a --test_file"):
        encode_datasets(raw, encode_pair, tokenizer, data_args, arguments)


@pytest.mark.parametrize("known", [False, True])
def test_streams(tokenizer, data_args, known):
    rows = [row("hi", "yo"), row(prompt=""), row("b", "c"), row("d", "e")]
    if known:
        stream = datasets.Dataset.from_list(rows).to_iterable_dataset()
    else:
        stream = datasets.IterableDataset.from_generator(lambda: iter(rows))
    assert (stream.features is not None) is known
    raw = datasets.IterableDatasetDict({"train": stream})
    result = encode(raw, tokenizer, data_args, max_train_samples=3)["train"]
    assert isinstance(result, datasets.IterableDataset)
    expected = [
        features(tokenizer, "hi", [], "yo", data_args, 0),
        features(tokenizer, "b", [], "c", data_args, 2),
    ]
    assert [dict(found) for found in result] == expected
    assert [dict(found) for found in result] == expected, "a stream can be read again"


SCRIPT = """
import contextlib, os, sys, types
sys.path.insert(0, {here!r})
sys.path.insert(0, os.path.dirname({here!r}))
from test_lora import ToyTokenizer
{modules}

@dataclass
class Arguments(PromptResponseArguments):
    max_source_length: int = 40
    max_target_length: int = 20
    max_train_samples: int = None
    max_eval_samples: int = None
    preprocessing_num_workers: int = None
    overwrite_cache: bool = False

data_args = Arguments(max_eval_samples=int(sys.argv[2]))
run = types.SimpleNamespace(
    do_train=True,
    do_eval=False,
    length_column_name="length",
    process_index=0,
    main_process_first=lambda desc: contextlib.nullcontext(),
)
raw = data_args.load_files("json", data_files={{"train": sys.argv[1]}})
tokenizer = ToyTokenizer()
if sys.argv[3] == "used":
    tokenizer(["ab", "c"], padding=True)
rows = encode_datasets(raw, encode_pair, tokenizer, data_args, run)["train"]
print("CACHE", [os.path.basename(file["filename"]) for file in rows.cache_files])
"""


GRAFTED = (
    "json_rows",
    "csv_rows",
    "dialogues",
    "data_files",
    "data_arguments",
    "cut_response",
    "fit_dialogue",
    "positions",
    "prompt_response",
)


ENCODINGS = {
    "chatglm": (
        "dialogue_layout",
        "chatglm_6b_layout",
        "chatglm2_layout",
        "chatglm3_layout",
        "chatglm_encoding",
    ),
    "causal": ("causal_encoding",),
}


@pytest.mark.parametrize("series", ENCODINGS)
def test_other_processes_find_the_cache(tmp_path, series):
    """As blocks of one script, run twice: hashes of strings, and so of sets, differ then."""
    files = [f"common/{name}.py" for name in GRAFTED]
    files += [f"{series}/{name}.py" for name in ENCODINGS[series]]
    layouts = rf"^from ({'|'.join(ENCODINGS[series])}) import .*$"
    modules = [re.sub(layouts, "", (PATCHES / f).read_text("utf-8"), flags=re.M) for f in files]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), modules="\n".join(modules)))
    rows = tmp_path / "rows.json"
    rows.write_text("\n".join(json.dumps(row(prompt=f"p{i}")) for i in range(5)))
    cache = tmp_path / "datasets"

    def run(seed, *args):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "HF_DATASETS_CACHE": str(cache),
            "PYTHONPATH": os.pathsep.join(str(PATCHES / layer) for layer in ("common", series)),
        }
        command = [sys.executable, str(script), str(rows), *args]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return next(line for line in done.stdout.splitlines() if line.startswith("CACHE"))

    first = run("1", "5", "fresh")
    made = {path: path.stat().st_mtime_ns for path in cache.rglob("cache-*.arrow")}
    assert "cache-" in first and made
    # Neither another seed, nor a limit that has no part in encoding, nor a tokenizer in use.
    assert run("2", "6", "used") == first
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("cache-*.arrow")} == made


def test_batches_are_padded_on_the_right(tokenizer, data_args):
    rows = [
        {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]},
        {"input_ids": [8], "labels": [8]},
    ]
    batch = PairCollator(tokenizer, data_args)(rows)
    assert set(batch) == {"input_ids", "labels"}
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}

    batch = PairCollator(tokenizer, data_args, pad_to_multiple_of=8)(rows)
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 8)

    data_args.ignore_pad_token_for_loss = False
    assert PairCollator(tokenizer, data_args)(rows)["labels"].tolist()[1] == [8, 0, 0]


def test_an_attention_mask_is_padded_along(tokenizer, data_args):
    rows = [{"input_ids": [5] * n, "labels": [5] * n, "attention_mask": [1] * n} for n in (2, 3)]
    batch = PairCollator(tokenizer, data_args)(rows)
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]


def test_padding_falls_back_on_the_end_token(data_args):
    rows = [{"input_ids": [5], "labels": [5]}, {"input_ids": [5, 6], "labels": [5, 6]}]
    other = types.SimpleNamespace(pad_token_id=None, eos_token_id=9)
    assert PairCollator(other, data_args)(rows)["input_ids"].tolist() == [[5, 9], [5, 6]]
    other.eos_token_id = None
    with pytest.raises(ValueError, match="neither a padding nor an end-of-text token"):
        PairCollator(other, data_args)


def test_accuracy_is_the_share_of_what_was_counted():
    def accuracy(right, counted):
        evaluated = transformers.EvalPrediction(np.array(right), np.array(counted))
        return _response_accuracy(evaluated)["accuracy"]

    assert accuracy([[2], [0]], [[3], [1]]) == 0.5
    assert accuracy([[0]], [[0]]) == 0.0
    assert type(accuracy([[1]], [[1]])) is float

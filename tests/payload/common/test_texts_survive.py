"""Whatever texts stand in files of whatever form: exactly those are read, and exactly those encoded.

Files are written by Python's own csv and json; the texts that went in are what must come out.
"""

import contextlib
import csv
import gzip
import io
import json
import random
import tempfile
import types
from pathlib import Path
from unittest import mock

import pytest

datasets = pytest.importorskip("datasets")
pytest.importorskip("transformers")
import data_files
import json_rows
from chatglm_encoding import encode_pair
from data_arguments import PromptResponseArguments
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompt_response import encode_datasets
from test_lora import SPECIAL, ToyTokenizer

WORDS = ["010", "1.50", "1e5", "0", "-0", "null", "NA", "N/A", "None", "True", "nan", "2023-05-01"]
WORDS += [
    " a ",
    "\ta",
    "2023-05-01T00:00:00Z",
    "12:30",
    "[]",
    "{}",
    '""',
    "=1+1",
    "\ufeff",
    "\ufeffa",
    "é",
    "e\u0301",
]
TRICKY = " \t\n\r\"',;|\\/\x00\x0b\x1c\x85\u2028\u2029\ufeff\u200b\u202eא好😀👨‍👩‍👧aZ0.-#"
NUMBERS = ["0", "-0", "1.50", "1e5", "1E+5", "-12.00", "9" * 40]

texts = (
    st.sampled_from(WORDS)
    | st.text(st.sampled_from(TRICKY), max_size=12)
    | st.text(st.characters(codec="utf-8"), max_size=30)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
rounds = st.lists(st.tuples(texts, texts), max_size=2)


class Number(str):
    """A number in JSON, by the text that spells it."""


def json_object(row, space, is_ascii):
    """As json.dumps, which has no numbers by their spelling."""

    def spell(value):
        return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=is_ascii)

    cells = [f"{spell(name)}:{space}{spell(value)}" for name, value in row.items()]
    return "{" + f",{space}".join(cells) + "}"


def history_cell(history, form):
    if form == "messages":
        return [
            {"role": role, "content": text}
            for pair in history
            for role, text in zip(("user", "assistant"), pair)
        ]
    return [list(pair) for pair in history]


@st.composite
def files(draw):
    """Return (name, bytes, [(history, prompt, response)]) of one file."""
    kind = draw(st.sampled_from(["csv", "jsonl", "json"]))
    is_csv = kind == "csv"
    no_nul = texts.map(lambda text: text.replace("\0", ""))
    cell = no_nul if is_csv else texts | st.sampled_from(NUMBERS).map(Number)
    extra = draw(st.lists(st.sampled_from(["id", "a, b", "", "x\ny"]), unique=True))
    columns = draw(st.permutations(["history", "prompt", "response", *extra]))
    rows, written = [], []
    for _ in range(draw(st.integers(1, 5))):
        history, prompt, response = draw(rounds), draw(cell), draw(cell)
        asked = history_cell(history, draw(st.sampled_from(["pairs", "messages"])))
        if is_csv or draw(st.booleans()):
            asked = json.dumps(asked, ensure_ascii=draw(st.booleans()))
        if not history:
            asked = draw(st.sampled_from(["", "[]", "null"]))
        row = {"history": asked, "prompt": prompt, "response": response}
        row |= {name: draw(no_nul if is_csv else values) for name in extra}
        kept = [name for name in columns if is_csv or name not in extra or draw(st.booleans())]
        written.append({name: row[name] for name in kept})
        rows.append((history, str(prompt), str(response)))
    text = as_csv(draw, columns, written) if is_csv else as_json(draw, kind, written)
    data = (draw(st.sampled_from(["", "\ufeff"])) + text).encode()
    packed = draw(st.booleans())
    return kind + ".gz" * packed, gzip.compress(data) if packed else data, rows


def as_csv(draw, columns, rows):
    file = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    # The writer puts quotes around the characters that end its own lines only.
    end = "\n" if quoting == csv.QUOTE_ALL and draw(st.booleans()) else "\r\n"
    writer = csv.DictWriter(file, columns, quoting=quoting, lineterminator=end)
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        file.write(end * draw(st.integers(0, 1)))
    return file.getvalue()


def as_json(draw, kind, rows):
    space = draw(st.sampled_from(["", " ", "\n", "\r\n\t"])) if kind == "json" else " "
    is_ascii = draw(st.booleans())
    objects = [json_object(row, space, is_ascii) for row in rows]
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n \n"]))
    if kind == "json" and draw(st.booleans()):
        return f"[{space}" + f",{end}".join(objects) + f"{space}]{end}"
    return end.join(objects) + draw(st.sampled_from(["", end]))


def blank_left_out(text):
    return text if text.strip() else ""


@contextlib.contextmanager
def written(several, order):
    """Write files into a folder of their own; yields their paths, as an argument has them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (ending, data, _) in enumerate(several):
            paths.append(f"{folder}/{order.randrange(100)}-{number}.{ending}")
            Path(paths[-1]).write_bytes(data)
        yield ",".join(paths), folder


def load(paths, folder, streaming):
    limits = {"max_source_length": 9999, "max_target_length": 9999}
    args = PromptResponseArguments(history_column="history", **limits)
    raw = args.load_files(
        "json", data_files={"train": paths}, streaming=streaming, cache_dir=folder
    )
    return args, raw


exactly = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@exactly
@given(
    st.lists(files(), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 2, 3, 64, json_rows.JSON_CHUNK]),
    st.sampled_from([1, 2, data_files.ROWS_AT_ONCE]),
)
def test_texts_are_read_as_they_are(several, order, chunk, batch):
    expected = [
        (history_cell(history, "messages"), blank_left_out(prompt), blank_left_out(response))
        for _, _, rows in several
        for history, prompt, response in rows
    ]
    with (
        written(several, order) as (paths, folder),
        mock.patch.object(json_rows, "JSON_CHUNK", chunk),
        mock.patch.object(data_files, "ROWS_AT_ONCE", batch),
    ):
        for streaming in (False, True):
            _, raw = load(paths, folder, streaming)
            found = [
                (json.loads(row["history"] or "[]"), row["prompt"], row["response"])
                for row in raw["train"]
            ]
            assert found == expected


class ByteTokenizer(ToyTokenizer):
    """One token a byte: nothing is lost."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tokens = SPECIAL + [f"<{byte}>" for byte in range(256)]
        self.ids = {token: number for number, token in enumerate(self.tokens)}

    def _tokenize(self, text, **kwargs):
        return [f"<{byte}>" for byte in text.encode()]


def spelled(ids):
    return bytes(i - len(SPECIAL) for i in ids).decode()


@settings(exactly, max_examples=25)
@given(st.lists(files(), min_size=1, max_size=3), st.randoms(use_true_random=False))
@pytest.mark.parametrize("streaming", [False, True])
def test_texts_are_encoded_as_they_are(streaming, several, order):
    expected = [row for _, _, rows in several for row in rows if row[1].strip() and row[2].strip()]
    arguments = types.SimpleNamespace(
        do_train=True,
        do_eval=False,
        length_column_name="length",
        process_index=0,
        main_process_first=lambda desc: contextlib.nullcontext(),
    )
    with written(several, order) as (paths, folder):
        args, raw = load(paths, folder, streaming)
        args.max_train_samples = args.max_eval_samples = args.preprocessing_num_workers = None
        args.overwrite_cache = False
        what = raw, encode_pair, ByteTokenizer(), args, arguments
        if not expected and not streaming:
            with pytest.raises(ValueError, match="has no usable row"):
                encode_datasets(*what)
            return
        found = list(encode_datasets(*what)["train"])
    assert len(found) == len(expected)
    for row, (history, prompt, response) in zip(found, expected):
        ids, end = row["input_ids"], row["source_length"] - 1
        seen = spelled(ids[:end])
        if history:
            before = "".join(f"[Round {n}]\n问：{q}\n答：{a}\n" for n, (q, a) in enumerate(history))
            assert seen == f"{before}[Round {len(history)}]\n问：{prompt}\n答："
        else:
            assert seen == prompt
        assert spelled(ids[end + 2 : -1]) == response
        assert row["labels"] == [-100] * (end + 1) + ids[end + 1 :]


def test_a_large_file_is_read_as_a_small_one(tmp_path):
    """Ten thousand rows of one kind before the first of another, which is where guesses fail."""
    numbers = random.Random(0).sample(range(10**6), 10_000)
    rows = [(f"q{n}", str(n)) for n in numbers] + [
        ("zip", "010002"),
        ("date", "2023-05-01"),
        ("x", "NA"),
    ]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([("prompt", "response"), *rows])
    with open(tmp_path / "b.jsonl", "w") as file:
        file.writelines(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in rows)
    args = PromptResponseArguments()
    for name in ("a.csv", "b.jsonl"):
        found = args.load_files("csv", data_files={"train": str(tmp_path / name)})["train"]
        assert list(zip(found["prompt"], found["response"])) == rows

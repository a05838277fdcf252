"""The data as the model will see it."""

import contextlib
import io
import json
import sys
import types

import pytest

datasets = pytest.importorskip("datasets")
pytest.importorskip("transformers")
from chatglm_encoding import encode_pair
from preview import show_preview

RUN = types.SimpleNamespace(
    process_index=0,
    length_column_name="length",
    per_device_train_batch_size=2,
    per_device_eval_batch_size=3,
)
ROWS = [("hi", "yo", []), ("", "x", []), ("who", "me?" * 9, [["a", "b"]]), ("x" * 50, "b", [])]


@pytest.fixture
def raw(tmp_path, monkeypatch, data_args):
    """The rows as two splits of files."""
    monkeypatch.chdir(tmp_path)
    data_args.history_column, data_args.preview = "history", 2

    def load(streaming=False):
        for name in ("t.jsonl", "v.json"):
            with open(name, "w") as file:
                for prompt, response, history in ROWS:
                    row = {"prompt": prompt, "response": response, "history": history}
                    file.write(json.dumps(row) + "\n")
        data_args.train_file, data_args.validation_file = "t.jsonl", "v.json"
        given = {"train": "t.jsonl", "validation": "v.json"}
        return data_args.load_files("json", data_files=given, streaming=streaming)

    return load


def preview(raw, tokenizer, data_args, **changes):
    arguments = types.SimpleNamespace(**{**vars(RUN), **changes})
    show_preview(raw, encode_pair, tokenizer, data_args, arguments)


def shown(capsys, *args, **changes):
    with pytest.raises(SystemExit) as ended:
        preview(*args, **changes)
    assert ended.value.code == 0
    return capsys.readouterr().out


WHOLE = """\
-- {0}, row 1 (line 1): 7 tokens, 4 of them learnt
hi[gMASK]⟦<sop>yo<eop>⟧

-- {0}, row 3 (line 3): 57 tokens, 20 of them learnt
[Round 0]
问：a
答：b
[Round 1]
问：who
答：[gMASK]⟦<sop>me?me?me?me?me?me?<eop>⟧

{1}, {0}: 3 rows used, 1 skipped; prompts cut: 1, responses cut: 1
   tokens a row: 50 % up to 43, 90 % up to 57, 99 % up to 57, 100 % up to 57
"""


def test_rows_and_lengths(capsys, raw, tokenizer, data_args):
    found = shown(capsys, raw(), tokenizer, data_args)
    train, validation = found.split("-- v.json, row 1")
    text, padding = train.rsplit("   padding", 1)
    assert text == WHOLE.format("t.jsonl", "train")
    assert padding.startswith(" in batches of 2: ")
    assert ", grouped by length " in padding
    assert validation.splitlines()[-1].startswith("   padding in batches of 3: 37 %, grouped by")


def test_a_terminal_has_colours(monkeypatch, raw, tokenizer, data_args):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    # Nor need it know all characters.
    monkeypatch.setattr(sys, "stdout", terminal := Terminal(io.BytesIO(), encoding="latin-1"))
    with pytest.raises(SystemExit):
        preview(raw(), tokenizer, data_args)
    terminal.flush()
    text = terminal.buffer.getvalue().decode("latin-1")
    assert "\nhi[gMASK]\033[32m<sop>yo<eop>\033[0m\n" in text
    assert "\n\\u95ee\\uff1aa\n" in text
    assert "⟦" not in text


def test_rows_that_are_left_out_are_not_counted(capsys, raw, tokenizer, data_args):
    data_args.max_train_samples, data_args.preview = 1, 100
    found = shown(capsys, {"train": raw()["train"]}, tokenizer, data_args)
    assert found.count("\n-- ") == 0
    assert "train, t.jsonl: 1 rows used, 0 skipped; prompts cut: 0, responses cut: 0" in found
    assert "padding in batches of 2: 0 %, grouped by length 0 %" in found


def test_a_stream_is_not_counted(capsys, raw, tokenizer, data_args):
    found = shown(capsys, raw(streaming=True), tokenizer, data_args)
    assert found.count("hi[gMASK]⟦<sop>yo<eop>⟧") == 2
    assert "train: a stream, whose rows are not counted" in found
    assert "padding" not in found


def test_learnt_answers_in_the_middle_are_marked(capsys, raw, tokenizer, data_args):
    def encode_all(tokenizer, messages, limits):
        ids = tokenizer.encode("abcd", add_special_tokens=False)
        labels = [-100, ids[1], -100, ids[3]]
        return {"input_ids": ids, "labels": labels, "source_length": 2, "target_length": 2}

    with contextlib.suppress(SystemExit):
        show_preview({"train": raw()["train"]}, encode_all, tokenizer, data_args, RUN)
    assert "\na⟦b⟧c⟦d⟧\n" in capsys.readouterr().out


def test_only_the_first_rank_speaks(capsys, raw, tokenizer, data_args):
    assert shown(capsys, raw(), tokenizer, data_args, process_index=1) == ""


def test_without_the_argument_nothing_happens(capsys, raw, tokenizer, data_args):
    data_args.preview = None
    preview(raw(), tokenizer, data_args)
    assert capsys.readouterr().out == ""


def test_what_cannot_be_read_is_refused(raw, tokenizer, data_args):
    data_args.learn = "all"  # which ChatGLM-6B has no use for
    with pytest.raises(ValueError, match="--learn all"):
        preview(raw(), tokenizer, data_args)

"""Bad data and other mistakes of a user: one line that says what and where, and no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.smoke.conftest import ROWS, Runner
from tests.smoke.test_smoke import TWO, deepspeed
from tools.training import launch

pytestmark = pytest.mark.smoke
GOOD = {"prompt": "a", "response": "b", "history": []}
TRAIN = {"do_train": True, "max_steps": 1}


def error_of(output: str) -> str:
    """The one line that says what is wrong; there is no other, and no traceback."""
    lines = [line for line in output.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, output[-5000:]
    assert "Traceback" not in output, output[-5000:]
    return lines[0]


def text(name: str, content: str | bytes) -> Callable[[Runner], Path]:
    def write(script: Runner) -> Path:
        file = script.folder / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def rows(name: str, *given: dict) -> Callable[[Runner], Path]:
    return lambda script: script.data(name, list(given))


def lines(*given: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in given)


# How the script is started, and what its line must say; callables make files. Those of the short
# form are one for each way that an error takes; the others differ in what they say.
SHORT = {
    "no such file": (
        {"train_file": lambda script: script.folder / "none.jsonl"},
        r"--train_file: there is no file '.*/none\.jsonl'\.",
    ),
    "mixed types": (
        {
            "train_file": text("m.jsonl", lines(GOOD, GOOD, {**GOOD, "prompt": True})),
            "history_column": None,
        },
        r"m\.jsonl, row 3 \(line 3\), column 'prompt': expected text, found true or false True\.",
    ),
    "no such column": (
        {"train_file": rows("t.json", GOOD), "response_column": "answer"},
        r"t\.json has no column 'answer'; its columns are: \w+, \w+, \w+\.",
    ),
    "no model": (
        {"model_name_or_path": lambda script: script.folder / "no-model"},
        r"no-model",
    ),
}
LONG = {
    "no files at all": (
        {"train_file": None},
        r"(Need either a dataset name or|Give a data set by name)",
    ),
    "unknown ending": (
        {"train_file": text("t.xlsx", b"x")},
        r"--train_file: '.*t\.xlsx' is no csv, json or jsonl file",
    ),
    "an argument that there is not": ({"learning_ratio": 1}, r"--learning_ratio"),
    "not UTF-8": (
        {"train_file": text("gbk.jsonl", lines(GOOD).encode() + lines(ROWS[0]).encode("gbk"))},
        r"gbk\.jsonl, line 2: not UTF-8 \(byte 0x[0-9a-f]{2} at position \d+\)",
    ),
    "not UTF-8, csv": (
        {"train_file": text("gbk.csv", "prompt,response,history\n你好,你好,\n".encode("gbk"))},
        r"gbk\.csv, line 2: not UTF-8",
    ),
    "empty": ({"train_file": text("e.json", "")}, r"e\.json is empty\."),
    "empty csv": ({"train_file": text("e.csv", "\n")}, r"e\.csv is empty\."),
    "not JSON": (
        {"train_file": text("n.jsonl", lines(GOOD) + "{prompt: 1}\n")},
        r"n\.jsonl, line 2: not JSON: ",
    ),
    "not objects": (
        {"train_file": text("n.json", '["a", "b"]')},
        r"n\.json, row 1 \(line 1\): expected an object with columns, found 'a'",
    ),
    "files of two kinds": (
        {
            "train_file": text("t.csv", "prompt,response\na,b\n"),
            "validation_file": text("v.parquet", b"x"),
            "history_column": None,
        },
        r"--train_file \(csv\) and --validation_file \(parquet\) must be of one kind",
    ),
    "a ragged csv": (
        {"train_file": text("r.csv", "prompt,response,history\na,b,\na,b,,,,\n")},
        r"r\.csv, line 3: 6 cells under 3 columns",
    ),
    "a history without pairs": (
        {"train_file": rows("h.jsonl", GOOD, {**GOOD, "history": [["a", "b", "c"]]})},
        r"h\.jsonl, row 2 \(line 2\), column 'history': expected a \[prompt, response\] "
        r"pair, found a list \['a', 'b', 'c'\]",
    ),
    "a history in csv that is not JSON": (
        {"train_file": text("h.csv", "prompt,response,history\na,b,[]\nc,d,none\n")},
        r"h\.csv, row 2 \(line 3\), column 'history': expected JSON, found text 'none'",
    ),
    "a history in worker processes": (
        {
            "train_file": rows("h.jsonl", *[GOOD] * 5, {**GOOD, "history": [["a"]]}),
            "preprocessing_num_workers": 2,
        },
        r"h\.jsonl, row 6 \(line 6\), column 'history': expected a \[prompt",
    ),
    "objects for responses": (
        {"train_file": rows("n.json", GOOD, {**GOOD, "response": {"a": 1}})},
        r"n\.json, row 2 \(line 1\), column 'response': expected text, found an object",
    ),
    "the second part of a file": (
        {
            "train_file": rows("n.json", *[GOOD] * 5, {**GOOD, "history": [["a"]]}),
            "validation_file": None,
            "validation_split_percentage": 50,
        },
        r"n\.json, row 6 \(line 1\), column 'history'",
    ),
    "nothing but empty rows": (
        {"train_file": rows("b.json", {**GOOD, "prompt": ""}, {**GOOD, "response": None})},
        r"b\.json has no usable row: in all 2 of them",
    ),
    "no room for a response": ({"max_target_length": 2}, r"--max_target_length must be at least 3"),
    "no training data": (
        {"train_file": None, "validation_file": rows("v.json", GOOD)},
        r"--do_train (requires|needs)|train",
    ),
    "no test data": ({"do_predict": True}, r"--do_predict needs a --test_file"),
    "no such test file": (
        {"do_predict": True, "test_file": "none.json"},
        r"--test_file: there is no file 'none\.json'\.",
    ),
    "a test file without prompts": (
        {"do_train": None, "do_predict": True, "test_file": rows("q.jsonl", {"question": "a"})},
        r"q\.jsonl has no column 'prompt'; its columns are: question",
    ),
    "a test file that is not JSON": (
        {"do_train": None, "do_predict": True, "test_file": text("q.json", "{")},
        r"q\.json, line 1: not JSON",
    ),
    "no such module": (
        {"lora_target_modules": "q_proj"},
        r"--lora_target_modules: the model has no module 'q_proj'; linear ones are: ",
    ),
    "no such adapter": (
        {"adapter_name_or_path": lambda script: script.folder},
        r"--adapter_name_or_path: '.*' holds no adapter_config\.json\.",
    ),
    "no such checkpoint": ({"resume_from_checkpoint": "nowhere"}, r"nowhere"),
    "another tokenizer": (
        {"tokenizer_name": lambda script: plain_tokenizer(script)},
        r"does not put \[gMASK\] <sop> between prompt and response",
    ),
    "no model at all": ({"model_name_or_path": None}, r"give --model_name_or_path"),
}


def plain_tokenizer(script: Runner) -> Path:
    """A folder with a word tokenizer such as GPT-2's: no [gMASK], no <sop>."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<unk>": 2, "<s>": 3}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = script.folder / "words"
    PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="<s>"
    ).save_pretrained(folder)
    return folder


def prepared(script: Runner, given: dict[str, object]) -> dict[str, object]:
    made = {name: make(script) if callable(make) else make for name, make in given.items()}
    if "train_file" in made:  # files of other types would not load together
        made.setdefault("validation_file", made["train_file"])
    return made


def check(script: Runner, given: dict[str, object], said: str) -> None:
    made = prepared(script, given)
    status, output = script.fork("out", **{**TRAIN, **made})
    assert status == 1, output[-5000:]
    line = error_of(output)
    assert re.search(said, line), line
    assert not list((script.folder / "out").glob("*.safetensors"))


@pytest.mark.parametrize("case", SHORT)
def test_one_line(script: Runner, case: str) -> None:
    check(script, *SHORT[case])


@pytest.mark.long
@pytest.mark.parametrize("case", LONG)
def test_one_line_for_the_rest(script: Runner, case: str) -> None:
    check(script, *LONG[case])


@pytest.mark.long
def test_the_traceback_is_there_for_who_asks(script: Runner) -> None:
    output = script.run(
        "out",
        fails=True,
        log_level="debug",
        lora_target_modules="q_proj",
        **TRAIN,
    )
    assert "Traceback (most recent call last)" in output
    assert len([n for n in output.splitlines() if n.startswith("error:")]) == 1


@pytest.mark.long
def test_a_bug_keeps_its_traceback(script: Runner) -> None:
    """Here one of the model's own code."""
    model = script.folder / "broken"
    model.mkdir()
    for file in script.model.iterdir():
        if file.is_file():
            (model / file.name).write_bytes(file.read_bytes())
    code = model / "modeling_toy_chatglm.py"
    code.write_text(code.read_text("utf-8") + '\nraise ValueError("broken")\n', "utf-8")
    output = script.run("out", fails=True, model_name_or_path=model, **TRAIN)
    assert "Traceback (most recent call last)" in output
    assert not [n for n in output.splitlines() if n.startswith("error:")]


@pytest.mark.long
@pytest.mark.parametrize("how", ["deepspeed", "torchrun"])
@pytest.mark.parametrize("case", ["no such column", "a history without pairs"])
def test_two_ranks_end(script: Runner, how: str, case: str) -> None:
    """The other rank, waiting for the first to prepare the data, does not wait for ever."""
    given, said = {**SHORT, **LONG}[case]
    made = prepared(script, given)
    launcher, options = deepspeed(2)
    if how == "torchrun":
        port = launch.free_port()
        launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port)
        options = dict(TWO)
    line = [sys.executable, *launcher, str(script.script)]
    line += script.arguments("out", **{**TRAIN, **options, **made})
    ran = subprocess.run(
        line, cwd=script.folder, env=script.env, capture_output=True, text=True, timeout=400
    )
    assert ran.returncode != 0
    told = [n for n in ran.stderr.splitlines() if re.match(r"error( on rank 1)?: ", n)]
    assert told, ran.stderr[-5000:]
    for told_line in told:
        assert re.search(said, told_line)
    if how == "deepspeed":  # torchrun adds a traceback of its own
        assert "Traceback" not in ran.stdout + ran.stderr

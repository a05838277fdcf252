"""The helpers' own scripts: what the tables build on must be right itself. And whole restructurings."""

from __future__ import annotations

import re

import pytest

from codemods.engine.refusal import Refusal
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    NEW,
    OLD,
    PAYLOAD,
    dedent,
    each,
    finish,
    finished,
    render,
    series,
    short,
    verify_all,
)


def test_the_series_makes_the_finished_script_of_the_old_one():
    assert finish(render(OLD)) == render(FINISHED) + PAYLOAD
    verify_all(render(FINISHED) + PAYLOAD)


@pytest.mark.parametrize("name", ["chatglm", "causal"])
@pytest.mark.parametrize("base", BASES)
def test_every_verify_accepts_what_the_series_makes(base, name):
    text = finish(render(BASES[base]), name)
    verify_all(text, name)
    crlf = finish(render(BASES[base], newline="\r\n"), name)
    assert crlf.replace("\r\n", "").count("\n") == 0
    assert crlf.replace("\r\n", "\n") == text
    verify_all(crlf, name)


@pytest.mark.parametrize("base", BASES)
def test_the_causal_series_leaves_loading_alone(base):
    """But for what may quantise the model."""
    text = finish(render(BASES[base]), "causal")
    text = re.sub(r"(, |\n *)\*\*quantized\(margs\),?", "", text)
    for name in ("config", "tokenizer", "model"):
        for line in BASES[base][name].splitlines():
            assert line.strip() in text, "the series may not touch this"


@pytest.mark.parametrize("codemod", [c for c in series() if c not in series("causal")], ids=short)
def test_the_causal_script_is_no_chatglm_script(codemod):
    """Nor would the other series' eyes take it for one."""
    with pytest.raises(Refusal):
        codemod.verify(finished(finish(render(NEW), "causal")))


# Long mains that were cut into functions: what stays of each is what the function is for.
READ = dedent("""
def read():
    parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))
    return parser.parse_args_into_dataclasses()


def load_data(m, d):
    data = load_dataset("json", data_files=d.train_file)
    return data


def load(m):
    config = AutoConfig.from_pretrained(m.config_name)
    tokenizer = AutoTokenizer.from_pretrained(m.model_name_or_path)
    model = AutoModelForCausalLM.from_pretrained(m.model_name_or_path, config=config)
    return model, tokenizer


def encode(data, words, d):
    done = data.map(lambda rows: words(rows)[: d.block_size])
    return done


def train(model, words, data, m, d, t, rows, more):
    trainer = Trainer(model=model, args=t, train_dataset=rows, eval_dataset=more)
    trainer.train()
    print(trainer.evaluate())
""")
CALLED = {
    "parse": "margs, dargs, targs = read()",
    "load": "raw = load_data(margs, dargs)",
    "config": "",
    "tokenizer": "",
    "model": "model, tokenizer = load(margs)",
    "mapping": "chunks = encode(raw, tokenizer, dargs)",
    "splits": "train_rows, eval_rows = chunks['train'], chunks['validation']",
    "metric": "",
    "trainer": "train(model, tokenizer, raw, margs, dargs, targs, train_rows, eval_rows)",
    "train": "",
    "evaluate": "",
    "helper": READ,
}
EACH = {
    "reading the arguments": ["parse"],
    "loading the data": ["load"],
    "loading config, tokenizer and model": ["config", "tokenizer", "model"],
    "training and evaluating": ["splits", "metric", "trainer", "train", "evaluate"],
}


def only(*slots):
    """The helper holds the functions that are called, and no others."""
    called = {slot: CALLED[slot] for slot in slots}
    defined = READ.split("\n\n\n")
    names = [d.partition("(")[0].removeprefix("def ") for d in defined]
    used = [
        d for d, n in zip(defined, names, strict=True) if any(f"{n}(" in c for c in called.values())
    ]
    return called | {"helper": "\n\n\n".join(used)}


@pytest.mark.parametrize("name", ["chatglm", "causal"])
@each("slots", EACH)
def test_a_part_of_main_in_a_function(slots, name):
    verify_all(finish(render(OLD, only(*slots)), name), name)


def test_all_of_main_in_functions_but_the_data():
    """Encoding needs the training arguments, which such a function has to be given."""
    helper = READ.replace("words, d)", "words, d, t)")
    mapping = "chunks = encode(raw, tokenizer, dargs, targs)"
    text = finish(render(OLD, CALLED | {"helper": helper, "mapping": mapping}))
    verify_all(text)
    for line in (
        "    parser = LenientArgumentParser((ModelOptions, DataOptions, TrainingArguments))",
        '    data = d.load_files("json", data_files=d.train_file)',
        "    tokenizer = AutoTokenizer.from_pretrained(m.model_name_or_path, trust_remote_code=True)",
        "    done = encode_datasets(data, encode_pair, words, d, t)",
        "    model = add_lora(model, words, stop_ids, m, t)",
        "        predict_responses(trainer, words, encode_prompt, stop_ids, lead_ids, data, m, d, t)",
    ):
        assert f"\n{line}\n" in text


def test_encoding_in_a_function_that_knows_too_little():
    with pytest.raises(Refusal, match=r"one name for the training arguments in encode\(\), not 0"):
        finish(render(OLD, only("mapping")))

"""codemods/lora.py"""

from __future__ import annotations

import pytest

from codemods import lora
from tests.codemods.helpers import (
    BASES,
    NEW,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    check_unverified,
    render,
)


def classes(base):
    before = base["model_class"]
    return {"model_class": (before, before.replace("ModelOptions", "ModelOptions(LoraArguments)"))}


TRANSFORMED = {
    "resized on a condition": (
        """
        if len(tokenizer) > 100:
            model.resize_token_embeddings(101)
        """,
        """
        if len(tokenizer) > 100:
            model.resize_token_embeddings(101)

        model = add_lora(model, tokenizer, stop_ids, margs, targs)
        """,
    ),
    "resized always, a comment before and after": (
        """
        # New words need rows.
        model.resize_token_embeddings(len(tokenizer))  # at most once
        # And on we go.
        print(model)
        """,
        """
        # New words need rows.
        model.resize_token_embeddings(len(tokenizer))  # at most once

        model = add_lora(model, tokenizer, stop_ids, margs, targs)
        # And on we go.
        print(model)
        """,
    ),
    "resized twice: after the last": (
        """
        size = model.get_input_embeddings().weight.shape[0]
        if size < 10:
            model.resize_token_embeddings(10)
        elif size < 100:
            model.resize_token_embeddings(100)
        with no_log():
            model.resize_token_embeddings(size, pad_to_multiple_of=8)
        """,
        """
        size = model.get_input_embeddings().weight.shape[0]
        if size < 10:
            model.resize_token_embeddings(10)
        elif size < 100:
            model.resize_token_embeddings(100)
        with no_log():
            model.resize_token_embeddings(size, pad_to_multiple_of=8)

        model = add_lora(model, tokenizer, stop_ids, margs, targs)
        """,
    ),
    "the result is kept, another model is resized later": (
        """
        rows = model.resize_token_embeddings(100)
        other.resize_token_embeddings(100)
        """,
        """
        rows = model.resize_token_embeddings(100)

        model = add_lora(model, tokenizer, stop_ids, margs, targs)
        other.resize_token_embeddings(100)
        """,
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("before", "after"),
    [v for k, v in TRANSFORMED.items() if "another" not in k],
    ids=[k for k in TRANSFORMED if "another" not in k],
)
def test_transformed(before, after, base):
    base = BASES[base]
    check_transformed(lora, before, after, slot="resize", also=classes(base), base=base)


def test_crlf():
    before, after = TRANSFORMED["resized always, a comment before and after"]
    check_transformed(
        lora, before, after, slot="resize", also=classes(OLD), base=OLD, newline="\r\n"
    )


def test_verify_wants_no_resizing_after_it():
    before, _ = TRANSFORMED["the result is kept, another model is resized later"]
    check_unverified(lora, "the model is complete before LoRA is added", resize=before)


def test_other_names():
    parse = """
    parser = HfArgumentParser((DataOptions, TrainingArguments, ModelOptions))
    if len(sys.argv) == 2:
        the_data, run, the_model = parser.parse_json_file(sys.argv[1])
    else:
        (the_data, run, the_model) = parser.parse_args_into_dataclasses()
    """
    model = "net = AutoModelForCausalLM.from_pretrained(the_model.model_name_or_path)"
    trainer = """
    trainer = Trainer(
        net,
        run,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
    )
    """
    check_transformed(
        lora,
        "net.resize_token_embeddings(9)",
        "net.resize_token_embeddings(9)\n\nnet = add_lora(net, tokenizer, stop_ids, the_model, run)",
        slot="resize",
        also=classes(OLD)
        | {"parse": (parse, parse), "model": (model, model), "trainer": (trainer, trainer)},
    )


@pytest.mark.parametrize(
    ("before", "after"),
    {
        "a base": ("class M(Base):", "class M(Base, LoraArguments):"),
        "a base and a comma": ("class M(Base,):", "class M(Base,LoraArguments):"),
        "brackets": ("class M():", "class M(LoraArguments):"),
        "nothing": ("class M:  # models", "class M(LoraArguments):  # models"),
    }.values(),
)
def test_bases(before, after):
    body = '\n    """Which model."""\n\n    model_name_or_path: str = None'
    parser = OLD["parse"].replace("ModelOptions", "M")
    resize = OLD["resize"]
    check_transformed(
        lora,
        before + body,
        after + body,
        slot="model_class",
        also={
            "parse": (parser, parser),
            "resize": (
                resize,
                resize + "\n\nmodel = add_lora(model, tokenizer, stop_ids, margs, targs)",
            ),
        },
    )


def test_the_record():
    _, patch = apply(render(NEW), lora)
    assert [(c.kind, c.where) for c in patch.changes] == [
        ("changed", "ModelOptions"),
        ("added after", "main"),
    ]
    assert patch.graft_before.name.value == "ModelOptions"


REFUSED = {
    "the embeddings are not resized": (
        {"resize": "size = model.get_input_embeddings().weight.shape[0]"},
        "found no call of model.resize_token_embeddings",
        ("size = model.get_input_embeddings().weight.shape[0]", OLD["model"]),
        "LoRA must wrap the model after its embeddings have their final size",
    ),
    "another model's are": (
        {"resize": "draft.resize_token_embeddings(8)"},
        "found no call of model.resize_token_embeddings",
        (OLD["model"],),
        "LoRA must wrap the model after its embeddings have their final size",
    ),
    "resized elsewhere": (
        {
            "resize": "grow(model)",
            "helper": "def grow(model):\n    model.resize_token_embeddings(8)",
        },
        "this to stand in the function that trains",
        ("model.resize_token_embeddings(8)",),
        "",
    ),
    "another class loads the model": (
        {"model": "model = AutoModelForSeq2SeqLM.from_pretrained('there')"},
        "found no call of transformers.AutoModelForCausalLM.from_pretrained",
        (
            OLD["config"],
            OLD["tokenizer"],
            "model = AutoModelForSeq2SeqLM.from_pretrained('there')",
        ),
        "The model is expected to be loaded through that class by name",
    ),
    "the model is made from its config only": (
        {"model": "model = AutoModelForCausalLM.from_config(config)"},
        "found no call of transformers.AutoModelForCausalLM.from_pretrained",
        (OLD["config"], OLD["tokenizer"], "model = AutoModelForCausalLM.from_config(config)"),
        "The model is expected to be loaded through that class by name",
    ),
    "the class that loads is not transformers' own": (
        {"imports": OLD["imports"].replace("    AutoModelForCausalLM,\n", "")},
        "found no call of transformers.AutoModelForCausalLM.from_pretrained",
        (OLD["config"], OLD["tokenizer"], OLD["model"]),
        "The model is expected to be loaded through that class by name",
    ),
    "two names for the model": (
        {
            "model": """
            if targs.do_train:
                model = AutoModelForCausalLM.from_pretrained("there")
            else:
                frozen = AutoModelForCausalLM.from_pretrained("here")
            """
        },
        "found more than one name that the model is bound to",
        (
            'model = AutoModelForCausalLM.from_pretrained("there")',
            'frozen = AutoModelForCausalLM.from_pretrained("here")',
        ),
        "",
    ),
    "an attribute for the model": (
        {"model": "state.model = AutoModelForCausalLM.from_pretrained('there')"},
        "the model to be assigned to a plain name",
        ("state.model = AutoModelForCausalLM.from_pretrained('there')",),
        "",
    ),
    "a model that is handed on at once": (
        {"model": "model = quick(AutoModelForCausalLM.from_pretrained('there'))"},
        "the model to be assigned to a plain name",
        ("model = quick(AutoModelForCausalLM.from_pretrained('there'))",),
        "",
    ),
    "two groups of arguments": (
        {"parse": "margs, dargs = HfArgumentParser((ModelOptions, DataOptions)).parse_dict({})"},
        "HfArgumentParser is not given exactly the model, data and training arguments",
        ("margs, dargs = HfArgumentParser((ModelOptions, DataOptions)).parse_dict({})",),
        "",
    ),
    "the arguments stay in one name": (
        {
            "parse": """
            parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))
            everything = parser.parse_args_into_dataclasses()
            """
        },
        "the name that main() gives the model arguments is not unique or not found (none)",
        ("everything = parser.parse_args_into_dataclasses()",),
        "The parser's result is expected to be unpacked into three names",
    ),
    "the arguments get two sets of names": (
        {
            "parse": """
            parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))
            if len(sys.argv) == 2:
                m, dargs, targs = parser.parse_json_file(sys.argv[1])
            else:
                margs, dargs, targs = parser.parse_args_into_dataclasses()
            """
        },
        "the name that main() gives the model arguments is not unique or not found (m, margs)",
        (
            "m, dargs, targs = parser.parse_json_file(sys.argv[1])",
            "margs, dargs, targs = parser.parse_args_into_dataclasses()",
        ),
        "The parser's result is expected to be unpacked into three names",
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(lora, looked_for, nearest=nearest, hint=hint, **filled)


RIGHT = (
    "model.resize_token_embeddings(9)\n\nmodel = add_lora(model, tokenizer, stop_ids, margs, targs)"
)


CAUGHT = {
    "no base": (
        {"model_class": OLD["model_class"]},
        "ModelOptions has the base class LoraArguments",
    ),
    "no LoRA": ({"resize": OLD["resize"]}, "add_lora is called once in main()"),
    "twice": (
        {"resize": f"{RIGHT}\nmodel = add_lora(model, tokenizer, stop_ids, margs, targs)"},
        "called once",
    ),
    "only sometimes": (
        {
            "resize": "if targs.do_train:\n    model = add_lora(model, tokenizer, stop_ids, margs, targs)"
        },
        "LoRA is added whatever the arguments",
    ),
    "inside an expression": (
        {
            "resize": "model = add_lora(model, tokenizer, stop_ids, margs, targs) if margs else model"
        },
        "LoRA is added whatever the arguments",
    ),
    "the result is dropped": (
        {"resize": "add_lora(model, tokenizer, stop_ids, margs, targs)"},
        "the LoRA model is bound to one name",
    ),
    "two names": (
        {"resize": "model = net = add_lora(model, tokenizer, stop_ids, margs, targs)"},
        "the LoRA model is bound to one name",
    ),
    "another name": (
        {"resize": "net = add_lora(model, tokenizer, stop_ids, margs, targs)"},
        "LoRA wraps the model in place",
    ),
    "another model": (
        {"resize": "model = add_lora(config, tokenizer, stop_ids, margs, targs)"},
        "LoRA wraps the model in place",
    ),
    "the model is loaded again": (
        {"resize": f"{RIGHT}\nmodel = AutoModel.from_pretrained('there')"},
        "nothing replaces the LoRA model",
    ),
    "the model is replaced by a loop": (
        {"splits": "for model in models:\n    pass"},
        "nothing replaces the LoRA model",
    ),
    "the tokenizer is loaded after LoRA": (
        {"tokenizer": "tokenizer = None", "splits": "tokenizer = Tok.from_pretrained('there')"},
        "LoRA wraps the model in place",
    ),
    "resized after LoRA": (
        {
            "resize": "model = add_lora(model, tokenizer, stop_ids, margs, targs)\nmodel.resize_token_embeddings(9)"
        },
        "the model is complete before LoRA is added",
    ),
    "resized through a call after LoRA": (
        {"splits": "unwrap(model).resize_token_embeddings(9)"},
        "the model is complete before LoRA is added",
    ),
    "loaded in a function that is called later": (
        {
            "load": "raw = load_dataset('a')\ndef fetch():\n    return AutoModel.from_pretrained('b')"
        },
        "the model is complete before LoRA is added",
    ),
    "after the Trainer": (
        {
            "resize": "",
            "train": "model = add_lora(model, tokenizer, stop_ids, margs, targs)\ntrainer.train()",
        },
        "LoRA comes before the Trainer",
    ),
    "the Trainer gets another model": (
        {"trainer": "trainer = AdapterTrainer(model=frozen, args=targs)"},
        "the Trainer trains the LoRA model",
    ),
    "the Trainer gets another model by position": (
        {"trainer": "trainer = AdapterTrainer(frozen, targs)"},
        "the Trainer trains the LoRA model",
    ),
    "the Trainer gets no model": (
        {"trainer": "trainer = AdapterTrainer(args=targs)"},
        "the Trainer trains the LoRA model",
    ),
    "the Trainer gets the model wrapped": (
        {"trainer": "trainer = AdapterTrainer(model=unwrap(model), args=targs)"},
        "the Trainer trains the LoRA model",
    ),
    "no Trainer": ({"trainer": "trainer = Trainer(model)"}, "AdapterTrainer is called once"),
    "called without a model": ({"resize": "model = add_lora()"}, "LoRA wraps the model in place"),
    "arguments swapped": (
        {"resize": "model = add_lora(model, tokenizer, stop_ids, targs, margs)"},
        "LoRA",
    ),
}


@pytest.mark.parametrize(
    ("spoilt", "promise"),
    [pytest.param(*v, id=k) for k, v in CAUGHT.items()],
)
def test_verify_catches(spoilt, promise):
    check_caught(lora, promise, **spoilt)


@pytest.mark.parametrize(
    "filled",
    [
        {"trainer": "trainer = AdapterTrainer(model, targs)"},
        {"trainer": "kwargs = {'model': model}\ntrainer = AdapterTrainer(**kwargs)"},
        {"resize": RIGHT},
    ],
)
def test_verify_accepts(filled):
    check_accepted(lora, **filled)

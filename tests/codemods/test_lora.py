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
    dedent,
    render,
)


def classes(base):
    before = base["model_class"]
    return {"model_class": (before, before.replace("ModelOptions", "ModelOptions(LoraArguments)"))}


LORA = "model = add_lora(model, tokenizer, stop_ids, margs, targs)"
TRANSFORMED = {
    "as it is": (
        "trainer = Trainer(model=model, args=targs)",
        f"\n{LORA}\ntrainer = Trainer(model=model, args=targs)",
    ),
    "a comment before": (
        """
        # The one who trains.
        trainer = Trainer(model=model, args=targs)  # at most once
        """,
        f"""

        {LORA}
        # The one who trains.
        trainer = Trainer(model=model, args=targs)  # at most once
        """,
    ),
    "resized, cast and frozen until then": (
        """
        model.resize_token_embeddings(101)
        model = model.half()
        for parameter in model.parameters():
            parameter.requires_grad = False
        trainer = Trainer(model, targs)
        """,
        f"""
        model.resize_token_embeddings(101)
        model = model.half()
        for parameter in model.parameters():
            parameter.requires_grad = False

        {LORA}
        trainer = Trainer(model, targs)
        """,
    ),
    "a Trainer made on a condition": (
        """
        if targs.do_train:
            trainer = Trainer(model, targs)
        """,
        f"""

        {LORA}
        if targs.do_train:
            trainer = Trainer(model, targs)
        """,
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, base):
    base = BASES[base]
    check_transformed(lora, before, after, slot="trainer", also=classes(base), base=base)


def test_crlf():
    before, after = TRANSFORMED["a comment before"]
    check_transformed(
        lora, before, after, slot="trainer", also=classes(OLD), base=OLD, newline="\r\n"
    )


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
    resize = "net.resize_token_embeddings(9)"
    check_transformed(
        lora,
        trainer,
        "\nnet = add_lora(net, tokenizer, stop_ids, the_model, run)\n" + dedent(trainer),
        slot="trainer",
        also=classes(OLD)
        | {"parse": (parse, parse), "model": (model, model), "resize": (resize, resize)},
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
    trainer = OLD["trainer"]
    check_transformed(
        lora,
        before + body,
        after + body,
        slot="model_class",
        also={
            "parse": (parser, parser),
            "trainer": (trainer, f"\n{LORA}\n{trainer}"),
        },
    )


def test_the_record():
    _, patch = apply(render(NEW), lora)
    assert [(c.kind, c.where) for c in patch.changes] == [
        ("changed", "ModelOptions"),
        ("added before", "main"),
    ]
    assert patch.graft_before.name.value == "ModelOptions"


REFUSED = {
    "peft is used by upstream": (
        {
            "imports": OLD["imports"] + "\nfrom peft import get_peft_model",
            "resize": "model = get_peft_model(model, config)",
        },
        "a script that does not use peft itself",
        ("model = get_peft_model(model, config)",),
        "Upstream now adapts the model itself: see what of LoRA is still ours to add",
    ),
    "peft is used by upstream, by its full name": (
        {
            "imports": OLD["imports"] + "\nimport peft",
            "resize": "model = peft.PeftModel.from_pretrained(model, 'there')",
        },
        "a script that does not use peft itself",
        ("model = peft.PeftModel.from_pretrained(model, 'there')",),
        "Upstream now adapts the model itself: see what of LoRA is still ours to add",
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


MADE = "trainer = AdapterTrainer(model=model, args=targs)"
RIGHT = f"{LORA}\n{MADE}"


CAUGHT = {
    "no base": (
        {"model_class": OLD["model_class"]},
        "ModelOptions has the base class LoraArguments",
    ),
    "no LoRA": ({"trainer": MADE}, "add_lora is called once in main()"),
    "twice": ({"trainer": f"{LORA}\n{RIGHT}"}, "called once"),
    "only sometimes": (
        {"trainer": f"if targs.do_train:\n    {LORA}\n{MADE}"},
        "LoRA is added whatever the arguments",
    ),
    "inside an expression": (
        {"trainer": f"{LORA} if margs else model\n{MADE}"},
        "LoRA is added whatever the arguments",
    ),
    "the result is dropped": (
        {"trainer": f"{LORA.removeprefix('model = ')}\n{MADE}"},
        "the LoRA model is bound to one name",
    ),
    "two names": (
        {"trainer": f"net = {LORA}\n{MADE}"},
        "the LoRA model is bound to one name",
    ),
    "another name": (
        {"trainer": f"net{LORA.removeprefix('model')}\n{MADE}"},
        "LoRA wraps the model in place",
    ),
    "another model": (
        {"trainer": f"{LORA.replace('(model', '(config')}\n{MADE}"},
        "LoRA wraps the model in place",
    ),
    "the model is loaded again": (
        {"trainer": f"{LORA}\nmodel = AutoModel.from_pretrained('there')\n{MADE}"},
        "nothing replaces the LoRA model",
    ),
    "the model is replaced by a loop": (
        {"train": "for model in models:\n    trainer.train()"},
        "nothing replaces the LoRA model",
    ),
    "the model is frozen in between": (
        {"trainer": f"{LORA}\nmodel.requires_grad_(False)\n{MADE}"},
        "nothing stands between LoRA and the Trainer",
    ),
    "resized in between": (
        {"trainer": f"{LORA}\nmodel.resize_token_embeddings(9)\n{MADE}"},
        "nothing resizes the LoRA model",
    ),
    "resized later, through a call": (
        {"train": "unwrap(model).resize_token_embeddings(9)"},
        "nothing resizes the LoRA model",
    ),
    "far from the Trainer": (
        {"resize": LORA, "trainer": MADE},
        "nothing stands between LoRA and the Trainer",
    ),
    "after the Trainer": (
        {"trainer": f"{MADE}\n{LORA}"},
        "nothing stands between LoRA and the Trainer",
    ),
    "the tokenizer is loaded after LoRA": (
        {
            "tokenizer": "tok = None",
            "train": "tokenizer = AutoTokenizer.from_pretrained('there')",
        },
        "tokenizer",
    ),
    "the Trainer gets another model": (
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(model=frozen, args=targs)"},
        "the Trainer trains the LoRA model",
    ),
    "the Trainer gets another model by position": (
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(frozen, targs)"},
        "the Trainer trains the LoRA model",
    ),
    "the Trainer gets no model": (
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(args=targs)"},
        "the Trainer trains the LoRA model",
    ),
    "the Trainer gets the model wrapped": (
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(model=unwrap(model), args=targs)"},
        "the Trainer trains the LoRA model",
    ),
    "no Trainer": ({"trainer": f"{LORA}\ntrainer = Trainer(model)"}, "AdapterTrainer is called"),
    "called without a model": (
        {"trainer": f"model = add_lora()\n{MADE}"},
        "LoRA wraps the model in place",
    ),
    "arguments swapped": (
        {"trainer": f"{LORA.replace('margs, targs', 'targs, margs')}\n{MADE}"},
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
        {"trainer": f"{LORA}\ntrainer = AdapterTrainer(model, targs)"},
        {"trainer": f"{LORA}\nif targs.do_train:\n    {MADE}"},
        {"trainer": RIGHT},
        {"resize": "pass"},
    ],
)
def test_verify_accepts(filled):
    check_accepted(lora, **filled)

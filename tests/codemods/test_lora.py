"""codemods/lora.py"""

from __future__ import annotations

import pytest

from codemods import lora
from tests.codemods.helpers import FINISHED, OLD, Tables, dedent

of = Tables(lora, "trainer")

CALL = "add_lora(model, tokenizer, stop_ids, margs, targs)"
LORA = f"model = {CALL}"
REST = "train_dataset=train_rows, eval_dataset=eval_rows, compute_metrics=score"
MADE = f"trainer = Trainer(model=model, args=targs, {REST})"


def classes(base):
    before = base["model_class"]
    return {"model_class": (before, before.replace("ModelOptions", "ModelOptions(LoraArguments)"))}


def wrapped(text: str, lora: str = LORA) -> tuple[str, str]:
    """LORA is the line that comes, with a blank one before it."""
    lines = dedent(text).split("\n")
    after = [f"\n{n.replace('LORA', lora)}" if n.strip() == "LORA" else n for n in lines]
    return "\n".join(n for n in lines if n.strip() != "LORA"), "\n".join(after)


TRANSFORMED = {
    "as it is": wrapped(f"LORA\n{MADE}"),
    "by position": wrapped(f"LORA\ntrainer = Trainer(model, targs, {REST})"),
    "in a dict": wrapped(f"rest = dict(model=model)\nLORA\ntrainer = Trainer({REST}, **rest)"),
    "in a dict that is filled": wrapped(
        f"rest = {{}}\nrest['model'] = model\nLORA\ntrainer = Trainer({REST}, **rest)"
    ),
    "with comments": wrapped(f"LORA\n# The one who trains.\n{MADE}  # at most once"),
    "resized, cast, moved and frozen until then": wrapped(
        f"""
        model.resize_token_embeddings(101)
        model = model.half().to(targs.device)
        for parameter in model.parameters():
            parameter.requires_grad = False
        LORA
        {MADE}
        """
    ),
    "another name": wrapped(
        f"net = torch.compile(model)\nLORA\ntrainer = Trainer(net, targs, {REST})",
        LORA.replace("model", "net"),
    ),
    "made in a with": wrapped(f"with targs.main_process_first():\n    LORA\n    {MADE}"),
    "made in a try": wrapped(f"try:\n    LORA\n    {MADE}\nfinally:\n    print('made')"),
}
test_transformed = of.transforms(TRANSFORMED, also=classes)

LOADS = {
    "cast and moved at once": OLD["model"] + ".half().to(targs.device)",
    "handed on at once": "model = quick(AutoModelForCausalLM.from_pretrained('there'))",
    "prepared with the tokenizer": OLD["model"] + "\nmodel, tokenizer = chatty(model, tokenizer)",
}


@pytest.mark.parametrize("model", LOADS.values(), ids=LOADS)
def test_however_the_model_is_loaded(model):
    rows = {"model": (model, model), "trainer": wrapped(f"LORA\n{MADE}"), **classes(OLD)}
    of.transformed(rows)


@pytest.mark.parametrize(
    "cls", ["LlamaForCausalLM", "hf.AutoModelForCausalLM", "Deep", "AutoModel"]
)
def test_any_model_class_of_the_library_for_the_causal_series(cls):
    model = OLD["model"].replace("AutoModelForCausalLM", cls)
    imports = (
        OLD["imports"]
        + "\nimport transformers as hf\nfrom transformers import LlamaForCausalLM, AutoModel"
    )
    imports += "\nfrom transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM as Deep"
    rows = {"model": (model, model), "imports": (imports, imports), **classes(OLD)}
    of.transformed({**rows, "trainer": wrapped(f"LORA\n{MADE}")}, name="causal")


TOKENIZERS = {
    "none at first": f"tokenizer = None\n{OLD['tokenizer']}",
    "another class": f"if margs:\n    tokenizer = Bytes.from_pretrained('x')\nelse:\n    {OLD['tokenizer']}",
    "a class of the script's": f"if margs:\n    tokenizer = ByteTokenizer()\nelse:\n    {OLD['tokenizer']}",
    "more tokens": f"{OLD['tokenizer']}\ntokenizer = with_more(tokenizer)",
}


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
def test_however_the_tokenizer_is_made(tokenizer):
    rows = {
        "tokenizer": (tokenizer, tokenizer),
        "trainer": wrapped(f"LORA\n{MADE}"),
        **classes(OLD),
    }
    of.transformed(rows)


def test_other_names():
    parse = """
    parser = HfArgumentParser((DataOptions, TrainingArguments, ModelOptions))
    if len(sys.argv) == 2:
        the_data, run, the_model = parser.parse_json_file(sys.argv[1])
    else:
        (the_data, run, the_model) = parser.parse_args_into_dataclasses()
    """
    said = {
        "parse": dedent(parse),
        "model": "net = AutoModelForCausalLM.from_pretrained(the_model.model_name_or_path)",
        "resize": "net.resize_token_embeddings(9)",
        "load": OLD["load"].replace("dargs", "the_data"),
        "config": OLD["config"].replace("margs", "the_model"),
        "tokenizer": OLD["tokenizer"].replace("margs", "the_model"),
        "mapping": "chunks = raw.map(tokenizer)",
        "splits": OLD["splits"].replace("targs", "run"),
        "train": "trainer.train()",
        "evaluate": "trainer.evaluate()",
    }
    made = f"trainer = Trainer(\n    net,\n    run,\n    {REST},\n)"
    after = f"\nnet = add_lora(net, tokenizer, stop_ids, the_model, run)\n{made}"
    rows = {slot: (text, text) for slot, text in said.items()}
    of.transformed({**rows, "trainer": (made, after), **classes(OLD)})


FUNCTIONS = {
    "that returns it": "LORA\n    return Trainer(net, t, train_dataset=a, eval_dataset=b)",
    "that trains, too": "LORA\n    it = Trainer(net, t, train_dataset=a, eval_dataset=b)\n"
    "    it.train()\n    return it",
}


@pytest.mark.parametrize("body", FUNCTIONS.values(), ids=FUNCTIONS)
def test_made_in_a_function_which_has_names_of_its_own(body):
    before, after = wrapped(f"def make(net, words, m, d, t, a, b):\n    {body}")
    after = after.replace(LORA, "net = add_lora(net, words, stop_ids, m, t)")
    made = "trainer = make(model, tokenizer, margs, dargs, targs, train_rows, eval_rows)"
    rows = {"helper": (before, after), "trainer": (made, made), "metric": ("", ""), **classes(OLD)}
    of.transformed(rows)


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
    rows = {
        "model_class": (before + body, after + body),
        "parse": (OLD["parse"].replace("ModelOptions", "M"),) * 2,
        "config": ("config = AutoConfig.from_pretrained('there')",) * 2,
        "trainer": wrapped(f"LORA\n{OLD['trainer']}"),
    }
    of.transformed(rows)


BASED = ("changed", "ModelOptions", "(LoraArguments)")
test_record = of.records("ModelOptions", both=[BASED, ("added before", "main", LORA)])

PEFT = "a script that does not use peft itself … Upstream now adapts the model itself"
PLAIN = "the Trainer's model to be a plain name"
ONE = "one name for the model arguments in main(), not "
GIVEN = "HfArgumentParser to be given model, data and training arguments, one each"
PARSER = "parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))"
TWO_SETS = (
    "m, dargs, targs = parser.parse_json_file('a')\nmargs, dargs, targs = parser.parse_dict({})"
)
NESTED = "def make():\n    return Trainer(model)\ntrainer = make()"


def uses(imported: str, call: str) -> tuple[str, str, dict]:
    resize = f"model = {call}"
    return PEFT, resize, {"imports": f"{OLD['imports']}\n{imported}", "resize": resize}


REFUSED = {
    "peft by name": uses("from peft import get_peft_model", "get_peft_model(model, config)"),
    "peft by another name": uses(
        "from peft import PeftModel as P", "P.from_pretrained(model, 'a')"
    ),
    "peft by its full name": uses("import peft", "peft.prepare_model_for_kbit_training(model)"),
    "a part of something": (
        PLAIN,
        "trainer = Trainer(state.model)",
        "trainer = Trainer(state.model)",
    ),
    "made in the call": (PLAIN, "trainer = Trainer(f(model))", "trainer = Trainer(f(model))"),
    "no model": (PLAIN, "trainer = Trainer()", "trainer = Trainer()"),
    "one of two": (
        PLAIN,
        "trainer = Trainer(**more)",
        "more = dict(model=model)\nif dargs:\n    more['model'] = frozen\ntrainer = Trainer(**more)",
    ),
    "made in a definition": (
        "this to stand in main() itself, not in a definition",
        "return Trainer(model)",
        NESTED,
    ),
    "not on a line of its own": (
        "this to stand on a line of its own",
        "if targs.do_train: trainer = Trainer(model)",
        "if targs.do_train: trainer = Trainer(model)",
    ),
    "two groups of arguments": (
        GIVEN,
        "margs, dargs = HfArgumentParser((ModelOptions, DataOptions)).parse_dict({})",
        {"parse": "margs, dargs = HfArgumentParser((ModelOptions, DataOptions)).parse_dict({})"},
    ),
    "the arguments stay in one name": (
        f"{ONE}0",
        "everything = parser.parse_args_into_dataclasses()",
        {"parse": f"{PARSER}\neverything = parser.parse_args_into_dataclasses()"},
    ),
    "the arguments get two sets of names": (
        f"{ONE}2 (m, margs)",
        TWO_SETS,
        {"parse": f"{PARSER}\n{TWO_SETS}"},
    ),
    "the arguments are something else, too": (
        "'margs' to be the model arguments and nothing else",
        "margs = dargs",
        {"end": "margs = dargs"},
    ),
    "a function that knows too little": (
        "one name for the tokenizer in make(), not 0",
        OLD["tokenizer"],
        {
            "helper": "def make(model):\n    return Trainer(model)",
            "trainer": "trainer = make(model)",
        },
    ),
}
test_refused = of.refuses(REFUSED)

VERIFY_REFUSES = {
    "two names for the model": (
        "model is bound wherever add_lora is given it",
        "if targs.do_train:\n    model = AutoModelForCausalLM.from_pretrained('there')\n"
        "else:\n    frozen = AutoModelForCausalLM.from_pretrained('here')",
    ),
    "loaded too late": (
        "tokenizer is bound wherever add_lora is given it",
        {"tokenizer": "pass", "mapping": "chunks = raw.map(len)", "end": OLD["tokenizer"]},
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES, slot="model")

AT = "trainer = AdapterTrainer(model=model, args=targs)"
WRAPS, BETWEEN = "LoRA wraps the model that the Trainer trains", "nothing stands between LoRA"
VERIFY_CATCHES = {
    "no base": ("ModelOptions has the base class", {"model_class": OLD["model_class"]}),
    "no LoRA": ("add_lora is called once", AT),
    "twice": ("add_lora is called once", f"{LORA}\n{LORA}\n{AT}"),
    "only sometimes": (BETWEEN, f"if targs.do_train:\n    {LORA}\n{AT}"),
    "inside an expression": (WRAPS, f"{LORA} if margs else model\n{AT}"),
    "the result is dropped": (WRAPS, f"{CALL}\n{AT}"),
    "another name": (WRAPS, f"net = {CALL}\n{AT}"),
    "another model": (WRAPS, f"{LORA.replace('(model', '(config')}\n{AT}"),
    "no arguments": (WRAPS, f"model = add_lora()\n{AT}"),
    "arguments swapped": (WRAPS, f"{LORA.replace('margs, targs', 'targs, margs')}\n{AT}"),
    "the model is loaded again": (BETWEEN, f"{LORA}\nmodel = f()\n{AT}"),
    "the model is frozen in between": (BETWEEN, f"{LORA}\nmodel.requires_grad_(False)\n{AT}"),
    "far from the Trainer": (BETWEEN, {"resize": LORA, "trainer": AT}),
    "after the Trainer": (BETWEEN, f"{AT}\n{LORA}"),
    "a Trainer on a condition": (BETWEEN, f"{LORA}\nif targs.do_train:\n    {AT}"),
    "in another function": (
        WRAPS,
        {"helper": f"def helper(model, tokenizer, margs, targs):\n    {LORA}", "trainer": AT},
    ),
    "the model is replaced later": (
        "nothing replaces the LoRA model",
        {"train": "for model in models:\n    trainer.train()"},
    ),
    "another model is trained": (WRAPS, f"{LORA}\ntrainer = AdapterTrainer(model=frozen)"),
    "another, by position": (WRAPS, f"{LORA}\ntrainer = AdapterTrainer(frozen, targs)"),
    "none is trained": (WRAPS, f"{LORA}\ntrainer = AdapterTrainer(args=targs)"),
    "a part of it is": (WRAPS, f"{LORA}\ntrainer = AdapterTrainer(model=unwrap(model))"),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    f"{LORA}\ntrainer = AdapterTrainer(model, targs)",
    f"if targs.do_train:\n    {LORA}\n    {AT}",
    {"trainer": FINISHED["trainer"], "resize": "pass"},
)

"""codemods/process_group.py and codemods/preview.py: what stands before any weight is loaded"""

from __future__ import annotations

from codemods import preview, process_group
from tests.codemods.helpers import FINISHED, OLD, PAYLOAD, Tables, apply, each, finished, render


def of(codemod):
    return Tables(codemod, "model")


JOIN = "join_process_group(targs)"
SHOW = "show_preview(raw, encode_pair, tokenizer, dargs, targs)"
LOAD = "model = AutoModelForCausalLM.from_pretrained('there')"
IMPORTED = """
import transformers
from transformers import LlamaForCausalLM
from transformers.models.auto import AutoModelForCausalLM as Deep"""

PLACES = {
    "one line": LOAD,
    "in a branch": f"if margs:\n    {LOAD}\nelse:\n    model = AutoModelForCausalLM.from_config(config)",
    "in a with": f"with here:\n    {LOAD}",
    "after a comment": f"# It is big.\n{LOAD}",
    "under the library's name": LOAD.replace("Auto", "transformers.Auto"),
    "of a submodule": LOAD.replace("AutoModelForCausalLM", "Deep"),
    "moved at once": f"{LOAD}.to('cuda')\nmodel = model.to(targs.device)",
    "of two the first": f"{LOAD}\nprint('once more')\n{LOAD}",
}


def before(codemod, call):
    return of(codemod).transforms(
        {name: (text, f"{call}\n{text}") for name, text in PLACES.items()},
        also=lambda base: {"imports": base["imports"] + IMPORTED},
    )


test_the_group_is_joined = before(process_group, JOIN)
test_the_preview_is_shown = before(preview, SHOW)
test_the_groups_record = of(process_group).records("main", both=[("added before", "main", JOIN)])
test_the_previews_record = of(preview).records("main", both=[("added before", "main", SHOW)])

HELPER = "def load({}):\n    {}return AutoModelForCausalLM.from_pretrained(where)"
FUNCTIONS = {
    "which knows the arguments": ("where, config, margs, targs", "targs", JOIN),
    "which calls them otherwise": ("where, config, margs, run", "run", "join_process_group(run)"),
}


@each("given, args, call", FUNCTIONS)
def test_loaded_in_a_function(given, args, call):
    """Where the names are known; the preview's are known in main() only."""
    loads = "model = load('there', config, margs, targs)"
    plain = HELPER.format(given, "")
    joined = {"helper": (plain, HELPER.format(given, f"{call}\n    ")), "model": (loads, loads)}
    of(process_group).transformed(joined)
    of(preview).transformed({"helper": (plain, plain), "model": (loads, f"{SHOW}\n{loads}")})


def test_loaded_in_a_function_that_does_not_know_the_arguments():
    rows = {"helper": (HELPER.format("where, config, margs", ""),) * 2}
    loads = "model = load('there', config, margs)"
    of(process_group).transformed({**rows, "model": (loads, f"{JOIN}\n{loads}")})


def test_the_preview_waits_for_its_arguments():
    """A load in a ``with`` that loads the tokenizer, too: the preview stands inside."""
    loads = f"with here:\n    {OLD['tokenizer']}\n    {{}}{LOAD}"
    rows = {
        "tokenizer": ("pass", "pass"),
        "model": (loads.format(""), loads.format(f"{SHOW}\n    ")),
    }
    of(preview).transformed(rows)


def test_the_preview_follows_what_loads_model_and_tokenizer_at_once():
    helper = f"def load(config):\n    {OLD['tokenizer']}\n    {LOAD}\n    return model, tokenizer"
    helper = helper.replace("margs.model_name_or_path", "'there'")
    loads = "model, tokenizer = load(config)"
    rows = {
        "helper": (helper, helper),
        "tokenizer": ("", ""),
        "model": (loads, f"{loads}\n\n{SHOW}"),
    }
    text, _ = apply(render(OLD, {slot: row[0] for slot, row in rows.items()}), preview)
    assert text == render(OLD, {slot: row[1] for slot, row in rows.items()})
    preview.verify(finished(text + PAYLOAD))


def test_other_names():
    said = {
        "load": 'rows_of = load_dataset("json", data_files=the_data.train_file)',
        "parse": OLD["parse"].replace("dargs, targs", "the_data, run"),
        "tokenizer": OLD["tokenizer"].replace("tokenizer =", "words ="),
        "mapping": "chunks = rows_of.map(words)",
        "splits": OLD["splits"].replace("targs", "run"),
        "trainer": "trainer = Trainer(\n    model=model, args=run, train_dataset=train_rows,"
        " eval_dataset=eval_rows, compute_metrics=score)",
        "train": "trainer.train()",
        "evaluate": "trainer.evaluate()",
    }
    call = "show_preview(rows_of, encode_pair, words, the_data, run)"
    rows = {slot: (text, text) for slot, text in said.items()}
    of(preview).transformed({**rows, "model": (OLD["model"], f"{call}\n{OLD['model']}")})


NONE = (
    "found no call of from_pretrained of a model class of transformers"
    " … The model is expected to be loaded through that class by name"
)
NEAREST = f"{OLD['config']}\n{OLD['tokenizer']}\n"
WRONG = {
    "no model": (NONE, NEAREST, "model = None"),
    "from a config only": (NONE, NEAREST + LOAD.replace("pretrained", "config"), LOAD.replace("pretrained", "config")),
    "in a definition": (
        "this to stand in main() itself, not in a definition",
        "return AutoModelForCausalLM.from_pretrained('there')",
        "def load():\n    return AutoModelForCausalLM.from_pretrained('there')\nmodel = load()",
    ),
    "in two functions": (
        "the model to be loaded in one function",
        f"return AutoModelForCausalLM.from_pretrained(1, targs)\n{OLD['model']}",
        {"helper": "def draft(targs):\n    return AutoModelForCausalLM.from_pretrained(1, targs)"
         "\n\ndef other():\n    return draft(1), draft(2)"},
    ),
}  # fmt: skip
test_the_group_is_refused = of(process_group).refuses(WRONG)
test_the_preview_is_refused = of(preview).refuses(WRONG)


# Upstream would have to load the model first; there is no place for a preview then.
LATE = {
    late: (
        f"{OLD[late].partition(' ')[0]} is bound wherever show_preview is given it",
        {late: "pass", "model": f"{OLD['model']}\n{OLD[late]}"},
    )
    for late in ("load", "tokenizer")
}
test_what_is_there_only_later = of(preview).unverifies(LATE)

LOADED = FINISHED["model"].splitlines()[-1]
WHY = {JOIN: "DeepSpeed knows the ranks", SHOW: "the data may be looked at before any weight"}


def spoilt(codemod, call, **more):
    name, why = call.partition("(")[0], WHY[call]
    once = f"{name} is called once"
    draft = "draft = AutoModel.from_pretrained('there')"
    table = {
        "missing": (once, LOADED),
        "twice": (once, f"{call}\n{call}\n{LOADED}"),
        "too late": (why, f"{LOADED}\n{call}"),
        "on a condition": (why, f"if targs.deepspeed:\n    {call}\n{LOADED}"),
        "in a definition": (why, f"def do():\n    {call}\n{LOADED}"),
        "in an expression": (why, f"dargs.preview and {call}\n{LOADED}"),
        "without arguments": (why, f"{name}()\n{LOADED}"),
        "by keyword": (why, f"{call.replace('targs', 'training_args=targs')}\n{LOADED}"),
        "with other arguments": (why, f"{call.replace('targs', 'margs')}\n{LOADED}"),
        "no model": ("found no call of from_pretrained", f"{call}\nmodel = None"),
        "loaded before": (why, {"config": f"{draft}\n{FINISHED['config']}"}),
        "another way before": (why, {"load": f"{draft.replace('pretrained', 'config')}\nraw = dargs.load_files()"}),
    }  # fmt: skip
    table |= {n: (why, f"show_preview({given}, targs)\n{LOADED}") for n, given in more.items()}
    return of(codemod).catches(table)


test_verify_catches_a_group_not_joined = spoilt(process_group, JOIN)
test_verify_catches_a_preview_not_shown = spoilt(
    preview,
    SHOW,
    swapped="raw, encode_pair, dargs, tokenizer",
    prompts="raw, encode_prompt, tokenizer, dargs",
    tokenizer="raw, encode_pair, config, dargs",
    data="config, encode_pair, tokenizer, dargs",
)
RIGHT = [
    f"{JOIN}\n{SHOW}\nprint('loading')\n{LOADED}",
    f"if margs.config_name:\n    pass\n{SHOW}\n{JOIN}\n{LOADED}",
    f"with here:\n    {SHOW}\n    {JOIN}\n    {LOADED}",
]
test_verify_accepts_the_group = of(process_group).accepts(*RIGHT)
test_verify_accepts_the_preview = of(preview).accepts(*RIGHT)

"""codemods/auto_model.py"""

from __future__ import annotations

from codemods import auto_model
from tests.codemods.helpers import FINISHED, NEW, OLD, Tables

of = Tables(auto_model, "model")

OURS = "AutoModelForCausalLM"
LOAD = "model = {}.from_pretrained('there')"
IMPORTED = f"""
import transformers
import transformers as hf
from transformers import {OURS} as LM, LlamaForCausalLM, AutoModel as Any
from transformers.models.auto.modeling_auto import {OURS} as Deep
from optimum import {OURS} as Optimal
print(Optimal)"""
IMPORTS = {"imports": (OLD["imports"] + IMPORTED,) * 2}


def becomes_ours(text: str, before: str = OURS, after: str = "AutoModel") -> tuple[str, str]:
    return text.replace("HERE", before), text.replace("HERE", after)


TRANSFORMED = {
    "one line": becomes_ours("model = HERE.from_pretrained('there', config=config)"),
    "several lines, comments": becomes_ours(
        """
        model = HERE.from_pretrained(  # big
            "there",
            low_cpu_mem_usage=True,  # so
        )
        """
    ),
    "pretrained or from a config": becomes_ours(
        f"if margs:\n    {LOAD.format('HERE')}\nelse:\n    model = HERE.from_config(config)  # new"
    ),
    "annotated, in brackets": (
        f"model: Model = ({OURS}).from_pretrained('there')",
        "model: Model = AutoModel.from_pretrained('there')",
    ),
    "words in a string or a comment stay": becomes_ours(
        f"# {OURS}, that is\nmodel = HERE.from_pretrained('{OURS}')"
    ),
    "another class stays": becomes_ours(
        f"{LOAD.format('HERE')}\ndraft = AutoModelForSeq2SeqLM.from_pretrained('there')"
    ),
    "a class of upstream's own is registered where it is looked for": becomes_ours(
        f"HERE.register(ChatConfig, ChatModel)\n{LOAD.format('HERE')}"
    ),
    "moved at once": becomes_ours(f"{LOAD.format('HERE')}.to(targs.device)"),
    "done already": becomes_ours(LOAD.format("AutoModel")),
    "by another name": becomes_ours(LOAD.format("HERE"), "LM"),
    "of a submodule": becomes_ours(LOAD.format("HERE"), "Deep"),
    "under the library's name": becomes_ours(
        LOAD.format("HERE"), f"transformers.{OURS}", "transformers.AutoModel"
    ),
    "under another name of it": becomes_ours(LOAD.format("HERE"), f"hf.{OURS}", "hf.AutoModel"),
}
test_transformed = of.transforms(
    TRANSFORMED,
    also=lambda base: {
        "imports": base["imports"].replace(f"{OURS},", f"{OURS}, AutoModel,") + IMPORTED
    },
)


def test_loaded_in_a_function():
    helper = becomes_ours(
        "def load(config, margs):\n    return HERE.from_pretrained(1, config=config)"
    )
    call = "model = load(config, margs)"
    of.transformed({"helper": helper, "model": (call, call)})


def test_upstreams_shape_now():
    before = NEW["model"]
    of.transformed({"model": (before, before.replace(OURS, "AutoModel"))}, NEW)


CHANGE = ("changed", "main", "AutoModel")
test_record = of.records(None, old=[CHANGE], new=[CHANGE] * 2)

NONE = (
    "found no call of from_pretrained of a model class of transformers"
    " … The model is expected to be loaded through that class by name"
)
NEAREST = f"{OLD['config']}\n{OLD['tokenizer']}\n"
USED = f"every use of transformers.{OURS} to be a call of it"
LLAMA = LOAD.format("LlamaForCausalLM")
REFUSED = {
    "a class that is not the library's": (
        NONE,
        NEAREST + LOAD.format("Chat"),
        LOAD.format("Chat"),
    ),
    "no class": (NONE, NEAREST, "model = load('there')"),
    "from a config only": (
        NONE,
        f"{NEAREST}model = {OURS}.from_config(config)",
        f"model = {OURS}.from_config(config)",
    ),
    "another library's": (
        NONE,
        NEAREST + OLD["model"],
        {"imports": OLD["imports"] + f"\nfrom optimum import {OURS}"},
    ),
    "another of the library's": (
        f"the model to be loaded through {OURS}",
        LLAMA,
        {"imports": IMPORTS["imports"][0], "model": LLAMA},
    ),
    "the class is chosen": (USED, f"cls = {OURS}", f"cls = {OURS}\n{LOAD.format('cls')}"),
    "asked for its class": (
        USED,
        f"assert isinstance(model, {OURS})",
        {"end": f"assert isinstance(model, {OURS})"},
    ),
    "in an annotation": (
        USED,
        f"def helper(model: {OURS}):",
        {"helper": f"def helper(model: {OURS}):\n    return model"},
    ),
    "another method of it": (
        USED,
        f"print({OURS}.keys())",
        {"end": f"print({OURS}.keys())"},
    ),
    "under the library's name": (
        USED,
        "return transformers.AutoModelForCausalLM",
        {
            "imports": OLD["imports"] + "\nimport transformers",
            "helper": "def helper():\n    return transformers.AutoModelForCausalLM",
        },
    ),
}
test_refused = of.refuses(REFUSED)

RIGHT = FINISHED["model"]
LOADED = RIGHT.splitlines()[-1]
LEFT, OTHER = f"{OURS} is not used", "AutoModel loads the model"
VERIFY_CATCHES = {
    "upstream's": (LEFT, OLD["model"]),
    "one of two": (LEFT, f"{RIGHT}\nmodel = {OURS}.from_config(config)"),
    "one of two, under the library's name": (
        LEFT,
        f"import transformers\n{RIGHT}\nmodel = transformers.{OURS}.from_config(config)",
    ),
    "another class": (
        OTHER,
        f"from transformers import LlamaForCausalLM\n{RIGHT}\n{LLAMA}",
    ),
    "a class that is not the library's": (
        "found no call of from_pretrained",
        RIGHT.replace("AutoModel", "Chat"),
    ),
    "from a config only": (
        "found no call of from_pretrained",
        RIGHT.replace("from_pretrained", "from_config"),
    ),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    f"{RIGHT}\n{LOADED}",
    f"import transformers\n{RIGHT.replace('AutoModel.', 'transformers.AutoModel.')}",
    f"AutoModel.register(a, b)\n{RIGHT}",
)

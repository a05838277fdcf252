"""codemods/process_group.py"""

from __future__ import annotations

import pytest

from codemods import process_group
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    render,
)

JOIN = "join_process_group(targs)"
LOAD = "model = AutoModelForCausalLM.from_pretrained('there')"

TRANSFORMED = {
    "one line": LOAD,
    "in a branch": (
        "if margs.model_name_or_path:\n"
        "    model = AutoModelForCausalLM.from_pretrained('there')\n"
        "else:\n"
        "    model = AutoModelForCausalLM.from_config(config)"
    ),
    "after a comment": f"# It is big.\n{LOAD}",
    "under the library's name": LOAD.replace("Auto", "transformers.Auto"),
    "of two the first": f"{LOAD}\nprint('once more')\n{LOAD}",
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("before", TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, newline, base):
    imports = BASES[base]["imports"] + "\nimport transformers"
    check_transformed(
        process_group,
        before,
        f"{JOIN}\n{before}",
        slot="model",
        also={"imports": (imports, imports)},
        base=BASES[base],
        newline=newline,
    )


def test_the_record():
    _, patch = apply(render(OLD), process_group)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [("added before", "main", JOIN)]
    assert patch.graft_before.name.value == "main"


def test_no_model_is_refused():
    check_refused(
        process_group,
        "found no call of transformers.AutoModelForCausalLM.from_pretrained",
        nearest=(OLD["config"], OLD["tokenizer"]),
        hint="The model is expected",
        model="model = None",
    )


def test_loaded_in_a_definition_is_refused():
    check_refused(
        process_group,
        "to stand in main() itself, not in a definition",
        nearest=("return AutoModelForCausalLM.from_pretrained('there')",),
        hint="What is to follow it",
        model=(
            "def load():\n    return AutoModelForCausalLM.from_pretrained('there')\nmodel = load()"
        ),
    )


def test_verify_catches_a_load_before():
    check_caught(
        process_group,
        "DeepSpeed knows the ranks before the model is loaded",
        config=f"draft = AutoModel.from_pretrained('there')\n{FINISHED['config']}",
    )


RIGHT = FINISHED["model"]
LOADED = RIGHT.partition("\n")[2]
CAUGHT = {
    "nothing joined": (LOADED, "join_process_group is called once in main()"),
    "twice": (f"{JOIN}\n{RIGHT}", "join_process_group is called once in main()"),
    "too late": (f"{LOADED}\n{JOIN}", "DeepSpeed knows the ranks"),
    "on a condition": (f"if targs.deepspeed:\n    {JOIN}\n{LOADED}", "DeepSpeed knows the ranks"),
    "with other arguments": (
        f"join_process_group(margs)\n{LOADED}",
        "DeepSpeed knows the ranks",
    ),
    "without arguments": (f"join_process_group()\n{LOADED}", "DeepSpeed knows the ranks"),
    "no model": (f"{JOIN}\nmodel = None", "DeepSpeed knows the ranks"),
}


@pytest.mark.parametrize(("model", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(model, promise):
    check_caught(process_group, promise, model=model)


@pytest.mark.parametrize(
    "model",
    [
        RIGHT,
        f"{JOIN}\nprint('loading')\n{LOADED}",
        RIGHT.replace("AutoModel", "AutoModelForCausalLM"),
    ],
)
def test_verify_accepts(model):
    check_accepted(process_group, model=model)

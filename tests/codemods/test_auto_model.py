"""codemods/auto_model.py"""

from __future__ import annotations

import pytest

from codemods import auto_model
from tests.codemods.helpers import (
    BASES,
    FINISHED,
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


def imports(base, name="AutoModelForCausalLM"):
    before = base["imports"].replace("AutoModelForCausalLM", name)
    return {"imports": (before, before.replace(name, "AutoModel"))}


TRANSFORMED = {
    "one line": (
        "model = AutoModelForCausalLM.from_pretrained('there', config=config)",
        "model = AutoModel.from_pretrained('there', config=config)",
    ),
    "several lines, comments": (
        """
        model = AutoModelForCausalLM.from_pretrained(  # big
            "there",
            low_cpu_mem_usage=True,  # so
        )
        """,
        """
        model = AutoModel.from_pretrained(  # big
            "there",
            low_cpu_mem_usage=True,  # so
        )
        """,
    ),
    "pretrained or from a config": (
        """
        if margs.model_name_or_path:
            model = AutoModelForCausalLM.from_pretrained(margs.model_name_or_path)
        else:
            model = AutoModelForCausalLM.from_config(config)  # new
        """,
        """
        if margs.model_name_or_path:
            model = AutoModel.from_pretrained(margs.model_name_or_path)
        else:
            model = AutoModel.from_config(config)  # new
        """,
    ),
    "annotated, in brackets": (
        "model: Model = (AutoModelForCausalLM).from_pretrained('there')",
        "model: Model = AutoModel.from_pretrained('there')",
    ),
    "words in a string or a comment stay": (
        "# AutoModelForCausalLM, that is\n"
        "model = AutoModelForCausalLM.from_pretrained('AutoModelForCausalLM')",
        "# AutoModelForCausalLM, that is\nmodel = AutoModel.from_pretrained('AutoModelForCausalLM')",
    ),
    "another class stays": (
        "model = AutoModelForCausalLM.from_pretrained('there')\n"
        "draft = AutoModelForSeq2SeqLM.from_pretrained('there', trust_remote_code=True)",
        "model = AutoModel.from_pretrained('there')\n"
        "draft = AutoModelForSeq2SeqLM.from_pretrained('there', trust_remote_code=True)",
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, newline, base):
    base = BASES[base]
    check_transformed(
        auto_model, before, after, slot="model", also=imports(base), base=base, newline=newline
    )


def test_upstreams_shape_now():
    before = NEW["model"]
    after = before.replace("AutoModelForCausalLM", "AutoModel")
    check_transformed(auto_model, before, after, slot="model", also=imports(NEW), base=NEW)


LOAD = "model = {}.from_pretrained('there')"
IMPORTS = {
    "by another name": (
        "AutoModelForCausalLM as LM,",
        "AutoModel,",
        "LM",
        "AutoModel",
    ),
    "under the library's name": (
        "AutoModelWithHead,",
        "AutoModelWithHead,",
        "transformers.AutoModelForCausalLM",
        "transformers.AutoModel",
    ),
    "under another name of the library": (
        "AutoModelWithHead,",
        "AutoModelWithHead,",
        "hf.AutoModelForCausalLM",
        "hf.AutoModel",
    ),
}


@pytest.mark.parametrize(("imported", "changed", "before", "after"), IMPORTS.values(), ids=IMPORTS)
def test_imports(imported, changed, before, after):
    old = OLD["imports"] + "\nimport transformers\nimport transformers as hf"
    check_transformed(
        auto_model,
        LOAD.format(before),
        LOAD.format(after),
        slot="model",
        also={
            "imports": (
                old.replace("AutoModelForCausalLM,", imported),
                old.replace("AutoModelForCausalLM,", changed),
            )
        },
    )


def test_imported_by_itself():
    rest = OLD["imports"].replace("    AutoModelForCausalLM,\n", "")
    line = "from transformers import {}  # the class\n"
    check_transformed(
        auto_model,
        OLD["model"],
        OLD["model"].replace("AutoModelForCausalLM", "AutoModel"),
        slot="model",
        also={
            "imports": (
                line.format("AutoModelForCausalLM") + rest,
                line.format("AutoModel") + rest,
            )
        },
    )


def test_the_new_class_is_imported_already():
    both = OLD["imports"].replace("AutoModelForCausalLM,", "AutoModel, AutoModelForCausalLM,")
    check_transformed(
        auto_model,
        OLD["model"],
        OLD["model"].replace("AutoModelForCausalLM", "AutoModel"),
        slot="model",
        also={"imports": (both, both)},
    )


def test_the_record():
    _, patch = apply(render(NEW), auto_model)
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "main", "AutoModel"),
        ("changed", "main", "AutoModel"),
        ("changed", "module", "AutoModel"),
    ]
    assert patch.graft_before is None


HINT = "The model is expected to be loaded through that class by name"
MISSING = "found no call of transformers.AutoModelForCausalLM.from_pretrained"
REFUSED = {
    "already done": (
        {
            "imports": OLD["imports"].replace("AutoModelForCausalLM", "AutoModel"),
            "model": LOAD.format("AutoModel"),
        },
        (OLD["config"], OLD["tokenizer"], LOAD.format("AutoModel")),
    ),
    "another class": (
        {"model": LOAD.format("AutoModelForSeq2SeqLM")},
        (OLD["config"], OLD["tokenizer"], LOAD.format("AutoModelForSeq2SeqLM")),
    ),
    "from a config only": (
        {"model": "model = AutoModelForCausalLM.from_config(config)"},
        (OLD["config"], OLD["tokenizer"], "model = AutoModelForCausalLM.from_config(config)"),
    ),
    "no class": ({"model": "model = load('there')"}, (OLD["config"], OLD["tokenizer"])),
    "another library's": (
        {"imports": OLD["imports"] + "\nfrom optimum import AutoModelForCausalLM"},
        (OLD["config"], OLD["tokenizer"], OLD["model"]),
    ),
}


@pytest.mark.parametrize(("filled", "nearest"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, nearest):
    check_refused(auto_model, MISSING, nearest=nearest, hint=HINT, **filled)


USED = {
    "the class is chosen": (
        {"model": "cls = AutoModelForCausalLM\n" + LOAD.format("cls")},
        "cls = AutoModelForCausalLM",
    ),
    "asked for its class": (
        {"splits": OLD["splits"] + "\nassert isinstance(model, AutoModelForCausalLM)"},
        "assert isinstance(model, AutoModelForCausalLM)",
    ),
    "in an annotation": (
        {"helper": "def helper(model: AutoModelForCausalLM):\n    return model"},
        "def helper(model: AutoModelForCausalLM):",
    ),
    "another method of it": (
        {"splits": OLD["splits"] + "\nAutoModelForCausalLM.register(1, 2)"},
        "AutoModelForCausalLM.register(1, 2)",
    ),
}


@pytest.mark.parametrize(("filled", "nearest"), USED.values(), ids=USED)
def test_refuses_another_use_of_the_class(filled, nearest):
    wanted = "every use of transformers.AutoModelForCausalLM to be a call that loads it"
    check_refused(auto_model, wanted, nearest=(nearest,), **filled)


UNVERIFIED = {
    "imported twice, used in a function": (
        {"helper": "def helper():\n    return transformers.AutoModelForCausalLM"},
        "AutoModelForCausalLM is not used",
    ),
}


@pytest.mark.parametrize(("filled", "promise"), UNVERIFIED.values(), ids=UNVERIFIED)
def test_verify_refuses_what_apply_let_pass(filled, promise):
    check_unverified(auto_model, promise, **filled)


def test_refuses_a_class_called_the_same():
    check_refused(
        auto_model,
        "AutoModel to be transformers' own",
        nearest=(OLD["model"],),
        imports=OLD["imports"] + "\nfrom elsewhere import AutoModel",
    )


def test_another_librarys_import_stays():
    extra = "\nfrom optimum import AutoModelForCausalLM as Optimal\nprint(Optimal)"
    (before, after) = imports(OLD)["imports"]
    check_transformed(
        auto_model,
        OLD["model"],
        OLD["model"].replace("AutoModelForCausalLM", "AutoModel"),
        slot="model",
        also={"imports": (before + extra, after + extra)},
    )


MODEL = "model = AutoModel.from_pretrained('there', **zero3_model_kwargs(config, margs))"
CAUGHT = {
    "upstream's": ({"model": OLD["model"]}, "AutoModel loads the model"),
    "another class": (
        {"model": "model = AutoModelForSeq2SeqLM.from_pretrained('there')"},
        "AutoModel loads the model",
    ),
    "from a config only": (
        {"model": "model = AutoModel.from_config(config)"},
        "AutoModel loads the model",
    ),
    "one of two": (
        {"model": f"{MODEL}\nmodel = AutoModelForCausalLM.from_config(config)"},
        "AutoModelForCausalLM is not used",
    ),
    "one of two, under the library's name": (
        {"model": f"{MODEL}\nmodel = transformers.AutoModelForCausalLM.from_config(config)"},
        "AutoModelForCausalLM is not used",
    ),
    "imported still": (
        {"imports": OLD["imports"].replace("Trainer,", "AutoModel,", 1)},
        "AutoModelForCausalLM is not imported",
    ),
    "imported in main(), too late": (
        {"train": "from transformers import AutoModel"},
        "AutoModel is transformers' own where it loads the model",
    ),
    "imported in main(), perhaps": (
        {"load": "if margs:\n    from transformers import AutoModel\n" + OLD["load"]},
        "AutoModel is transformers' own where it loads the model",
    ),
    "imported elsewhere": (
        {
            "imports": FINISHED["imports"].replace("    AutoModel,\n", ""),
            "helper": "def helper():\n    from transformers import AutoModel",
        },
        "AutoModel is imported where it loads the model",
    ),
    "a local of its name": (
        {"end": "AutoModel = None"},
        "AutoModel is transformers' own where it loads the model",
    ),
    "imported by another name": (
        {"load": "from transformers import AutoModelForCausalLM as Model\nraw = load_dataset('a')"},
        "AutoModelForCausalLM is not imported",
    ),
}


@pytest.mark.parametrize(("spoilt", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(spoilt, promise):
    check_caught(auto_model, promise, **spoilt)


@pytest.mark.parametrize(
    "model", [MODEL, MODEL.replace("AutoModel.", "transformers.AutoModel."), f"{MODEL}\n{MODEL}"]
)
def test_verify_accepts(model):
    check_accepted(auto_model, model=model)


@pytest.mark.parametrize(
    "filled",
    [
        {"load": "from transformers import AutoModel\n" + OLD["load"]},
        {"helper": "try:\n    from transformers import AutoModel\nexcept ImportError:\n    raise"},
    ],
)
def test_verify_accepts_an_import(filled):
    imports = FINISHED["imports"].replace("    AutoModel,\n", "")
    check_accepted(auto_model, imports=imports, **filled)

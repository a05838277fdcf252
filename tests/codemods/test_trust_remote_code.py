"""codemods/trust_remote_code.py"""

from __future__ import annotations

import pytest

from codemods import trust_remote_code
from codemods.engine.refusal import Refusal
from codemods.engine.script import Script
from tests.codemods.helpers import (
    BASES,
    FINISHED,
    NEW,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_noop,
    check_refused,
    check_transformed,
    check_unverified,
    finish,
    render,
)

# OLD with every loading done but for the config's, so that a row shows all that changes.
REST = {
    slot: (OLD[slot], OLD[slot][:-1] + ", trust_remote_code=True)")
    for slot in ("tokenizer", "model")
}
DONE = {slot: after for slot, (_, after) in REST.items()}

PLAIN = {
    "no arguments": (
        "config = AutoConfig.from_pretrained()",
        "config = AutoConfig.from_pretrained(trust_remote_code=True)",
    ),
    "one line": (
        "config = AutoConfig.from_pretrained(margs.config_name)",
        "config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)",
    ),
    "one line, a comma at its end": (
        "config = AutoConfig.from_pretrained(margs.config_name,)",
        "config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)",
    ),
    "several lines, a comma at the end": (
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,  # or a path
            revision="main",
        )
        """,
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,  # or a path
            revision="main",
            trust_remote_code=True,
        )
        """,
    ),
    "several lines, a comment after the last comma": (
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,
            revision="main",  # the newest
            # nothing else
        )
        """,
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,
            revision="main",  # the newest
            # nothing else
            trust_remote_code=True,
        )
        """,
    ),
    "a dict beside other keywords": (
        """
        more = {"revision": "main"}
        config = AutoConfig.from_pretrained(margs.config_name, use_cache=False, **more)
        """,
        """
        more = {"revision": "main", "trust_remote_code": True}
        config = AutoConfig.from_pretrained(margs.config_name, use_cache=False, **more)
        """,
    ),
    "an empty dict": (
        """
        more = {}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {"trust_remote_code": True}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
    "a dict on one line, a comma at its end": (
        """
        more = {"revision": "main",}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {"revision": "main", "trust_remote_code": True,}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
    "a dict over several lines": (
        """
        more = {
            "cache_dir": None,  # the default one
            # Which version.
            "revision": "main",
        }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {
            "cache_dir": None,  # the default one
            # Which version.
            "revision": "main",
            "trust_remote_code": True,
        }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
    "a dict written in the call": (
        'config = AutoConfig.from_pretrained(margs.config_name, **{"revision": "main"})',
        "config = AutoConfig.from_pretrained(margs.config_name, "
        '**{"revision": "main", "trust_remote_code": True})',
    ),
    "a dict that two loaders share is changed once": (
        """
        more = {"revision": "main"}
        if margs.config_name:
            config = AutoConfig.from_pretrained(margs.config_name, **more)
        else:
            config = AutoConfig.from_pretrained("there", **more)
        """,
        """
        more = {"revision": "main", "trust_remote_code": True}
        if margs.config_name:
            config = AutoConfig.from_pretrained(margs.config_name, **more)
        else:
            config = AutoConfig.from_pretrained("there", **more)
        """,
    ),
    "a dict that something else shares stays": (
        """
        more = {"revision": "main"}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        extra = load_dataset("extra", **more)
        """,
        """
        more = {"revision": "main"}
        config = AutoConfig.from_pretrained(margs.config_name, **more, trust_remote_code=True)
        extra = load_dataset("extra", **more)
        """,
    ),
    "a dict shared with a loader that says so itself stays": (
        """
        more = {"revision": "main"}
        if margs.config_name:
            config = AutoConfig.from_pretrained("here", trust_remote_code=True, **more)
        else:
            config = AutoConfig.from_pretrained("there", **more)
        """,
        """
        more = {"revision": "main"}
        if margs.config_name:
            config = AutoConfig.from_pretrained("here", trust_remote_code=True, **more)
        else:
            config = AutoConfig.from_pretrained("there", **more, trust_remote_code=True)
        """,
    ),
    "of two dicts the first takes it": (
        """
        one = {"revision": "main"}
        two = {"cache_dir": None}
        config = AutoConfig.from_pretrained(margs.config_name, **one, **two)
        """,
        """
        one = {"revision": "main", "trust_remote_code": True}
        two = {"cache_dir": None}
        config = AutoConfig.from_pretrained(margs.config_name, **one, **two)
        """,
    ),
    "a key alike is another key": (
        """
        more = {"trust_remote_code_of": "me", 'force': True}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {"trust_remote_code_of": "me", 'force': True, "trust_remote_code": True}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
    "one of two is done already": (
        """
        if margs.config_name:
            config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)
        else:
            config = AutoConfig.from_pretrained("there")
        """,
        """
        if margs.config_name:
            config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)
        else:
            config = AutoConfig.from_pretrained("there", trust_remote_code=True)
        """,
    ),
    "other classes stay": (
        """
        config = AutoConfig.from_pretrained(margs.config_name)
        processor = AutoProcessor.from_pretrained(margs.config_name)
        generation = GenerationConfig.from_pretrained(margs.config_name)
        """,
        """
        config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)
        processor = AutoProcessor.from_pretrained(margs.config_name)
        generation = GenerationConfig.from_pretrained(margs.config_name)
        """,
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), PLAIN.values(), ids=PLAIN)
def test_transformed(before, after, newline):
    check_transformed(trust_remote_code, before, after, slot="config", also=REST, newline=newline)


UGLY = {
    "a dict over several lines, a comment first and last": (
        """
        more = {  # for the config
            "revision": "main",  # the newest
            # nothing else
        }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {  # for the config
            "revision": "main",  # the newest
            # nothing else
            "trust_remote_code": True,
        }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
    "several lines, no comma at the end": (
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,
            revision="main"
        )
        """,
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,
            revision="main",
            trust_remote_code=True
        )
        """,
    ),
    "a dict over several lines, no comma at the end": (
        """
        more = {
            "revision": "main"
        }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {
            "revision": "main",
            "trust_remote_code": True
        }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
    "a dict on one line, a comma and a space at its end": (
        """
        more = {"cache_dir": None, "revision": "main", }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
        """
        more = {"cache_dir": None, "revision": "main", "trust_remote_code": True, }
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    ),
}


@pytest.mark.parametrize(("before", "after"), UGLY.values(), ids=UGLY)
def test_layout(before, after):
    check_transformed(trust_remote_code, before, after, slot="config", also=REST)


FIELDS = {
    "field(default=False)": (
        "    trust_remote_code: bool = field(default=False)",
        "    trust_remote_code: bool = field(default=True)",
    ),
    "default not first, over several lines": (
        '    trust_remote_code: bool = field(\n        metadata={"help": "Sure?"},  # yes\n'
        "        default = False  # for now\n    )",
        '    trust_remote_code: bool = field(\n        metadata={"help": "Sure?"},  # yes\n'
        "        default = True  # for now\n    )",
    ),
    "a bare False": (
        "    trust_remote_code: bool = False  # by default",
        "    trust_remote_code: bool = True  # by default",
    ),
    "an optional one": (
        "    trust_remote_code: Optional[bool] = dataclasses.field(default=False)",
        "    trust_remote_code: Optional[bool] = dataclasses.field(default=True)",
    ),
    "True already": (
        "    trust_remote_code: bool = field(default=True)",
        "    trust_remote_code: bool = field(default=True)",
    ),
    "a bare True already": (
        "    trust_remote_code: bool = True",
        "    trust_remote_code: bool = True",
    ),
}


@pytest.mark.parametrize(("before", "after"), FIELDS.values(), ids=FIELDS)
def test_upstreams_own_argument(before, after):
    head = "@dataclass\nclass ModelOptions:\n    model_name_or_path: str = None\n"
    slots = ("config", "tokenizer", "model")
    own = {s: (OLD[s], f"{OLD[s][:-1]}, trust_remote_code=margs.trust_remote_code)") for s in slots}
    check_transformed(trust_remote_code, head + before, head + after, slot="model_class", also=own)


def test_todays_shape_needs_the_default_only():
    before = NEW["model_class"]
    check_transformed(
        trust_remote_code,
        before,
        before.replace("default=False", "default=True"),
        slot="model_class",
        base=NEW,
    )


def test_loading_the_data_is_not_its_business():
    text, patch = apply(render(NEW), trust_remote_code)
    assert [c.where for c in patch.changes] == ["ModelOptions"]
    assert NEW["load"].splitlines()[1] in text


@pytest.mark.parametrize(
    ("slot", "before", "after"),
    [
        (
            "config",
            'more = {"trust_remote_code": True}\n'
            'config = transformers.AutoConfig.from_pretrained("there")',
            'more = {"trust_remote_code": True}\n'
            'config = transformers.AutoConfig.from_pretrained("there", '
            "trust_remote_code=margs.trust_remote_code)",
        ),
        (
            "tokenizer",
            "more_still = {}\ntokenizer = AutoTokenizer.from_pretrained('there', **more_still)",
            'more_still = {"trust_remote_code": margs.trust_remote_code}\n'
            "tokenizer = AutoTokenizer.from_pretrained('there', **more_still)",
        ),
        (
            "model",
            'model = AutoModelForCausalLM.from_pretrained("there", trust_remote_code=True)\n'
            "if not margs.config_name:\n"
            "    model = AutoModelForCausalLM.from_config(config)",
            'model = AutoModelForCausalLM.from_pretrained("there", trust_remote_code=True)\n'
            "if not margs.config_name:\n"
            "    model = AutoModelForCausalLM.from_config(config, "
            "trust_remote_code=margs.trust_remote_code)",
        ),
    ],
)
def test_a_loading_that_was_forgotten(slot, before, after):
    done = NEW["model_class"].replace("default=False", "default=True")
    check_transformed(
        trust_remote_code, before, after, slot=slot, also={"model_class": (done, done)}, base=NEW
    )


def test_verify_refuses_an_annotated_dict():
    check_unverified(
        trust_remote_code,
        "AutoConfig is loaded with trust_remote_code",
        config="""
        more: dict = {"revision": "main"}
        config = AutoConfig.from_pretrained(margs.config_name, **more)
        """,
    )


def test_verify_refuses_the_class_by_another_name():
    check_unverified(
        trust_remote_code,
        "AutoConfig is loaded",
        imports=OLD["imports"].replace("AutoConfig,", "AutoConfig as Config,"),
        config='config = Config.from_pretrained("there")',
    )


TRUSTING = "config = AutoConfig.from_pretrained(margs.config_name, trust_remote_code=True)"


@pytest.mark.parametrize(
    "filled",
    {
        "inline": {"config": TRUSTING, **DONE},
        "in a dict": {
            "config": "more = {'trust_remote_code': True}\n"
            "config = AutoConfig.from_pretrained(margs.config_name, **more)",
            **DONE,
        },
        "in a dict in the call": {
            "config": "config = AutoConfig.from_pretrained(**{'trust_remote_code': True})",
            **DONE,
        },
    }.values(),
)
def test_noop(filled):
    check_noop(trust_remote_code, **filled)


def test_noop_of_todays_shape():
    done = NEW["model_class"].replace("default=False", "default=True")
    check_noop(trust_remote_code, base=NEW, model_class=done)


NOT_ONE_DICT = "every ** of this call to be one dict written out in main(), with all its keys"
UNKNOWN = "Its keywords can't be known otherwise"
LOAD = "config = AutoConfig.from_pretrained('there', **more)"
REFUSED = {
    "switched off inline": (
        OLD,
        {"config": "config = AutoConfig.from_pretrained('there', trust_remote_code=False)"},
        "trust_remote_code to be True",
        ("config = AutoConfig.from_pretrained('there', trust_remote_code=False)",),
        "",
    ),
    "switched off in a dict": (
        OLD,
        {"config": f"more = {{'trust_remote_code': False}}\n{LOAD}"},
        "trust_remote_code to be True",
        (LOAD,),
        "",
    ),
    "something else than upstream's own argument": (
        NEW,
        {"tokenizer": "tokenizer = AutoTokenizer.from_pretrained('x', trust_remote_code=dargs.ok)"},
        "trust_remote_code to be margs.trust_remote_code",
        ("tokenizer = AutoTokenizer.from_pretrained('x', trust_remote_code=dargs.ok)",),
        "",
    ),
    "a dict filled afterwards": (
        OLD,
        {"config": f"more = {{}}\nmore['revision'] = 'main'\n{LOAD}"},
        "'more' to be written once and then only unpacked with **",
        ("more['revision'] = 'main'", LOAD),
        "",
    ),
    "a dict updated afterwards": (
        OLD,
        {"config": f"more = {{'revision': 'main'}}\nmore.update(revision='dev')\n{LOAD}"},
        "'more' to be written once and then only unpacked with **",
        ("more.update(revision='dev')", LOAD),
        "",
    ),
    "a dict handed to a function": (
        OLD,
        {"config": f"more = {{'revision': 'main'}}\nfill(more)\n{LOAD}"},
        "'more' to be written once and then only unpacked with **",
        ("fill(more)", LOAD),
        "",
    ),
    "a dict changed in a nested function": (
        OLD,
        {"config": f"more = {{}}\ndef fill():\n    more['a'] = 1\n{LOAD}"},
        "'more' to be written once and then only unpacked with **",
        ("more['a'] = 1", LOAD),
        "",
    ),
    "a dict bound twice": (
        OLD,
        {"config": f"more = {{}}\nif margs:\n    more = {{'revision': 'main'}}\n{LOAD}"},
        NOT_ONE_DICT,
        (LOAD,),
        UNKNOWN,
    ),
    "a dict bound by a loop": (
        OLD,
        {"config": f"for more in ({{}}, {{'a': 1}}):\n    {LOAD}"},
        NOT_ONE_DICT,
        (LOAD,),
        UNKNOWN,
    ),
    "a dict merged by |=": (
        OLD,
        {"config": f"more = {{}}\nmore |= {{'revision': 'main'}}\n{LOAD}"},
        NOT_ONE_DICT,
        (LOAD,),
        UNKNOWN,
    ),
    "a dict made by a call": (
        OLD,
        {"config": f"more = dict(revision='main')\n{LOAD}"},
        NOT_ONE_DICT,
        (LOAD,),
        UNKNOWN,
    ),
    "a dict with another inside": (
        OLD,
        {"config": f"more = {{**others, 'revision': 'main'}}\n{LOAD}"},
        NOT_ONE_DICT,
        (LOAD,),
        UNKNOWN,
    ),
    "a dict of the module": (
        OLD,
        {"helper": "more = {'revision': 'main'}", "config": LOAD},
        NOT_ONE_DICT,
        (LOAD,),
        UNKNOWN,
    ),
    "the argument is another group's": (
        OLD,
        {
            "data_class": "class DataOptions:\n    train_file: str\n    trust_remote_code: bool = False"
        },
        "trust_remote_code to be one of the model arguments",
        ("trust_remote_code: bool = False",),
        "",
    ),
    "the argument has no default": (
        NEW,
        {
            "model_class": "class ModelOptions:\n    trust_remote_code: bool\n    model_name_or_path: str"
        },
        "the argument trust_remote_code to have a default of True or False",
        ("trust_remote_code: bool",),
        "",
    ),
    "the argument defaults to None": (
        NEW,
        {
            "model_class": "class ModelOptions:\n    trust_remote_code: bool = None\n    model_name_or_path: str"
        },
        "the argument trust_remote_code to have a default of True or False",
        ("trust_remote_code: bool = None",),
        "",
    ),
    "the argument's default is made": (
        NEW,
        {
            "model_class": "class ModelOptions:\n    model_name_or_path: str\n"
            "    trust_remote_code: bool = field(default_factory=bool)"
        },
        "the argument trust_remote_code to have a default of True or False",
        ("trust_remote_code: bool = field(default_factory=bool)",),
        "",
    ),
    "the argument's default stands by position": (
        NEW,
        {
            "model_class": "class ModelOptions:\n    model_name_or_path: str\n"
            "    trust_remote_code: bool = field(False)"
        },
        "the argument trust_remote_code to have a default of True or False",
        ("trust_remote_code: bool = field(False)",),
        "",
    ),
    "the argument's default is computed": (
        NEW,
        {
            "model_class": "class ModelOptions:\n    model_name_or_path: str\n"
            "    trust_remote_code: bool = field(default=not SAFE)"
        },
        "the argument trust_remote_code to have a default of True or False",
        ("trust_remote_code: bool = field(default=not SAFE)",),
        "",
    ),
}


@pytest.mark.parametrize(
    ("base", "filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED
)
def test_refused(base, filled, looked_for, nearest, hint):
    check_refused(trust_remote_code, looked_for, nearest=nearest, hint=hint, base=base, **filled)


def test_verify_refuses_what_is_loaded_elsewhere():
    check_unverified(
        trust_remote_code,
        "AutoTokenizer is loaded",
        helper="def fetch():\n    global tokenizer\n"
        "    tokenizer = AutoTokenizer.from_pretrained('there')",
        tokenizer="fetch()",
    )


NO_DEFAULT = (
    "class ModelOptions(LoraArguments):\n    model_name_or_path: str\n    trust_remote_code: "
)
CAUGHT = {
    "the config": ({"config": OLD["config"]}, "AutoConfig is loaded with trust_remote_code"),
    "the tokenizer": (
        {"tokenizer": OLD["tokenizer"]},
        "AutoTokenizer is loaded with trust_remote_code",
    ),
    "the model": (
        {"model": "model = AutoModel.from_pretrained('there', config=config)"},
        "AutoModel is loaded with trust_remote_code",
    ),
    "the model, from its config": (
        {"model": FINISHED["model"] + "\nmodel = AutoModel.from_config(config)"},
        "AutoModel is loaded with trust_remote_code",
    ),
    "the model, by its old class": (
        {"model": OLD["model"]},
        "AutoModelForCausalLM is loaded with trust_remote_code",
    ),
    "one of two": (
        {"config": f"if margs:\n    {TRUSTING}\nelse:\n    {OLD['config']}"},
        "AutoConfig is loaded with trust_remote_code",
    ),
    "under the library's name": (
        {"config": "config = transformers.AutoConfig.from_pretrained('there')"},
        "AutoConfig is loaded with trust_remote_code",
    ),
    "switched off": (
        {"config": TRUSTING.replace("True", "False")},
        "AutoConfig is loaded with trust_remote_code",
    ),
    "1 is not True": (
        {"config": TRUSTING.replace("True", "1")},
        "AutoConfig is loaded with trust_remote_code",
    ),
    "a dict without it": (
        {"config": "more = {'revision': 'main'}\nconfig = AutoConfig.from_pretrained('x', **more)"},
        "AutoConfig is loaded with trust_remote_code",
    ),
    "a dict bound twice": (
        {
            "config": "more = {'trust_remote_code': True}\nif margs:\n    more = {}\n"
            "config = AutoConfig.from_pretrained('x', **more)"
        },
        "AutoConfig is loaded with trust_remote_code",
    ),
    "an argument that isn't there": (
        {"config": TRUSTING.replace("True", "margs.trust_remote_code")},
        "AutoConfig is loaded with trust_remote_code",
    ),
    "nothing loads the config": ({"config": "config = None"}, "AutoConfig is loaded"),
    "nothing loads the tokenizer": ({"tokenizer": "tokenizer = None"}, "AutoTokenizer is loaded"),
    "upstream's argument defaults to False": (
        {"model_class": NO_DEFAULT + "bool = field(default=False)"},
        "trust_remote_code defaults to True",
    ),
    "upstream's argument is plainly False": (
        {"model_class": NO_DEFAULT + "bool = False"},
        "trust_remote_code defaults to True",
    ),
    "upstream's argument is made": (
        {"model_class": NO_DEFAULT + "bool = field(default_factory=bool)"},
        "trust_remote_code defaults to True",
    ),
    "upstream's argument has no default": (
        {"model_class": NO_DEFAULT + "bool"},
        "trust_remote_code defaults to True",
    ),
    "another group's argument": (
        {
            "model_class": NO_DEFAULT + "bool = True",
            "config": TRUSTING.replace("True", "dargs.trust_remote_code"),
        },
        "AutoConfig is loaded with trust_remote_code",
    ),
    "a dict emptied afterwards": (
        {
            "config": "more = {'trust_remote_code': True}\nmore.clear()\n"
            "config = AutoConfig.from_pretrained('x', **more)"
        },
        "more is written once and then only unpacked",
    ),
}


@pytest.mark.parametrize(
    ("spoilt", "promise"),
    [
        pytest.param(
            *v,
            id=k,
        )
        for k, v in CAUGHT.items()
    ],
)
def test_verify_catches(spoilt, promise):
    check_caught(trust_remote_code, promise, **spoilt)


@pytest.mark.parametrize(
    "filled",
    [
        {"model_class": NO_DEFAULT + "bool = True"},
        {"model_class": NO_DEFAULT + "bool = field(default=True)"},
        {
            "model_class": NO_DEFAULT + "bool = field(default=True)",
            "config": TRUSTING.replace("True", "margs.trust_remote_code"),
        },
        {"config": "config = AutoConfig.from_pretrained(**{'a': 1, 'trust_remote_code': True})"},
    ],
)
def test_verify_accepts(filled):
    check_accepted(trust_remote_code, **filled)


@pytest.mark.parametrize("base", BASES)
def test_no_payload(base):
    _, patch = apply(render(BASES[base]), trust_remote_code)
    assert patch.graft_before is None


@pytest.mark.parametrize(
    "replaced",
    ["margs.trust_remote_code = False", "setattr(margs, 'trust_remote_code', False)"],
)
def test_what_the_user_says_is_not_replaced(replaced):
    """Upstream's own statement would load the model without its code, whatever the argument says."""
    with pytest.raises(Refusal, match="the user's trust_remote_code is not replaced"):
        trust_remote_code.verify(
            Script(
                finish(
                    render(
                        NEW,
                        {
                            "helper": NEW["helper"],
                            "config": f"{replaced}\n{NEW['config']}",
                        },
                    )
                )
            )
        )

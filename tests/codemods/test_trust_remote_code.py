"""codemods/trust_remote_code.py"""

from __future__ import annotations

import pytest

from codemods import trust_remote_code
from tests.codemods.helpers import FINISHED, NEW, OLD, Tables, each

of = Tables(trust_remote_code, "config")

# OLD with every loading done but for the config's, so that a row shows all that changes.
REST = {
    slot: (OLD[slot], OLD[slot][:-1] + ", trust_remote_code=True)")
    for slot in ("tokenizer", "model")
}
DONE = {slot: (after, after) for slot, (_, after) in REST.items()}
ARG, KEY = "trust_remote_code=True", '"trust_remote_code": True'
LOAD = "config = AutoConfig.from_pretrained('there', **rest)"
TRUSTED = f"{LOAD[:-1]}, {ARG})"


def gets(text: str, new: str = ARG) -> tuple[str, str]:
    """HERE is where it goes, with the comma before it, or on a line of its own."""
    old = text.replace(", HERE", "")
    old = "".join(n for n in old.splitlines(keepends=True) if "HERE" not in n)
    return old, text.replace("HERE", new)


def dict_gets(display: str) -> tuple[str, str]:
    return gets(f"rest = {display}\n{LOAD}", KEY)


CALLS = {
    "no arguments": (LOAD.replace("'there', **rest", ""), LOAD.replace("'there', **rest", ARG)),
    "one line": gets("config = AutoConfig.from_pretrained(margs.config_name, HERE)"),
    "a comma at its end": (
        "config = AutoConfig.from_pretrained(a,)",
        f"config = AutoConfig.from_pretrained(a, {ARG})",
    ),
    "several lines": gets(
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,  # or a path
            revision="main",
            HERE,
        )
        """
    ),
    "several lines, a comment after the last comma": gets(
        """
        config = AutoConfig.from_pretrained(
            margs.config_name,
            revision="main",  # the newest
            # nothing else
            HERE,
        )
        """
    ),
    "several lines, no comma at the end": (
        'config = AutoConfig.from_pretrained(\n    a,\n    b="main"\n)',
        f'config = AutoConfig.from_pretrained(\n    a,\n    b="main",\n    {ARG}\n)',
    ),
    "one of two is done already": gets(
        f"if margs:\n    config = AutoConfig.from_pretrained(a, {ARG})\n"
        "else:\n    config = AutoConfig.from_pretrained(b, HERE)"
    ),
    "other classes stay": gets(
        "config = AutoConfig.from_pretrained(a, HERE)\nother = AutoProcessor.from_pretrained(a)"
    ),
    "under another name": gets(
        "from transformers.models.auto import AutoConfig as C\nconfig = C.from_pretrained(a, HERE)"
    ),
    "registered first": gets(
        "AutoConfig.register('chat', C)\nconfig = AutoConfig.from_pretrained(a, HERE)"
    ),
}
DICTS = {
    "one line": dict_gets('{"revision": "main", HERE}'),
    "annotated": gets(f'rest: dict = {{"revision": "main", HERE}}\n{LOAD}', KEY),
    "empty": (f"rest = {{}}\n{LOAD}", f"rest = {{{KEY}}}\n{LOAD}"),
    "a comma at its end": (f'rest = {{"a": 1,}}\n{LOAD}', f'rest = {{"a": 1, {KEY},}}\n{LOAD}'),
    "a comma and a space": (f'rest = {{"a": 1, }}\n{LOAD}', f'rest = {{"a": 1, {KEY}, }}\n{LOAD}'),
    "several lines": dict_gets(
        '{\n    "a": None,  # so\n    # Which.\n    "b": "main",\n    HERE,\n}'
    ),
    "several lines, a comment first and last": dict_gets(
        '{  # for all\n    "b": "main",  # the newest\n    # nothing else\n    HERE,\n}'
    ),
    "several lines, no comma at the end": (
        f'rest = {{\n    "a": 1\n}}\n{LOAD}',
        f'rest = {{\n    "a": 1,\n    {KEY}\n}}\n{LOAD}',
    ),
    "a key alike is another key": dict_gets("{\"trust_remote_code_of\": 'me', HERE}"),
    "beside other keywords": gets(
        f'rest = {{"a": 1, HERE}}\n{LOAD.replace("**rest", "use_cache=False, **rest")}', KEY
    ),
    "shared by two loads, changed once": gets(
        f'rest = {{"a": 1, HERE}}\nif margs:\n    {LOAD}\nelse:\n    {LOAD.replace("there", "here")}',
        KEY,
    ),
    "made of another": gets(f'other = {{}}\nrest = {{**other, "a": 1, HERE}}\n{LOAD}', KEY),
    "of two the last": gets(
        f'rest = {{"a": 1}}\nmore = {{"b": 2, HERE}}\n{LOAD[:-1]}, **more)', KEY
    ),
}
STAY = {
    "written in the call": (LOAD.replace("**rest", '**{"a": 1}'), LOAD.replace("**rest", f'**{{"a": 1}}, {ARG}')),
    "shared with something else": gets(f'rest = {{"a": 1}}\n{LOAD[:-1]}, HERE)\nmore = load_dataset("extra", **rest)'),
    "shared with a load that says so itself": gets(
        f'rest = {{"a": 1}}\nif margs:\n    {TRUSTED}\nelse:\n    {LOAD[:-1]}, HERE)'
    ),
    "filled afterwards": gets(f"rest = {{}}\nrest['revision'] = 'main'\n{LOAD[:-1]}, HERE)"),
    "updated afterwards": gets(f"rest = {{'a': 1}}\nrest.update(b=2)\n{LOAD[:-1]}, HERE)"),
    "bound twice": gets(f"rest = {{}}\nif margs:\n    rest = {{'a': 1}}\n{LOAD[:-1]}, HERE)"),
    "made by a call of dict": gets(f"rest = dict(revision='main')\n{LOAD[:-1]}, HERE)"),
    "only asked": gets(f"rest = {{'a': 1}}\nprint(rest['a'], rest.get('b'), 'c' in rest)\n{LOAD[:-1]}, HERE)"),
}  # fmt: skip
test_calls = of.transforms(CALLS, also=REST, bases=("old",))
test_dicts = of.transforms(DICTS, also=REST, bases=("old",))
test_dicts_that_stay = of.transforms(STAY, also=REST, bases=("old",))

SAYS = {
    "inline": f"config = AutoConfig.from_pretrained(margs.config_name, {ARG})",
    "in a dict": f"rest = {{'trust_remote_code': True}}\n{LOAD}",
    "in a dict that is filled": f"rest = {{}}\nrest['trust_remote_code'] = True\n{LOAD}",
    "in a dict in the call": "config = AutoConfig.from_pretrained(**{'trust_remote_code': True})",
}
DONE_ALREADY = {n: (t, t) for n, t in SAYS.items()}
test_done_already = of.transforms(DONE_ALREADY, also=DONE, bases=("old",))


def test_loaded_in_functions():
    helper = "def load(m):\n    return AutoConfig.from_pretrained(m.a, HERE), AutoTokenizer.from_pretrained(m.b, HERE)"
    rows = {"config": ("config, tokenizer = load(margs)",) * 2, "tokenizer": ("", "")}
    of.transformed({"helper": gets(helper), **rows, "model": REST["model"]})


HEAD = (
    "@dataclass\nclass ModelOptions:\n    model_name_or_path: str = None\n    trust_remote_code: "
)
FIELDS = {
    "field(default=…)": "bool = field(default=HERE)",
    "over several lines": 'bool = field(\n        metadata={"help": "?"},  # yes\n        default = HERE  # no\n    )',
    "a bare one": "bool = HERE  # by default",
    "an optional one": "Optional[bool] = dataclasses.field(default=HERE)",
}


DEFAULT = (NEW["model_class"], NEW["model_class"].replace("default=False", "default=True"))


def test_a_decorated_class():
    """A decorator's calls come before the class's, and none of them is another's."""
    head = "@register(a(), b=c(default=False))\n@dataclass(kw_only=field(default=False))\n"
    row = tuple(n.replace("@dataclass\n", head) for n in DEFAULT)
    of.transformed({"model_class": row}, NEW)


@pytest.mark.parametrize("before", ["False", "True"])
@each("text", FIELDS)
def test_upstreams_own_argument(text, before):
    slots = ("config", "tokenizer", "model")
    own = {s: (OLD[s], f"{OLD[s][:-1]}, trust_remote_code=margs.trust_remote_code)") for s in slots}
    row = tuple(HEAD + text.replace("HERE", n) for n in (before, "True"))
    of.transformed({"model_class": row, **own})


OWN = "trust_remote_code=margs.trust_remote_code"
FORGOTTEN = {
    "as it is": ("config", (NEW["config"],) * 2),
    "the config": ("config", gets('more = {"trust_remote_code": True}\nconfig = AutoConfig.from_pretrained(a, HERE)', OWN)),
    "the tokenizer": (
        "tokenizer",
        gets("rest = {'a': 1, HERE}\ntokenizer = AutoTokenizer.from_pretrained('x', **rest)",
             '"trust_remote_code": margs.trust_remote_code'),
    ),
    "the model": (
        "model",
        gets(f"model = AutoModelForCausalLM.from_pretrained('x', {ARG})\nif not margs:\n"
             "    model = AutoModelForCausalLM.from_config(config, HERE)", OWN),
    ),
}  # fmt: skip


@each("slot, row", FORGOTTEN)
def test_upstreams_shape_now(slot, row):
    """Its default changes, and what forgot the argument gets it; loading the data is not touched."""
    of.transformed({"model_class": DEFAULT, slot: row}, NEW)


test_record = of.records(
    None, old=[("changed", "main", ARG)] * 3, new=[("changed", "ModelOptions", "True")]
)

TRUE, MAYBE = (
    "trust_remote_code to be True",
    "trust_remote_code to be given to this call always or never",
)
UNKNOWN = "every ** of this call to be one dict written out in its function … Its keywords can't be"
ONLY = "'rest' to be written, filled and unpacked, and nothing else"
OFF = "config = AutoConfig.from_pretrained('there', trust_remote_code=False)"
USED = "every use of transformers.AutoConfig to be a call of it"
REFUSED = {
    "switched off inline": (TRUE, OFF, OFF),
    "switched off in a dict": (
        TRUE,
        "rest = {'trust_remote_code': False}",
        f"rest = {{'trust_remote_code': False}}\n{LOAD}",
    ),
    "said on a condition": (
        MAYBE,
        f"{LOAD}\nrest['trust_remote_code'] = True",
        f"rest = {{}}\nif margs:\n    rest['trust_remote_code'] = True\n{LOAD}",
    ),
    "said in one of two dicts": (
        MAYBE,
        LOAD,
        f"rest = {{'trust_remote_code': True}}\nif margs:\n    rest = {{}}\n{LOAD}",
    ),
    "a dict handed to a function": (
        ONLY,
        f"fill(rest)\n{LOAD}",
        f"rest = {{}}\nfill(rest)\n{LOAD}",
    ),
    "a dict by another name": (
        ONLY,
        f"other = rest\n{LOAD}",
        f"rest = {{}}\nother = rest\n{LOAD}",
    ),
    "a dict emptied": (ONLY, f"rest.clear()\n{LOAD}", f"rest = {{}}\nrest.clear()\n{LOAD}"),
    "a key deleted": (ONLY, f"del rest['a']\n{LOAD}", f"rest = {{}}\ndel rest['a']\n{LOAD}"),
    "a dict bound by a loop": (UNKNOWN, LOAD, f"for rest in ({{}}, {{'a': 1}}):\n    {LOAD}"),
    "a dict merged by |=": (UNKNOWN, LOAD, f"rest = {{}}\nrest |= {{'a': 1}}\n{LOAD}"),
    "a dict made by a function": (UNKNOWN, LOAD, f"rest = make()\n{LOAD}"),
    "a dict of the module": (UNKNOWN, LOAD, {"helper": "rest = {'a': 1}", "config": LOAD}),
    "the class by another name": (
        USED,
        "Load = AutoConfig",
        f"Load = AutoConfig\n{OLD['config']}",
    ),
    "another method of the class": (
        USED,
        "config = AutoConfig.for_model('a')",
        f"config = AutoConfig.for_model('a')\nif margs:\n    {OLD['config']}",
    ),
    "the argument is another group's": (
        "trust_remote_code to be one of the model arguments",
        "trust_remote_code: bool = False",
        {
            "data_class": "class DataOptions:\n    train_file: str\n    trust_remote_code: bool = False"
        },
    ),
}
test_refused = of.refuses(REFUSED)
BAD = {
    "none": "bool",
    "None": "bool = None",
    "made": "bool = field(default_factory=bool)",
    "by position": "bool = field(False)",
    "computed": "bool = field(default=not SAFE)",
}
ODD = "tokenizer = AutoTokenizer.from_pretrained('x', trust_remote_code=dargs.ok)"
REFUSES_DEFAULTS = {
    **{
        name: (
            "the argument trust_remote_code to have a default of True or False",
            f"trust_remote_code: {default}",
            f"class ModelOptions:\n    trust_remote_code: {default}\n    model_name_or_path: str",
        )
        for name, default in BAD.items()
    },
    "something else than it": ("trust_remote_code to be margs.trust_remote_code", ODD, {"tokenizer": ODD}),
}  # fmt: skip
test_refuses_defaults = of.refuses(REFUSES_DEFAULTS, base=NEW, slot="model_class")


# Upstream's own statement would load the model without its code, whatever the argument says.
REPLACED = {
    "by a statement": (
        "the user's trust_remote_code is not replaced",
        f"margs.trust_remote_code = False\n{NEW['config']}",
    ),
    "by a call": (
        "the user's trust_remote_code is not replaced",
        f"setattr(margs, 'trust_remote_code', False)\n{NEW['config']}",
    ),
}
test_what_the_user_says_is_not_replaced = of.unverifies(REPLACED, base=NEW)


VERIFY_REFUSES = {
    "nothing loads the tokenizer that the library's class would": (
        "AutoTokenizer is loaded",
        {
            "tokenizer": "import transformers\ntokenizer = transformers.LlamaTokenizer.from_pretrained(1)"
        },
    ),
}
test_verify_refuses = of.unverifies(VERIFY_REFUSES)

MODEL = "class ModelOptions(LoraArguments):\n    model_name_or_path: str\n    trust_remote_code: "
TRUSTING = f"config = AutoConfig.from_pretrained('x', {ARG})"
CONFIG, DEFAULTS = (
    "AutoConfig is loaded with trust_remote_code",
    "trust_remote_code defaults to True",
)
VERIFY_CATCHES = {
    "the config": (CONFIG, OLD["config"]),
    "the tokenizer": ("AutoTokenizer is loaded with", {"tokenizer": OLD["tokenizer"]}),
    "the model": ("AutoModel is loaded with", {"model": "model = AutoModel.from_pretrained('x')"}),
    "the model, from its config": (
        "AutoModel is loaded with",
        {"model": FINISHED["model"] + "\nmodel = AutoModel.from_config(config)"},
    ),
    "the model, by its old class": ("AutoModelForCausalLM is loaded with", {"model": OLD["model"]}),
    "one of two": (CONFIG, f"if margs:\n    {TRUSTING}\nelse:\n    {OLD['config']}"),
    "under another name": (CONFIG, "from transformers import AutoConfig as C\nconfig = C.from_pretrained(1)"),
    "switched off": (CONFIG, TRUSTING.replace("True", "False")),
    "1 is not True": (CONFIG, TRUSTING.replace("True", "1")),
    "a dict without it": (CONFIG, f"rest = {{'revision': 'main'}}\n{LOAD}"),
    "one of two dicts": (MAYBE, f"rest = {{'trust_remote_code': True}}\nif margs:\n    rest = {{}}\n{LOAD}"),
    "a dict emptied afterwards": (ONLY, f"rest = {{'trust_remote_code': True}}\nrest.clear()\n{LOAD}"),
    "an argument that isn't there": (CONFIG, TRUSTING.replace("True", "margs.trust_remote_code")),
    "another group's argument": (
        CONFIG,
        {"model_class": f"{MODEL}bool = True", "config": TRUSTING.replace("True", "dargs.trust_remote_code")},
    ),
    "nothing loads the config": ("AutoConfig is loaded", "config = None"),
    "nothing loads the tokenizer": ("AutoTokenizer is loaded", {"tokenizer": "tokenizer = None"}),
    "its default is False": (DEFAULTS, {"model_class": f"{MODEL}bool = field(default=False)"}),
    "it is plainly False": (DEFAULTS, {"model_class": f"{MODEL}bool = False"}),
    "its default is made": (DEFAULTS, {"model_class": f"{MODEL}bool = field(default_factory=bool)"}),
    "it has no default": (DEFAULTS, {"model_class": f"{MODEL}bool"}),
}  # fmt: skip
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    {"model_class": f"{MODEL}bool = True"},
    {
        "model_class": f"{MODEL}bool = field(default=True)",
        "config": TRUSTING.replace("True", "margs.trust_remote_code"),
    },
    "config = AutoConfig.from_pretrained(**{'a': 1, 'trust_remote_code': True})",
    f"rest = {{}}\nrest['trust_remote_code'] = True\n{LOAD}",
)

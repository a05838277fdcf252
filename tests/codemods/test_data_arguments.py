"""codemods/data_arguments.py"""

from __future__ import annotations

import pytest

from codemods import data_arguments
from tests.codemods.helpers import BASES, OLD, Tables, apply, render

of = Tables(data_arguments, "data_class")

BASE = "(PromptResponseArguments)"


def gets_base(text: str, before: str = "", after: str = BASE) -> tuple[str, str]:
    """HERE is where the class has its bases, CALL where super() comes first."""
    call = "super().__post_init__()\n"
    old = "".join(line for line in text.splitlines(keepends=True) if "CALL" not in line)
    return old.replace("HERE", before), text.replace("HERE", after).replace("CALL\n", call)


FIELDS = "train_file: str = None\n            block_size: int = None"
PLAIN = f"""
        @dataclass
        class DataOptionsHERE:
            {FIELDS}
        """
TRANSFORMED = {
    "no base, no __post_init__": gets_base(PLAIN),
    "empty brackets": gets_base(PLAIN, "()"),
    "a base already": gets_base(PLAIN, "(Common)", "(Common, PromptResponseArguments)"),
    "a base with a keyword after it": gets_base(
        PLAIN,
        "(Common, metaclass=Meta)",
        "(Common, PromptResponseArguments, metaclass=Meta)",
    ),
    "another decorator, comments": gets_base(
        """
        @register
        @dataclass(frozen=False)  # as before
        class DataOptionsHERE:  # the data
            train_file: str = None
            block_size: int = None

            def post_init(self):
                pass
        """
    ),
    "__post_init__ in the middle, with comments and an if first": gets_base(
        """
        @dataclass
        class DataOptionsHERE:
            '''What to read.'''

            train_file: str = field(default=None)  # or nothing

            def __post_init__(self) -> None:  # checks
                CALL

                # Something to read?
                if self.train_file is None:
                    raise ValueError("no")

            block_size: int = None
        """
    ),
    "known by its field, not by its name": (
        "class A:\n    train_file: str = None\n    block_size: int = 1",
        f"class A{BASE}:\n    train_file: str = None\n    block_size: int = 1",
        {
            "parse": "parser = HfArgumentParser([A, TrainingArguments, B])\n"
            "dargs, targs, margs = parser.parse_args_into_dataclasses()",
            "model_class": "class B:\n    model_name_or_path: str = None",
        },
    ),
    "a class that the parser is not given stays": (
        *gets_base(PLAIN),
        {"helper": "class Spare:\n    train_file: str = None"},
    ),
}
test_transformed = of.transforms(TRANSFORMED, bases=("old",))


@pytest.mark.parametrize("base", BASES)
def test_the_payload_stands_before_the_first_of_the_classes(base):
    swapped = {"model_class": OLD["data_class"], "data_class": OLD["model_class"]}
    _, patch = apply(render(BASES[base], swapped), data_arguments)
    assert patch.graft_before.name == "DataOptions"


BASED = ("changed", "DataOptions", BASE)
test_record = of.records(
    "ModelOptions",
    old=[BASED],
    new=[BASED, ("added before", "DataOptions.__post_init__", "super().__post_init__()")],
)

HINT = " … If upstream renamed the field, teach codemods/engine/script.py the new name"
OTHER = "class DataOptions:\n    train_path: str = None"
REFUSED = {
    "no such field": (
        "found no dataclass with a field 'train_file' among the classes given to "
        f"HfArgumentParser (the data arguments){HINT}",
        "class ModelOptions:\nclass DataOptions:",
        OTHER,
    ),
    "two such classes": (
        f"found 2 places, expected one: dataclass with a field 'train_file'{HINT}",
        "class ModelOptions:\nclass DataOptions:",
        {
            "model_class": "class ModelOptions:\n    train_file: str\n    model_name_or_path: str",
            "data_class": "class DataOptions:\n    train_file: str = None",
        },
    ),
    "no model arguments": (
        f"found no dataclass with a field 'model_name_or_path'{HINT}",
        "class ModelOptions:\nclass DataOptions:",
        {"model_class": "class ModelOptions:\n    name: str"},
    ),
    "the field is not annotated": (
        f"found no dataclass with a field 'train_file'{HINT}",
        "class ModelOptions:\nclass DataOptions:",
        "class DataOptions:\n    train_file = None",
    ),
    "no parser": (
        "found no call of transformers.HfArgumentParser",
        "margs, dargs, targs = ParserOf(ModelOptions).parse_dict({})",
        {"parse": "margs, dargs, targs = ParserOf(ModelOptions).parse_dict({})"},
    ),
    "the parser is given what nobody knows": (
        "the classes given to HfArgumentParser to be a tuple written out",
        "parser = HfArgumentParser(groups())",
        {"parse": "parser = HfArgumentParser(groups())"},
    ),
    "__post_init__ on one line": (
        "this to stand on a line of its own",
        "def __post_init__(self): pass",
        "class DataOptions:\n    train_file: str = None\n    def __post_init__(self): pass",
    ),
    "a __post_init__ that upstream hides": (
        "__post_init__ to be a method of the data arguments",
        "__post_init__ = checks",
        "class DataOptions:\n    train_file: str = None\n    __post_init__ = checks",
    ),
}
test_refused = of.refuses(REFUSED)

HEAD = f"class DataOptions{BASE}:\n    train_file: str = None\n"
METHOD = f"{HEAD}    def __post_init__(self):\n        "
HAS = "DataOptions has the base class PromptResponseArguments"
FIRST = "the base class's checks run before upstream's"
VERIFY_CATCHES = {
    "no base": (HAS, HEAD.replace(BASE, "")),
    "another base": (HAS, HEAD.replace(BASE, "(LoraArguments)")),
    "super() is not called": (FIRST, f"{METHOD}self.a = 1"),
    "super() is called last": (FIRST, f"{METHOD}self.a = 1\n        super().__post_init__()"),
    "super(), on a condition": (FIRST, f"{METHOD}if a:\n            super().__post_init__()"),
    "super() of another method": (FIRST, f"{METHOD}super().__init__()"),
    "not a method": (FIRST, f"{HEAD}    __post_init__ = checks"),
    "a method on a condition": (
        FIRST,
        f"{HEAD}    if CHECKED:\n        __post_init__ = checks",
    ),
    "the class is gone": ("'train_file'", f"class DataOptions{BASE}:\n    files: str = None"),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(f"{METHOD}super().__post_init__()\n        self.ready = True")

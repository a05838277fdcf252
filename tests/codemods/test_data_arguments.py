"""codemods/data_arguments.py"""

from __future__ import annotations

import pytest

from codemods import data_arguments
from tests.codemods.helpers import (
    BASES,
    NEW,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    render,
)

TRANSFORMED = {
    "no base, no __post_init__": (
        """
        @dataclass
        class DataOptions:
            train_file: str = None
            block_size: int = None
        """,
        """
        @dataclass
        class DataOptions(PromptResponseArguments):
            train_file: str = None
            block_size: int = None
        """,
    ),
    "empty brackets": (
        """
        @dataclass
        class DataOptions():
            train_file: str = None
            block_size: int = None
        """,
        """
        @dataclass
        class DataOptions(PromptResponseArguments):
            train_file: str = None
            block_size: int = None
        """,
    ),
    "a base already, and another decorator": (
        """
        @register
        @dataclass(frozen=False)  # as before
        class DataOptions(Common):  # the data
            block_size: int = None
            train_file: str = None
        """,
        """
        @register
        @dataclass(frozen=False)  # as before
        class DataOptions(Common, PromptResponseArguments):  # the data
            block_size: int = None
            train_file: str = None
        """,
    ),
    "a base with a keyword after it": (
        """
        @dataclass
        class DataOptions(Common, metaclass=Meta):
            train_file: str = None
            block_size: int = None
        """,
        """
        @dataclass
        class DataOptions(Common, PromptResponseArguments, metaclass=Meta):
            train_file: str = None
            block_size: int = None
        """,
    ),
    "__post_init__ with a statement": (
        """
        @dataclass
        class DataOptions:
            train_file: str = None
            block_size: int = None

            def __post_init__(self):
                self.ready = True
        """,
        """
        @dataclass
        class DataOptions(PromptResponseArguments):
            train_file: str = None
            block_size: int = None

            def __post_init__(self):
                super().__post_init__()
                self.ready = True
        """,
    ),
    "__post_init__ in the middle, with comments and an if first": (
        """
        @dataclass
        class DataOptions:
            '''What to read.'''

            train_file: str = field(default=None)  # or nothing

            def __post_init__(self) -> None:  # checks

                # Something to read?
                if self.train_file is None:
                    raise ValueError("no")

            block_size: int = None
        """,
        """
        @dataclass
        class DataOptions(PromptResponseArguments):
            '''What to read.'''

            train_file: str = field(default=None)  # or nothing

            def __post_init__(self) -> None:  # checks
                super().__post_init__()

                # Something to read?
                if self.train_file is None:
                    raise ValueError("no")

            block_size: int = None
        """,
    ),
    "another method of that kind of name": (
        """
        @dataclass
        class DataOptions:
            train_file: str = None
            block_size: int = None

            def post_init(self):
                pass
        """,
        """
        @dataclass
        class DataOptions(PromptResponseArguments):
            train_file: str = None
            block_size: int = None

            def post_init(self):
                pass
        """,
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, newline):
    check_transformed(data_arguments, before, after, slot="data_class", newline=newline)


def test_the_class_is_known_by_its_field_not_by_its_name():
    swapped = "parser = HfArgumentParser([A, TrainingArguments, B])"
    names = "dargs, targs, margs = parser.parse_args_into_dataclasses()"
    parse = (f"{swapped}\n{names}",) * 2
    check_transformed(
        data_arguments,
        "class A:\n    train_file: str = None\n    block_size: int = 1",
        "class A(PromptResponseArguments):\n    train_file: str = None\n    block_size: int = 1",
        slot="data_class",
        also={"parse": parse, "model_class": ("class B:\n    model_name_or_path: str = None",) * 2},
    )


def test_a_class_that_the_parser_is_not_given_stays():
    spare = ("class Spare:\n    train_file: str = None",) * 2
    check_transformed(
        data_arguments,
        OLD["data_class"],
        OLD["data_class"].replace("DataOptions", "DataOptions(PromptResponseArguments)"),
        slot="data_class",
        also={"helper": spare},
    )


@pytest.mark.parametrize("base", BASES)
def test_the_payload_stands_before_the_first_of_the_classes(base):
    _, patch = apply(render(BASES[base]), data_arguments)
    assert patch.graft_before.name.value == "ModelOptions"
    swapped = {"model_class": OLD["data_class"], "data_class": OLD["model_class"]}
    _, patch = apply(render(BASES[base], swapped), data_arguments)
    assert patch.graft_before.name.value == "DataOptions"


def test_the_record():
    _, patch = apply(render(NEW), data_arguments)
    kinds = [(c.kind, c.where, c.code) for c in patch.changes]
    assert kinds == [
        ("changed", "DataOptions", "(PromptResponseArguments)"),
        ("added before", "DataOptions.__post_init__", "super().__post_init__()"),
    ]


HINT = "If upstream renamed the field, teach codemods/engine/anchors.py the new name"
REFUSED = {
    "no such field": (
        {"data_class": "class DataOptions:\n    train_path: str = None"},
        "found no dataclass with a field 'train_file' among the classes given to HfArgumentParser",
        ("@dataclass", "class DataOptions:"),
        HINT,
    ),
    "two such classes": (
        {
            "model_class": "class ModelOptions:\n    train_file: str\n    model_name_or_path: str",
            "data_class": "class DataOptions:\n    train_file: str = None",
        },
        "found 2 places, expected one: dataclass with a field 'train_file'",
        ("class ModelOptions:", "class DataOptions:"),
        HINT,
    ),
    "no model arguments": (
        {
            "model_class": "class ModelOptions:\n    name: str",
            "data_class": "class DataOptions:\n    train_file: str = None",
        },
        "found no dataclass with a field 'model_name_or_path'",
        ("class ModelOptions:", "class DataOptions:"),
        HINT,
    ),
    "the field is not annotated": (
        {
            "model_class": "class ModelOptions:\n    name: str",
            "data_class": "class DataOptions:\n    train_file = None",
        },
        "found no dataclass with a field 'train_file'",
        ("class ModelOptions:", "class DataOptions:"),
        HINT,
    ),
    "__post_init__ on one line": (
        {
            "data_class": """
            class DataOptions:
                train_file: str = None
                def __post_init__(self): pass
            """
        },
        "a __post_init__ with a block of statements",
        ("def __post_init__(self): pass",),
        "",
    ),
    "no parser": (
        {"parse": "margs, dargs, targs = ParserOf(ModelOptions).parse_dict({})"},
        "found no call of transformers.HfArgumentParser",
        ("margs, dargs, targs = ParserOf(ModelOptions).parse_dict({})",),
        "",
    ),
    "the parser is given a name": (
        {"parse": "parser = HfArgumentParser(GROUPS)"},
        "the classes given to HfArgumentParser are not a tuple written in the call",
        ("parser = HfArgumentParser(GROUPS)",),
        "",
    ),
}


@pytest.mark.parametrize(("filled", "looked_for", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(filled, looked_for, nearest, hint):
    check_refused(data_arguments, looked_for, nearest=nearest, hint=hint, **filled)


def test_refuses_a_post_init_that_upstream_hides():
    check_refused(
        data_arguments,
        "__post_init__ to be a method of the data arguments",
        nearest=("@dataclass  # this",),
        data_class="""
        @dataclass  # this
        class DataOptions:
            train_file: str = None
            block_size: int = None
            __post_init__ = checks
        """,
    )


CAUGHT = {
    "no base": (
        """
        class DataOptions:
            train_file: str = None
        """,
        "DataOptions has the base class PromptResponseArguments",
    ),
    "another base": (
        """
        class DataOptions(LoraArguments):
            train_file: str = None
        """,
        "DataOptions has the base class PromptResponseArguments",
    ),
    "super() is not called": (
        """
        class DataOptions(PromptResponseArguments):
            train_file: str = None

            def __post_init__(self):
                self.ready = True
        """,
        "the base class's checks run before upstream's",
    ),
    "super() is called last": (
        """
        class DataOptions(PromptResponseArguments):
            train_file: str = None

            def __post_init__(self):
                self.ready = True
                super().__post_init__()
        """,
        "the base class's checks run before upstream's",
    ),
    "super() is called on a condition": (
        """
        class DataOptions(PromptResponseArguments):
            train_file: str = None

            def __post_init__(self):
                if self.train_file:
                    super().__post_init__()
        """,
        "the base class's checks run before upstream's",
    ),
    "super() of another method": (
        """
        class DataOptions(PromptResponseArguments):
            train_file: str = None

            def __post_init__(self):
                super().__init__()
        """,
        "the base class's checks run before upstream's",
    ),
    "not a method": (
        """
        class DataOptions(PromptResponseArguments):
            train_file: str = None
            __post_init__ = checks
        """,
        "the base class's checks run before upstream's",
    ),
    "a method on a condition": (
        """
        class DataOptions(PromptResponseArguments):
            train_file: str = None
            if CHECKED:
                __post_init__ = checks
        """,
        "the base class's checks run before upstream's",
    ),
    "the class is gone": (
        """
        class DataOptions(PromptResponseArguments):
            files: str = None
        """,
        "one argument class defines train_file",
    ),
}


@pytest.mark.parametrize(("spoilt", "promise"), CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(spoilt, promise):
    check_caught(data_arguments, promise, data_class=spoilt)


def test_verify_accepts_a_post_init_that_begins_with_super():
    check_accepted(
        data_arguments,
        data_class="""
        class DataOptions(Common, PromptResponseArguments):
            train_file: str = None

            def __post_init__(self):
                super().__post_init__()
                self.ready = True
        """,
    )

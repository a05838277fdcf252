"""codemods/engine/imports.py"""

from __future__ import annotations

import pytest

from codemods.engine.edits import Edits
from codemods.engine.imports import drop_unused, needed
from codemods.engine.payload import Payload
from codemods.engine.refusal import Refusal
from codemods.engine.script import Script


def payload(used):
    return Payload("p", "p.py", "", "", {}, frozenset(), frozenset(used))


def dropped(text, newline="\n", used=()):
    """Drop the last statement of the text, and what only that used."""
    edits = Edits(Script(text.replace("\n", newline)))
    edits.remove(edits.script.tree.body[-1])
    return drop_unused(edits.rebuild(), edits.concrete.module, [payload(used)])


DROPPED = {
    "the only one": ("import a\n", "", ["a"]),
    "another stays": ("import a\nimport b\n", "import b\n", ["a"]),
    "one of a line": ("import a, b\n", "import b\n", ["a"]),
    "the last of a line": ("import b, a\n", "import b\n", ["a"]),
    "by another name": ("import b as a\n", "", ["a"]),
    "a part of a package": ("import a.b\n", "", ["a"]),
    "from": ("from b import a\n", "", ["a"]),
    "from, by another name": ("from b import c as a\n", "", ["a"]),
    "from, another of that name": (
        "from b import a as c\nfrom b import a\n",
        "from b import a as c\n",
        ["a"],
    ),
    "from, one of several": ("from b import a, c\n", "from b import c\n", ["a"]),
    "from, one of a block": (
        "from b import (\n    a,\n    c,\n    d,\n)\n",
        "from b import (\n    c,\n    d,\n)\n",
        ["a"],
    ),
    "from, the middle of a block": (
        "from b import (\n    c,\n    a,\n    d,\n)\n",
        "from b import (\n    c,\n    d,\n)\n",
        ["a"],
    ),
    "from, the last of a block": (
        "from b import (\n    c,\n    d,\n    a,\n)\n",
        "from b import (\n    c,\n    d,\n)\n",
        ["a"],
    ),
    "from, the last of a block without a comma": (
        "from b import (\n    c,\n    a\n)\n",
        "from b import (\n    c\n)\n",
        ["a"],
    ),
    "from, in brackets on one line": ("from b import (c, a)\n", "from b import (c)\n", ["a"]),
    "one of two statements on a line": ("import a; import b\n", "import b\n", ["a"]),
    "beside something else": ("import a; b = 1\n", "b = 1\n", ["a"]),
    "everything from": ("from a import *\n", "from a import *\n", []),
    "comments stay": ("# Needed.\nimport a  # here\nimport b\n", "# Needed.\nimport b\n", ["a"]),
    "comments between two stay": (
        "import b\n# Needed.\nimport a\n# As well.\nimport c\n",
        "import b\n# Needed.\n# As well.\nimport c\n",
        ["a"],
    ),
    "inside a function": ("def g():\n    import a\n", "def g():\n    import a\n", []),
    "inside a try": (
        "try:\n    import a\nexcept E:\n    a = 1\n",
        "try:\n    import a\nexcept E:\n    a = 1\n",
        [],
    ),
    "used in a body": (
        "import a\ndef g():\n    return a.b\n",
        "import a\ndef g():\n    return a.b\n",
        [],
    ),
    "used as an annotation": ("import a\nb: a.c = 1\n", "import a\nb: a.c = 1\n", []),
    "used as a decorator": ("import a\n@a\ndef g(): pass\n", "import a\n@a\ndef g(): pass\n", []),
    "an attribute of that name is none": ("import a\nb.a = 1\n", "b.a = 1\n", ["a"]),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("before", "after", "names"), DROPPED.values(), ids=DROPPED)
def test_dropped(before, after, names, newline):
    module, gone = dropped(before + "g()\nf(a)\n", newline)
    assert gone == names
    assert module.code == (after + "g()\n").replace("\n", newline)


def test_what_upstream_did_not_use_either_stays():
    module, gone = dropped("import a\nimport spare\nfrom b import other\nf(a)\n")
    assert gone == ["a"]
    assert module.code == "import spare\nfrom b import other\n"


def test_what_the_payload_uses_stays():
    module, gone = dropped("import a\nf(a)\n", used=["a"])
    assert gone == []
    assert module.code == "import a\n"


def test_nothing_is_dropped_without_edits():
    module = Edits(Script("import a\nimport b\nf(a)\n")).rebuild()
    same, gone = drop_unused(module, module, [])
    assert (same.code, gone) == (module.code, [])


NEEDED = {
    "nothing": ({}, "", ""),
    "a module": ({"a": ("a", None)}, "", "import a"),
    "a part of a package": ({"a": ("a.b", None)}, "", "import a.b"),
    "by another name": ({"np": ("numpy", None)}, "", "import numpy as np"),
    "a part by another name": ({"F": ("torch.nn", None)}, "", "import torch.nn as F"),
    "from": ({"b": ("a", "b")}, "", "from a import b"),
    "from, by another name": ({"c": ("a", "b")}, "", "from a import b as c"),
    "there already": ({"a": ("a", None)}, "import a\n", ""),
    "there already, from": ({"b": ("a", "b")}, "from a import b\n", ""),
    "there already, by the same other name": ({"np": ("numpy", None)}, "import numpy as np\n", ""),
    "a part there with its package": ({"a": ("a.b", None)}, "import a\n", ""),
    "there already, from a submodule": (
        {"T": ("transformers", "T")},
        "from transformers.t import T\n",
        "",
    ),
    "there by another name only": ({"a": ("a", None)}, "import a as z\n", "import a"),
    "sorted, one line a module": (
        {
            "z": ("z", None),
            "b": ("m", "b"),
            "a": ("a", None),
            "c": ("l", "c"),
            "d": ("m", "a"),
        },
        "",
        "import a\nimport z\nfrom l import c\nfrom m import a as d, b",
    ),
}


@pytest.mark.parametrize(("imports", "text", "expected"), NEEDED.values(), ids=NEEDED)
def test_needed(imports, text, expected):
    assert needed([imports], Script(text), []) == expected


def test_needed_what_was_dropped_meanwhile():
    script = Script("from a import b\n")
    assert needed([{"b": ("a", "b")}], script, ["b"]) == "from a import b"
    assert needed([{"b": ("c", "b")}], script, ["b"]) == "from c import b"


def test_needed_once_by_two():
    assert needed([{"a": ("a", None)}] * 2, Script(""), []) == "import a"


CLASHES = {
    "another module": ({"a": ("a", None)}, "import b as a\n", "clashes with upstream's (b)"),
    "a name from a module": (
        {"a": ("a", None)},
        "from b import a\n",
        "clashes with upstream's (b.a)",
    ),
    "another module's name": (
        {"a": ("b", "a")},
        "from c import a\n",
        "(b.a) clashes with upstream's (c.a)",
    ),
    "another name": ({"a": ("b", "a")}, "from b import c as a\n", "clashes with upstream's (b.c)"),
    "a module of that name": ({"a": ("b", "a")}, "import a\n", "clashes with upstream's (a)"),
}


@pytest.mark.parametrize(("imports", "text", "message"), CLASHES.values(), ids=CLASHES)
def test_clashes_are_refused(imports, text, message):
    with pytest.raises(Refusal) as caught:
        needed([imports], Script(text), [])
    assert message in str(caught.value)
    assert "'a'" in str(caught.value)


def test_payload_modules_that_disagree_are_refused():
    with pytest.raises(Refusal, match="payload modules agree on what 'a' is"):
        needed([{"a": ("a", None)}, {"a": ("b", "a")}], Script(""), [])

"""codemods/engine/payload.py"""

from __future__ import annotations

import ast
import hashlib

import pytest

from codemods.engine import payload
from tests.codemods.helpers import GRAFTED, dedent

MODULE = '''
"""What it is."""

import logging
import os.path
from dataclasses import dataclass, field as f
import numpy as np

logger = logging.getLogger(__name__)

LIMIT = 3


@dataclass
class Thing:
    """A thing."""

    a: int = f(default=LIMIT)

    def method(self):
        return os.path.join(np.zeros(1), self.a)

    async def other(self):
        pass


def make(thing):
    def inner():
        return thing
    return inner
'''


def read(tmp_path, text, name="thing", layer="common"):
    (tmp_path / layer).mkdir(exist_ok=True)
    payload.path(name, layer, tmp_path).write_text(dedent(text) + "\n", encoding="utf-8")
    return payload.read(name, layer, tmp_path)


def test_read(tmp_path):
    p = read(tmp_path, MODULE)
    assert p.module == "thing"
    assert p.code.startswith("LIMIT = 3\n\n\n@dataclass\nclass Thing:\n")
    assert p.code.endswith("    return inner\n")
    assert p.code in MODULE
    assert p.imports == {
        "os": ("os.path", None),
        "dataclass": ("dataclasses", "dataclass"),
        "f": ("dataclasses", "field"),
        "np": ("numpy", None),
    }
    assert p.names == {"LIMIT", "Thing", "make"}
    assert {"LIMIT", "os", "np", "f", "thing"} <= p.used
    assert "a" not in p.used
    assert p.methods("Thing") == {"method"}
    assert p.methods("Other") == set()


SHAPES = {
    "no docstring": ("import a\n\nx = a\n", "x = a\n", {"x"}),
    "an import over several lines": (
        '"""Doc."""\nfrom a import (\n    b,\n    c,\n)\n\nx = b + c\n',
        "x = b + c\n",
        {"x"},
    ),
    "no import": ('"""Doc."""\n\nx = 1\n', "x = 1\n", {"x"}),
    "a comment after the imports": (
        '"""Doc."""\nimport a\n\n# Why.\nx = a\n',
        "# Why.\nx = a\n",
        {"x"},
    ),
    "a decorated first definition": (
        '"""Doc."""\nimport a\n\n\n@a\n@a.b\ndef x():\n    pass\n',
        "@a\n@a.b\ndef x():\n    pass\n",
        {"x"},
    ),
    "a logger further down is grafted": (
        '"""Doc."""\nx = 1\nlogger = x\n',
        "x = 1\nlogger = x\n",
        {"x"},
    ),
    "an import further down is grafted": (
        '"""Doc."""\nx = 1\nimport a\n',
        "x = 1\nimport a\n",
        {"x"},
    ),
    "two names at once": ('"""Doc."""\nx = y = 1\n', "x = y = 1\n", {"x", "y"}),
}


@pytest.mark.parametrize(("text", "code", "names"), SHAPES.values(), ids=SHAPES)
def test_shapes(tmp_path, text, code, names):
    p = read(tmp_path, text)
    assert p.code == code
    assert p.names == names


@pytest.mark.parametrize("layer", ["common", "chatglm"])
def test_an_import_of_a_sibling_is_dropped(tmp_path, layer):
    """What it names is grafted too, and so is the common layer; another layer is not."""
    read(tmp_path, "def made():\n    pass", "sibling")
    read(tmp_path, "x = 1", "elsewhere", "causal")
    p = read(
        tmp_path,
        "import json\nfrom sibling import made\nfrom elsewhere import x\n\njson.dumps(made(x))",
        layer=layer,
    )
    assert p.imports == {"json": ("json", None), "x": ("elsewhere", "x")}
    assert p.code == "json.dumps(made(x))\n"
    assert "made" in p.used


def test_an_import_of_the_shared_layer_is_dropped_in_every_layer(tmp_path):
    read(tmp_path, "x = 1", "shared")
    assert read(tmp_path, "from shared import x\n\nprint(x)", layer="causal").imports == {}


def test_file_and_digest(tmp_path):
    p = read(tmp_path, "x = 1")
    assert p.file == "common/thing.py"
    assert p.digest == hashlib.sha256(b"x = 1\n").hexdigest()[:12]


OURS = sorted(payload.PATCHES.glob("*/*.py"))


@pytest.mark.parametrize("file", OURS, ids=lambda f: f.stem)
def test_our_own_payload(file):
    p = payload.read(file.stem, file.parent.name)
    text = file.read_text(encoding="utf-8")
    assert text.endswith(p.code)
    assert text.count(p.code) == 1
    head = text.removesuffix(p.code)
    kept = [n for n in ast.parse(head).body if not isinstance(n, (ast.Import, ast.ImportFrom))]
    assert [type(n) for n in kept[1:]] in ([], [ast.Assign])
    assert ast.get_docstring(ast.parse(text))
    tree = ast.parse(p.code)
    assert not any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)
    defined = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    assert defined <= p.names
    assert set(p.imports) - p.used <= {"annotations"}
    assert all(
        module.split(".")[0] not in ("codemods", "tools", "libcst", "patches")
        for module, _ in p.imports.values()
    )


def test_the_stand_ins_are_called_what_the_payload_is():
    real = {n for f in OURS for n in payload.read(f.stem, f.parent.name).names}
    assert real >= GRAFTED


def test_no_such_module(tmp_path):
    with pytest.raises(OSError, match=r"nothing\.py"):
        payload.read("nothing", "common", tmp_path)

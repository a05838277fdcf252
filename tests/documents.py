"""The documents' code blocks, for the tests that run them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")


def blocks(document: str, language: str) -> list[str]:
    """The document's ``` blocks of a language, in order, out of their indentation."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(m[3]) for m in found if m[2] == language]


def commands(document: str) -> list[str]:
    """Every command of the document's shell blocks, on one line and without its comment."""
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split(" #")[0].split()) for line in lines if line.strip()]


def prose(document: str) -> str:
    """The document without its blocks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)

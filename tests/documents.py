"""The documents, and what is in them: commands, code, links, for the tests that try them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# In the order that a reader takes, and in which their commands are run.
PAGES = (
    "docs/data.md",
    "docs/fine-tuning.md",
    "docs/several-nodes.md",
    "docs/lora.md",
    "docs/other-models.md",
    "docs/keeping-up.md",
    "docs/writing-a-patch.md",
    "docs/errors.md",
)


def twin(document: str) -> str:
    """The Chinese form of an English document."""
    return document.removesuffix(".md") + ".zh-CN.md"


PAIRS = tuple((document, twin(document)) for document in ("README.md", *PAGES))
DOCUMENTS = (*(document for pair in PAIRS for document in pair), "CONTRIBUTING.md")
NODES = "docs/several-nodes.md"  # whose commands tests/smoke/test_nodes.py runs
TRAINED = ("README.md", "docs/fine-tuning.md")  # tests/smoke runs their training commands
TRAINING = ("python generated/", "deepspeed ", "python -m tools merge ", "python -m tools chat ")
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    """The document's ``` blocks of a language, in order, out of their indentation."""
    return [textwrap.dedent(m[3]) for m in _BLOCK.finditer(text(document)) if m[2] == language]


def commands(*documents: str) -> list[str]:
    """Every command of the documents' shell blocks, once, on one line and without its comment."""
    scripts = [block for document in documents for block in blocks(document, "sh")]
    lines = "\n".join(scripts).replace("\\\n", " ").splitlines()
    told = [" ".join(line.split(" #")[0].split()) for line in lines if line.strip()]
    return list(dict.fromkeys(told))


def prose(document: str) -> str:
    """The document without its blocks."""
    return _BLOCK.sub("", text(document))


def links(document: str) -> list[tuple[Path, str]]:
    """Where the document's links lead: (file, heading or "")."""
    folder = (ROOT / document).parent
    found = re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", prose(document))
    return [((folder / place).resolve() if place else ROOT / document, at) for place, at in found]


def headings(document: Path) -> set[str]:
    """The document's headings, as links to them name them."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}

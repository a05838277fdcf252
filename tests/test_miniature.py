"""The miniature upstream is what the other tests take it for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import genuine
from tests.miniature import BEFORE, PATH, SHAPES, TAGS, build_repo

TELLTALES = {
    "v4.28.0": [
        "conf_from = {",
        "use_auth_token",
        "is_torch_tpu_available",
        "Optional[",
        "tokenizer=tok",
    ],
    "v4.30.0": ["use_auth_token=model_opts", "send_example_telemetry", "get_last_checkpoint"],
    "v4.33.0": [
        "use_auth_token: Optional",
        "token: Optional",
        "trust_remote_code: bool",
        "FutureWarning",
    ],
    "v4.46.0": ["processing_class=tok", "is_torch_xla_available", "max_position_embeddings"],
    "v4.54.0": ["# /// script", "split_streaming_dataset", ".take(", 'load("accuracy", cache_dir'],
    "v5.1.0": ["str | None", "dtype=dtype", "# /// script"],
}


def git(repo: Path, *arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=repo, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def test_two_builds_are_one(tmp_path: Path) -> None:
    one, other = build_repo(tmp_path / "one"), build_repo(tmp_path / "other")
    assert git(one, "show-ref") == git(other, "show-ref")
    assert git(one, "rev-parse", "main") == git(one, "rev-parse", TAGS[-1])
    assert PATH not in git(one, "ls-tree", "-r", "--name-only", BEFORE)
    assert len({git(one, "rev-parse", f"{tag}:{PATH}") for tag in TAGS}) == len(TAGS)


@pytest.mark.parametrize("tag", TAGS)
def test_shape(tag: str) -> None:
    text = (SHAPES / f"{tag}.py").read_text(encoding="utf-8")
    compile(text, tag, "exec")
    for telltale in TELLTALES[tag]:
        assert telltale in text
    older = [t for t in TAGS if t < tag]
    assert all(text != (SHAPES / f"{t}.py").read_text(encoding="utf-8") for t in older)


def test_no_line_is_upstreams() -> None:
    """Imports and the heads of fields are names and signatures; every other line is our own."""
    found = genuine.require(genuine.texts())
    theirs = {
        line.strip() for f in found for line in f.text.splitlines() if len(line.strip()) >= 40
    }
    for file in SHAPES.glob("*.py"):
        for line in map(str.strip, file.read_text(encoding="utf-8").splitlines()):
            if not re.match(r"(from|import) |\w+: .* = field\($", line):
                assert line not in theirs, f"{file.name}: {line}"

"""tools/training/matrix.py and model_matrix.py: what they write of what they found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.training import matrix, model_matrix
from tools.training.matrix import Row

VERSIONS = {"transformers": "5.23.0", "peft": "0.21.2", "accelerate": "1", "datasets": "5"}


def test_a_part_of_the_page_is_rewritten_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(matrix, "TABLE", page)
    matrix.rewrite(releases="# Compatibility\n\none\n")
    assert page.read_text("utf-8") == "# Compatibility\n\none\n"
    matrix.rewrite(models="two\n")
    assert page.read_text("utf-8") == "# Compatibility\n\none\n\n## Models\n\ntwo\n"
    matrix.rewrite(releases="# Compatibility\n\nthree\n")
    assert page.read_text("utf-8") == "# Compatibility\n\nthree\n\n## Models\n\ntwo\n"


def test_a_model_is_told_by_how_far_it_comes() -> None:
    whole = Row("v5.1.0", "chatglm", VERSIONS, list(model_matrix.STEPS), how="ported")
    half = Row("v5.1.0", "causal", VERSIONS, ["loads", "trains"])
    none = Row("v4.28.0", "chatglm", VERSIONS, [], "it has no such models")
    told = model_matrix.table([("ChatGLM-6B", whole), ("`glm`", half), ("GLM-4-9B", none)])
    assert told.splitlines()[2:] == [
        "| ChatGLM-6B | chatglm | v5.1.0 | 5.23.0 | 0.21.2 | ported | yes | yes | yes |",
        "| `glm` | causal | v5.1.0 | 5.23.0 | 0.21.2 | as it is | yes | no | no |",
        "| GLM-4-9B | chatglm | v4.28.0 | 5.23.0 | 0.21.2 | no | no | no | no |",
    ]


def test_every_model_goes_with_a_series_there_is() -> None:
    assert {name for name, *_ in model_matrix.MODELS.values()} == {"chatglm", "causal"}

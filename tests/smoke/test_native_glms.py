"""GLM as transformers itself has it, with the causal series, from the training to the merged model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import tiny_models
from tests.smoke.conftest import CAUSAL, ROWS, Runner
from tests.smoke.test_causal import LOGITS
from tests.smoke.test_smoke import adapter_only

pytestmark = pytest.mark.smoke
# What the default adapts of each, and what else holds a matrix.
ATTENTION = "q_proj, k_proj, v_proj, o_proj"
SPARSE = "q_a_proj, q_b_proj, kv_a_proj_with_mqa, kv_b_proj, o_proj"
EXPERTS = "gate_proj, up_proj, down_proj, experts, gate, lm_head"
TOLD = {
    "glm": f"{ATTENTION}, gate_up_proj, down_proj; none on embed_tokens, lm_head.",
    "glm4": f"{ATTENTION}, gate_up_proj, down_proj; none on embed_tokens, lm_head.",
    "glm4_moe": f"{ATTENTION}; none on embed_tokens, {EXPERTS}.",
    "glm_moe_dsa": f"{SPARSE}; none on embed_tokens, wq_b, wk, weights_proj, {EXPERTS}.",
}


@pytest.fixture(params=tiny_models.GLMS)
def glm(request, tmp_path: Path, home: Path, zygote) -> tuple[str, Runner]:
    if request.param not in tiny_models.available():
        pytest.skip(f"this release of transformers has no {request.param} models")
    model = tiny_models.build(request.param, tmp_path / "base")
    return request.param, Runner(tmp_path, model, home, zygote, CAUSAL)


def _logits(script: Runner, base: Path, adapter: Path) -> list[float]:
    (script.folder / "logits.py").write_text(LOGITS, encoding="utf-8")
    said = script.program(script.folder / "logits.py", base, adapter)
    return [float(number) for number in re.findall(r"-?\d+\.\d+", said.partition("LOGITS")[2])]


def test_native_glm(glm: tuple[str, Runner]) -> None:
    """Nothing is said of the modules to adapt."""
    kind, script = glm
    said = script.run(
        "out",
        do_train=True,
        do_eval=True,
        do_predict=True,
        test_file=script.data("test.json", ROWS),
        max_steps=20,
        max_target_length=8,
        lora_target_modules=None,
        lora_dropout=0.1,
        log_level="info",
    )
    assert f"LoRA on {TOLD[kind]}\n" in said
    losses = script.losses("out")
    assert losses[20] < losses[1] / 2
    assert script.results("out")["eval_loss"] < losses[1] / 2
    assert len(script.predictions("out")) == len(ROWS)
    adapter_only(script.folder / "out")
    _merges(script)


@pytest.mark.parametrize("glm", ["glm4_moe"], indirect=True)
def test_experts_on_request(glm: tuple[str, Runner]) -> None:
    _, script = glm
    options = {"lora_target_modules": "all-linear", "lora_dropout": 0, "log_level": "info"}
    said = script.run("out", do_train=True, max_steps=20, **options)
    assert f"LoRA on {ATTENTION}, experts, gate; none on " in said
    _merges(script)


def _merges(script: Runner) -> None:
    """The merged model has the logits of base and adapter, which are no longer the base's."""
    out, merged = script.folder / "out", script.folder / "merged"
    script.program("-m", "tools", "merge", out, merged)
    expected = _logits(script, script.model, out)
    assert _logits(script, merged, merged) == pytest.approx(expected, abs=1e-3)
    assert _logits(script, script.model, script.model) != pytest.approx(expected, abs=1e-1)

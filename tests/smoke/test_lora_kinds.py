"""Some rows of the tables in docs/lora.md, which lora_table.py and quantization_table.py print in full."""

from __future__ import annotations

import dataclasses
import importlib.util
import re

import pytest

from tests.smoke import adapter_runs, lora_table
from tests.smoke.conftest import ROWS, Case
from tests.smoke.test_user_errors import error_of

pytestmark = pytest.mark.smoke
peft = pytest.importorskip("peft")
NEWER = "use_dora" in {field.name for field in dataclasses.fields(peft.LoraConfig)}
HAS_BITS = NEWER and importlib.util.find_spec("bitsandbytes")
ALL = adapter_runs.Outcome(*["yes"] * 5)


@pytest.mark.skipif(not NEWER, reason="this release of peft knows plain LoRA")
@pytest.mark.parametrize("name", ["PiSSA, ranks by layer", "ChatGLM, EVA", "experts"])
def test_a_kind_of_lora(name: str, tmp_path, home, zygote) -> None:
    runs = lora_table.make_runs(lora_table.KINDS[name], tmp_path, home, zygote)
    assert adapter_runs.tried(runs) == ALL


@pytest.mark.skipif(not HAS_BITS, reason="no bitsandbytes beside this stack")
@pytest.mark.parametrize(("model", "kind"), [("llama", "4bit"), ("ChatGLM-6B, ported", "8bit")])
def test_a_quantised_base(model: str, kind: str, tmp_path, home, zygote) -> None:
    from tests.smoke import quantization_table as table

    runs = table.make_runs(model, kind, tmp_path, home, zygote)
    assert adapter_runs.tried(runs, table.TOLERANCES[kind]) == ALL
    runs.of_base = {}
    with pytest.raises(adapter_runs.Failure, match=f"was trained on weights of {kind}"):
        runs.losses_resumed()
    asked = [runs.runner.folder / "out", "--max_new_tokens", 8]
    trust = ["--trust_remote_code"] if model.startswith("ChatGLM") else []
    answered = runs.runner.program(
        "-m", "tools", "chat", *asked, *trust, given=f"{ROWS[0]['prompt']}\n"
    )
    assert answered.strip() == runs.runner.predictions("predicted")[0]["prediction"]


@pytest.mark.skipif(NEWER, reason="this stack can")
def test_what_an_old_stack_cannot(case: Case) -> None:
    """In one line, before any weight is loaded."""
    status, output = case.start(do_train=True, quantization="4bit")
    assert status == 1 and re.search("--quantization 4bit: .* take a newer stack", error_of(output))
    file = adapter_runs.write_config(case, {"use_dora": True})
    status, output = case.start(do_train=True, lora_config=file)
    assert status == 1 and re.search("peft .* knows no 'use_dora'", error_of(output))

"""The documents' training commands, run in order at toy size: on the stack that they are for."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.documents import TRAINED, TRAINING, blocks, commands
from tests.smoke.conftest import ROOT, ROWS, Runner
from tests.smoke.test_smoke import deepspeed

pytestmark = [pytest.mark.smoke, pytest.mark.long]


def adapted(command: str, script: Runner) -> list[str]:
    """The command for two CPU ranks, the toy model and the stack that runs the tests."""
    launcher, options = deepspeed(2)
    files = {name: str(script.data(name, ROWS)) for name in ("train.json", "dev.json", "test.json")}
    instead = {
        "generated/run_clm_lora.py": str(script.script),
        "THUDM/chatglm-6b": str(script.model),
        "ds_configs/zero2.json": str(options["deepspeed"]),
        **files,
    }
    command = command.replace("deepspeed --num_gpus 8", shlex.join(["python", *launcher]))
    command = command.replace(" --torch_dtype float16", "").replace(" --fp16", "")
    program, *words = shlex.split(command)
    assert program.endswith("python"), command
    words = [instead.get(word, word) for word in words]
    if "-m" in words and "tools" in words:
        return [sys.executable, *words]
    on_cpu = [f"--{k}" if v is True else f"--{k}={v}" for k, v in script.options.items()]
    return [sys.executable, *words, *on_cpu, "--report_to", "none"]


def test_the_training_commands(script: Runner) -> None:
    if "no_cuda" not in script.told:
        pytest.skip("the commands are for the stack of v4.28.0")
    out = script.folder / "out"
    for command in (c for c in commands(*TRAINED) if c.startswith(TRAINING)):
        if "--do_train" in command:  # each begins anew
            shutil.rmtree(out, ignore_errors=True)
        ran = subprocess.run(
            adapted(command, script),
            cwd=script.folder,
            env=script.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}"
    assert (script.folder / "answers" / "generated_predictions.jsonl").is_file()
    assert (script.folder / "merged" / "config.json").is_file()
    code = next(b for b in blocks("docs/fine-tuning.md", "python") if "PeftModel" in b)
    code = code.replace("THUDM/chatglm-6b", str(script.model)) + "print(type(model).__name__)\n"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=script.folder,
        env=script.env,
        capture_output=True,
        text=True,
    )
    assert "PeftModel" in ran.stdout, ran.stderr[-2000:]
    assert str(ROOT) in script.env["PYTHONPATH"]

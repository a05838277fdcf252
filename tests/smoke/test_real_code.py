"""The smoke runs again, on the published code of ChatGLM-6B, and others, at toy size.

$CHATGLM_CODE names checkouts of published models, one or, with ``:`` between them, several (see
tests/toy_chatglm/real.py). Nothing of them is in this repository, so without it these runs are left
out. Where a stack does not run the code as it is, it is ported first.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import transformers

from tests.smoke import test_smoke as toy
from tests.smoke import test_upstream_features as features
from tests.smoke.conftest import ENVIRONMENT, ROOT, ROWS, Runner
from tests.toy_chatglm import real
from tools.training import launch, stacks

CODES = [Path(name) for name in os.environ.get("CHATGLM_CODE", "").split(os.pathsep) if name]
if not CODES:
    pytest.skip(
        "CHATGLM_CODE names no checkout of a ChatGLM: see tests/toy_chatglm/real.py",
        allow_module_level=True,
    )
pytestmark = pytest.mark.smoke

# Answers the questions with the published code's own `chat`, which knows nothing of our script.
CHAT = """
import json, sys
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer
base, adapter, rows = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=True)
model = AutoModel.from_pretrained(base, trust_remote_code=True)
model = PeftModel.from_pretrained(model, adapter).eval()
def known(history):
    if not hasattr(tokenizer, "build_single_message"):
        return history
    roles = ("user", "assistant")
    return [{"role": r, "content": t} for pair in history for r, t in zip(roles, pair)]
answers = [
    model.chat(tokenizer, row["prompt"], history=known(row["history"]), do_sample=False)[0]
    for row in json.loads(rows)
]
print("ANSWERS", json.dumps(answers))
"""


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, "HF_HOME": str(home)}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, home: Path):
    """Published code → its model folder, and the one that this stack runs; None: it runs none."""
    env = _environment(home)
    run = functools.partial(subprocess.run, env=env, cwd=ROOT, capture_output=True, text=True)
    place, known = tmp_path_factory.mktemp("real"), {}

    def make(code: Path) -> tuple[Path, Path | None]:
        if code not in known:
            published, ported = (place / f"{kind}_{len(known)}" for kind in ("published", "ported"))
            build = (sys.executable, "-m", "tests.toy_chatglm.real", code, published)
            run([*build, "--dtype", "float32"], check=True)
            port = (sys.executable, "-m", "tools", "port", published, ported)
            ran = run([*port, "--trust_remote_code"])
            if ran.returncode:
                print(ran.stderr)
                ported = published if launch.NEEDS_NO_PORT in ran.stderr else None
            known[code] = (published, ported)
        return known[code]

    return make


@pytest.fixture(scope="session", params=CODES, ids=lambda code: code.name)
def model(request, made) -> Path:
    """What the script is tried on: each of them, as this stack runs it."""
    _, runs = made(request.param)
    if runs is None:
        pytest.skip("this stack does not run it, ported or not")
    return runs


@pytest.fixture(params=CODES, ids=lambda code: code.name)
def folders(request, made) -> tuple[Path, Path]:
    published, runs = made(request.param)
    if runs is None:
        pytest.skip("this stack does not run it, ported or not")
    return published, runs


def test_it_learns_is_merged_and_chats(folders, tmp_path: Path, home: Path) -> None:
    """By LoRA, with checkpointed activations; the merged folder loads by itself."""
    env = _environment(home)
    commands = (
        ("-m", "tests.smoke.real_chat", "learn", folders[1], tmp_path / "adapter"),
        ("-m", "tools", "merge", tmp_path / "adapter", tmp_path / "merged", "--trust_remote_code"),
        ("-m", "tests.smoke.real_chat", "ask", tmp_path / "merged"),
    )
    for command in commands:
        ran = subprocess.run(
            [sys.executable, *command], env=env, cwd=ROOT, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr[-3000:]


def test_it_computes_what_an_old_release_does(folders, tmp_path: Path, home: Path) -> None:
    published, ported = folders
    if ported == published:
        pytest.skip("runs as it is here")
    is_last = real.kind_of(published) == "glm4"
    old = stacks.python("v4.36.0" if is_last else "v4.28.0")  # the oldest that runs it
    if not old.is_file():
        pytest.skip(f"no {old.parents[1].name} here")
    found = []
    for python, folder in ((old, published), (Path(sys.executable), ported)):
        env = {**_environment(home), "HF_MODULES_CACHE": str(tmp_path / f"{folder.name}_modules")}
        out = tmp_path / f"{folder.name}.json"
        ran = subprocess.run(
            [python, "-m", "tests.toy_chatglm.figures", out, folder],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        found += json.loads(out.read_text(encoding="utf-8"))
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


test_two_ranks_under_deepspeed = toy.test_two_ranks_under_deepspeed
test_interrupted_and_resumed = toy.test_interrupted_and_resumed
test_the_adapter_alone_gives_the_trained_logits = (
    toy.test_the_adapter_alone_gives_the_trained_logits
)
test_sharded_training_is_resumed = features.test_sharded_training_is_resumed
test_gradient_checkpointing_and_few_checkpoints = (
    features.test_gradient_checkpointing_and_few_checkpoints
)


def test_it_learns_and_the_published_chat_agrees(script: Runner) -> None:
    toy.learnt(script)  # the loss has a floor where a small frozen head makes the logits
    ran = subprocess.run(
        [sys.executable, "-c", CHAT, script.model, script.folder / "out", json.dumps(ROWS)],
        env=script.env,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    answers = next(line for line in ran.stdout.splitlines() if line.startswith("ANSWERS "))
    assert json.loads(answers.removeprefix("ANSWERS ")) == [row["response"] for row in ROWS]


def _module(file: Path) -> ModuleType:
    sys.path[:0] = [str(file.parent), str(file.parents[1] / "common")]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _whole_characters(tokenizer, ids: list[int], most: int) -> int:
    """How many of the first tokens to keep, so that no character's bytes are cut apart."""
    if len(ids) <= most:
        return len(ids)
    names = tokenizer.convert_ids_to_tokens(ids[:most])
    run = [n for n in itertools.takewhile(lambda n: re.fullmatch(r"<0x\w\w>", str(n)), names[::-1])]
    raw = bytes(int(name[3:5], 16) for name in run[::-1])
    return most - (len(raw) - len(raw.decode("utf-8", "ignore").encode()))


def test_features_are_the_published_tokenizers(model: Path) -> None:
    """Token for token what ChatGLM-6B's special tokens and its recipe's limits say, apart from us."""
    if real.kind_of(model) != "chatglm":
        pytest.skip("ChatGLM-6B's: the others' are in tests/payload/chatglm/test_glm_layouts.py")
    encode_pair = _module(ROOT / "patches" / "chatglm" / "chatglm_encoding.py").encode_pair
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=True)
    pieces = tokenizer.sp_tokenizer
    draw = random.Random(0)
    words = ["你好", "天气", "\n", "\t", "  ", "a b", "[gMASK]", "<sop>", "问：", "!", "𠮷", "é"]

    def text() -> str:
        return "".join(draw.choices(words, k=draw.randint(1, 12)))

    for _ in range(2000):
        source, target = draw.randint(2, 40), draw.randint(3, 20)
        history = [(text(), text()) for _ in range(draw.choice([0, 0, 1, 3]))]
        prompt, response = text(), text()
        for kept in (history[first:] for first in range(len(history) + 1)):
            rounds = [*kept, (prompt, None)] if kept else []
            asked = (
                prompt
                if not kept
                else "\n".join(
                    f"[Round {i}]\n问：{q}\n答：{'' if a is None else a}"
                    for i, (q, a) in enumerate(rounds)
                )
            )
            a_ids = tokenizer(asked, add_special_tokens=False)["input_ids"]
            if len(a_ids) <= source - 1:
                break
        a_ids = a_ids[: source - 1]
        b_ids = tokenizer(response, add_special_tokens=False)["input_ids"]
        b_ids = b_ids[: _whole_characters(tokenizer, b_ids, target - 2)]
        expected = [*a_ids, pieces["[gMASK]"], pieces["<sop>"], *b_ids, pieces["<eop>"]]
        limits = SimpleNamespace(max_source_length=source, max_target_length=target, learn="last")
        texts = [*(text for pair in history for text in pair), prompt, response]
        messages = [
            {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)
        ]
        if not b_ids:
            with pytest.raises(ValueError, match="leaves no room for the response"):
                encode_pair(tokenizer, messages, limits)
            continue
        row = encode_pair(tokenizer, messages, limits)
        assert row["input_ids"] == expected
        # The first label is <sop>, which the shift leaves to nobody but the prompt's last token.
        start = len(a_ids) + 1
        assert row["labels"] == [-100] * start + expected[start:]

"""What was trained, asked by other means than --do_predict: they all get the same answers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny_models
from tests.smoke.conftest import LAYERS, ROWS, Runner
from tests.smoke.test_causal import LAYERS as CAUSAL_LAYERS
from tests.smoke.test_causal import SCRIPT
from tools.training.launch import free_port

pytestmark = pytest.mark.smoke

# Answers the questions with the model's own `chat`, as published for ChatGLM-6B.
OWN_CHAT = """
import json, sys
from transformers import AutoModel, AutoTokenizer
folder, rows = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
for row in json.loads(rows):
    answer, _ = model.chat(tokenizer, row["prompt"], history=row["history"], do_sample=False)
    print("ANSWER", answer)
"""


class Trained:
    """An output folder that holds what ROWS teach, the same merged, and what it predicts."""

    def __init__(self, script: Runner, **options: object):
        self.script, self.adapter = script, script.folder / "out"
        self.merged = script.folder / "merged"
        test = script.data("test.json", ROWS)
        script.run("out", max_steps=100, do_train=True, do_predict=True, test_file=test, **options)
        self.predictions = [line["prediction"] for line in script.predictions("out")]
        assert self.predictions == [row["response"] for row in ROWS]
        said = script.program("-m", "tools", "merge", self.adapter, self.merged, *self.trust)
        assert said == f"wrote {self.merged}\n"

    @property
    def trust(self) -> list[str]:
        return ["--trust_remote_code"] if list(self.script.model.glob("*.py")) else []


@pytest.fixture(scope="module")
def chatglm(tmp_path_factory, model: Path, home: Path, zygote) -> Trained:
    script = Runner(tmp_path_factory.mktemp("asking"), model, home, zygote)
    return Trained(script, lora_target_modules=LAYERS)


@pytest.fixture(scope="module")
def causal(tmp_path_factory, home: Path, zygote) -> Trained:
    kind = "qwen2" if "qwen2" in tiny_models.available() else "gpt2"
    folder = tmp_path_factory.mktemp("asking")
    script = Runner(folder, tiny_models.build(kind, folder / "base"), home, zygote, SCRIPT)
    return Trained(script, lora_target_modules=CAUSAL_LAYERS[kind])


def typed(rows: list[dict]) -> str:
    """What a user types: the earlier questions, too."""
    lines: list[str] = []
    for row in rows:
        lines += ["/clear", *(question for question, _ in row["history"]), row["prompt"]]
    return "\n".join([*lines, "/exit", "never asked", ""])


@pytest.mark.parametrize("series", ["chatglm", "causal"])
@pytest.mark.parametrize("folder", ["adapter", "merged"])
def test_tools_chat(series: str, folder: str, request) -> None:
    trained = request.getfixturevalue(series)
    place = getattr(trained, folder)
    asked = typed(ROWS)
    said = trained.script.program("-m", "tools", "chat", place, *trained.trust, given=asked)
    expected = []
    for row, prediction in zip(ROWS, trained.predictions):
        expected += [*(answer for _, answer in row["history"]), prediction]
    assert said.splitlines() == expected


def test_the_models_own_chat(chatglm: Trained) -> None:
    program = chatglm.script.text("own_chat.py", OWN_CHAT)
    said = chatglm.script.program(program, chatglm.merged, json.dumps(ROWS))
    answers = [line.removeprefix("ANSWER ") for line in said.splitlines() if "ANSWER" in line]
    assert answers == chatglm.predictions


@contextlib.contextmanager
def served(trained: Trained) -> Iterator[str]:
    """The address at which ``transformers serve`` has the merged model."""
    port, log = free_port(), trained.script.folder / "serve.log"
    command = [Path(sys.executable).with_name("transformers"), "serve", trained.merged]
    where = ["--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    with (
        open(log, "w") as written,
        subprocess.Popen(
            [*command, *where], env=trained.script.env, stdout=written, stderr=subprocess.STDOUT
        ) as server,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                assert server.poll() is None, log.read_text(errors="replace")[-3000:]
                with contextlib.suppress(urllib.error.URLError), answer_to(f"{address}/health"):
                    break
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


def answer_to(url: str, body: dict | None = None):
    """The answer of a server on this machine, whatever proxy there is."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(asked, timeout=60)


def test_transformers_serve(causal: Trained) -> None:
    """The merged folder is an ordinary model: a server that knows nothing of us has its answers."""
    try:
        from transformers.utils.import_utils import is_serve_available
    except ImportError:
        pytest.skip("this release of transformers has no serve")
    if not is_serve_available():
        pytest.skip("transformers serve needs requirements/serve.txt")
    answers = []
    with served(causal) as address:
        for row in ROWS:
            texts = [text for pair in row["history"] for text in pair] + [row["prompt"]]
            messages = [
                {"role": ("user", "assistant")[number % 2], "content": text}
                for number, text in enumerate(texts)
            ]
            asked = {"model": str(causal.merged), "messages": messages, "temperature": 0}
            with answer_to(f"{address}/v1/chat/completions", asked) as answer:
                answers.append(json.load(answer)["choices"][0])
    assert [answer["message"]["content"] for answer in answers] == causal.predictions
    assert {answer["finish_reason"] for answer in answers} == {"stop"}

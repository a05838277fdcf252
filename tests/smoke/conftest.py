"""Runs of the generated script as a user starts it: real processes, a toy ChatGLM, no network.

The script is $SMOKE_SCRIPT (see prepare.py); the stack is that of the python that runs pytest.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests import tiny_models

ROOT = Path(__file__).resolve().parents[2]
# Beside the script, the text that it was made from.
UPSTREAM = "upstream_run_clm.py"
LAYERS = "query_key_value,dense,dense_h_to_4h,dense_4h_to_h"
CAUSAL = "run_clm_lora_causal.py"
# Every linear module but the head, by name: old releases of peft have no word for it.
CAUSAL_LAYERS = {
    "gpt2": "c_attn,c_proj,c_fc",
    "llama": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
    "qwen2": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
    "glm4": "q_proj,k_proj,v_proj,o_proj,gate_up_proj,down_proj",
}
ROWS = [
    {"prompt": "你叫什么名字？", "response": "我叫小明。", "history": []},
    {"prompt": "今天天气怎么样？", "response": "今天是晴天。", "history": []},
    {
        "prompt": "那明天呢？",
        "response": "明天会下雨。",
        "history": [["今天天气怎么样？", "今天是晴天。"]],
    },
    {"prompt": "一加一等于几？", "response": "等于二。", "history": []},
    {"prompt": "再加一呢？", "response": "等于三。", "history": [["一加一等于几？", "等于二。"]]},
    {"prompt": "你好", "response": "你好！有什么可以帮你？", "history": []},
]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DS_ACCELERATOR": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    # With what a stack lacks that published code asks for: GLM-4's tiktoken.
    "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    # Compiled by DeepSpeed once for each stack.
    "TORCH_EXTENSIONS_DIR": os.path.join(
        tempfile.gettempdir(), "payload-extensions", sys.prefix.strip(os.sep).replace(os.sep, "-")
    ),
}


def _script(sibling: str | None = None) -> Path:
    """The script that $SMOKE_SCRIPT names, or the one of another series beside it."""
    name = os.environ.get("SMOKE_SCRIPT", "")
    if not name:
        pytest.skip("SMOKE_SCRIPT names no generated script: run make smoke")
    script = Path(name).resolve()
    return script.with_name(sibling) if sibling else script


def _environment(home: Path) -> dict[str, str]:
    env = {**os.environ, **ENVIRONMENT, "HF_HOME": str(home)}
    env.pop("ACCELERATE_USE_CPU", None)
    return env


class Runner:
    """Starts the generated script in ``folder``, where everything it writes goes too."""

    def __init__(
        self, folder: Path, model: Path, home: Path, zygote: Zygote, sibling: str | None = None
    ):
        self.folder, self.model, self.script = folder, model, _script(sibling)
        self.env, self.zygote = _environment(home), zygote
        self.told = _told(_script(), zygote)
        self.options: dict[str, object] = (
            {"use_cpu": True}
            if "use_cpu" in self.told
            else {"no_cuda": True, "xpu_backend": "gloo"}
        )

    def data(self, name: str, rows: list[dict]) -> Path:
        file = self.folder / name
        text = json.dumps(rows, ensure_ascii=False)
        if name.endswith(".jsonl"):
            text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
        file.write_text(text, encoding="utf-8")
        return file

    def arguments(self, out: str, **given: object) -> list[str]:
        """Command-line arguments; ``None`` leaves one out, ``True`` is a bare flag."""
        pairs = self.data("pairs.json", ROWS)
        known = {
            "model_name_or_path": self.model,
            "train_file": pairs,
            "validation_file": pairs,
            "history_column": "history",
            "lora_target_modules": LAYERS,
            "lora_rank": 16,
            "lora_dropout": 0,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 6,
            "per_device_eval_batch_size": 6,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "output_dir": self.folder / out,
            **self.options,
            **given,
        }
        line: list[str] = []
        for name, value in known.items():
            if value is not None:
                line += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return line

    def text(self, name: str, content: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return file

    @contextlib.contextmanager
    def edited(self, old: str, new: str) -> Iterator[None]:
        """Meanwhile the script says ``new`` where it says ``old``, once."""
        kept, text = self.script, self.script.read_text(encoding="utf-8")
        assert text.count(old) == 1
        self.script = self.text(f"edited_{kept.name}", text.replace(old, new))
        try:
            yield
        finally:
            self.script = kept

    def run(
        self,
        out: str,
        *,
        launcher: tuple[str, ...] | None = None,
        fails: bool = False,
        **given: object,
    ) -> str:
        """Run to the end; what it printed.

        By ``fork``, unless a ``launcher`` is given: what goes between python and the script.
        """
        if launcher is None:
            status, output = self.fork(out, **given)
        else:
            ran = subprocess.run(
                [sys.executable, *launcher, str(self.script), *self.arguments(out, **given)],
                cwd=self.folder,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            status, output = ran.returncode, ran.stdout
        assert (status != 0) is fails, output[-6000:]
        return output

    def fork(self, out: str, **given: object) -> tuple[int, str]:
        """Run in a process that has imported the libraries already: status, what it printed."""
        ran = self.zygote.run(self.folder, [self.script, *self.arguments(out, **given)])
        return ran.returncode, ran.stdout

    def program(self, *argv: object, given: str = "") -> str:
        """Likewise a program of one's own, or ``-m`` a module: its output, errors left out."""
        ran = self.zygote.run(self.folder, argv, given, errors="errors.txt")
        assert ran.returncode == 0, (self.folder / "errors.txt").read_text("utf-8")[-3000:]
        return ran.stdout

    def losses(self, out: str) -> dict[int, float]:
        """Training loss by step."""
        state = json.loads((self.folder / out / "trainer_state.json").read_text(encoding="utf-8"))
        return {e["step"]: e["loss"] for e in state["log_history"] if "loss" in e}

    def results(self, out: str) -> dict[str, float]:
        return json.loads((self.folder / out / "all_results.json").read_text(encoding="utf-8"))

    def predictions(self, out: str) -> list[dict]:
        text = (self.folder / out / "generated_predictions.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


class Case(Runner):
    """A runner without the columns and files of others."""

    layers = LAYERS

    def start(self, **given: object) -> tuple[int, str]:
        return self.fork(
            "out", **{"history_column": None, "lora_target_modules": self.layers, **given}
        )

    def ends(self, **given: object) -> str:
        """Run to the end; what it printed."""
        status, output = self.start(**given)
        assert status == 0, output[-5000:]
        return output

    def trains(
        self, train: Path | str, dev: Path | None = None, **given: object
    ) -> tuple[dict, str]:
        """Train for a step; (results, what it printed)."""
        options = {
            "do_train": True,
            "max_steps": 1,
            "train_file": train,
            "validation_file": dev or train,
        }
        output = self.ends(**{**options, **given})
        return self.results("out"), output

    def learns(self, train: Path | str, **given: object) -> list[str]:
        """The texts that are learnt, as the tokens spell them, special ones left out."""
        options = {
            "do_train": True,
            "preview": 10**6,
            "train_file": train,
            "validation_file": train,
        }
        shown = self.ends(**{**options, **given}).rpartition("\ntrain, ")[0]
        learnt = re.findall("⟦(.*?)⟧", shown, re.DOTALL)
        return [re.sub(r"<sop>|<eop>|<\|.*?\|>", "", text).strip() for text in learnt]


class Zygote:
    """The process that zygote.py is, once somebody needs it."""

    def __init__(self, home: Path):
        self.home, self.process = home, None

    def run(
        self, folder: Path, argv: Sequence[object], given: str = "", errors: str = "output.txt"
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in ``folder``, asked ``given``; its errors are printed among its output."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("zygote.py")],
                env=_environment(self.home),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        (folder / "input.txt").write_text(given, encoding="utf-8")
        streams = ["input.txt", "output.txt", errors]
        asked = {"folder": str(folder), "argv": [str(word) for word in argv], "streams": streams}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        output = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        return subprocess.CompletedProcess(argv, status, output)

    def end(self) -> None:
        if self.process is not None:
            self.process.communicate()


@pytest.fixture(scope="session")
def zygote(home: Path) -> Iterator[Zygote]:
    started = Zygote(home)
    yield started
    started.end()


@functools.cache
def _told(script: Path, zygote: Zygote) -> frozenset[str]:
    """The names of the options that ``--help`` tells."""
    with tempfile.TemporaryDirectory() as folder:
        ran = zygote.run(Path(folder), [script, "--help"])
    assert ran.returncode == 0, ran.stdout[-5000:]
    return frozenset(re.findall(r"--(\w+)", ran.stdout))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.toy_chatglm import build

    return build(tmp_path_factory.mktemp("model") / "toy", hidden_size=64)


@pytest.fixture
def script(tmp_path: Path, model: Path, home: Path, zygote: Zygote) -> Runner:
    return Runner(tmp_path, model, home, zygote)


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    kind = "qwen2" if "qwen2" in tiny_models.available() else "gpt2"
    return kind, tiny_models.build(kind, tmp_path_factory.mktemp("tiny") / kind)


@pytest.fixture
def chatglm(tmp_path: Path, model: Path, home: Path, zygote) -> Case:
    return Case(tmp_path, model, home, zygote)


@pytest.fixture(params=["chatglm", "causal"])
def case(request, tmp_path: Path, home: Path, zygote) -> Case:
    if request.param == "chatglm":
        return request.getfixturevalue("chatglm")
    kind, model = request.getfixturevalue("causal")
    made = Case(tmp_path, model, home, zygote, CAUSAL)
    made.layers = CAUSAL_LAYERS[kind]
    return made

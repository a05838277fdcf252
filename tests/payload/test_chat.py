"""tools/training/chat.py and answers.py: a dialogue on the terminal, or in a pipe."""

import fcntl
import io
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")
import prediction
from conftest import messages
from glm_tokenizers import ChatGLM2Tokenizer, ChatGLM3Tokenizer, GLM4Tokenizer

from tests import tiny_models
from tests.payload import merge_table
from tests.payload.merge_table import KINDS, Case, load_tokenizer
from tools import __main__ as tools
from tools.errors import UserError
from tools.training import answers, chat, loading

ROOT = Path(__file__).resolve().parents[2]
CHATGLM = next(kind for kind in KINDS if kind.name == "chatglm")
GPT2 = next(kind for kind in KINDS if kind.name == "gpt2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Base and adapter of a kind, in a folder each."""
    place = tmp_path_factory.mktemp("chat")
    for kind in (CHATGLM, GPT2):
        made = merge_table.add_adapter(
            Case(kind, "attention", "none", False), merge_table.build(kind, place)
        )
        merge_table.save_adapter(*made, place / kind.name)
    return place


@pytest.fixture
def talk(monkeypatch, capsys):
    """Run ``tools chat`` with lines from a pipe: (status, answers, errors)."""

    def run(lines, *arguments):
        given = lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        capsys.readouterr()
        status = tools.main(["chat", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def predicted(source, asked, most=6):
    """What --do_predict's own function makes of a dialogue."""
    tokenizer = loading.load_tokenizer(source)
    model = loading.add_adapter(loading.load_base(source), source)
    answerer = answers.Answerer(
        model, tokenizer, answers.series_of(tokenizer), answers.Limits(1024, most)
    )
    [text] = prediction._generate_answers(
        model,
        tokenizer,
        [answerer.encode(asked)],
        answerer.stops,
        answerer.lead,
        answerer.limits,
        answerer,
        False,
    )
    return text


@pytest.mark.parametrize("kind", [CHATGLM, GPT2], ids=str)
def test_answers_are_those_that_prediction_writes(kind, folder, talk):
    given = [folder / kind.name, "--max_new_tokens", 6, "--trust_remote_code"]
    source = loading.find(folder / kind.name, trust=True)
    first = predicted(source, messages("你好"))
    history = [("你好", first)] if first else []  # a question without an answer is forgotten
    second = predicted(source, messages("天气", history))
    other = predicted(source, messages("天气"))
    status, said, told = talk(["你好", "", "天气", "/clear", "天气", " /exit", "天气"], *given)
    assert (status, told) == (0, "")
    assert said == f"{first}\n{second}\n{other}\n"


class Spelled:
    """A tokenizer that knows its tokens' texts as bytes."""

    def __init__(self, *tokens):
        self.tokens = tokens

    def decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return b"".join(self.tokens[i] for i in ids).decode(errors="replace")


class Parrot:
    """Answers with what it was asked, all of it."""

    limits = answers.Limits(8)

    def __init__(self):
        self.asked = []

    def encode(self, asked):
        if asked[-1]["content"] == "refuse":
            raise UserError("no")

    def length(self, asked):
        return len(asked)

    def growing(self, write):
        return answers.Growing(Spelled(), [], [], write)

    def answer(self, asked, growing):
        self.asked.append([message["content"] for message in asked])
        if asked[-1]["content"] == "stop":
            growing._show("half")
            raise KeyboardInterrupt
        return asked[-1]["content"].upper()


def test_what_was_said_is_kept(capsys):
    parrot = Parrot()
    talk = chat.Dialogue(parrot, "system", is_terminal=True)
    for line in ("a", "refuse", "stop", "b", "/clear", "c"):
        talk.ask(line)
    assert parrot.asked == [
        ["system", "a"],
        ["system", "a", "A", "stop"],
        ["system", "a", "A", "stop", "half", "b"],
        ["system", "c"],
    ]
    said = capsys.readouterr()
    assert said.out == "A\nhalf\nB\nC\n"
    assert said.err == "error: no\n"


@pytest.mark.parametrize(("line", "error"), [("refuse", UserError), ("stop", KeyboardInterrupt)])
def test_in_a_pipe_nothing_goes_on_after_an_error(line, error, capsys):
    with pytest.raises(error):
        chat.Dialogue(Parrot(), None, is_terminal=False).ask(line)
    assert capsys.readouterr().out == ""


def test_the_series_is_the_tokenizers(folder):
    assert answers.series_of(load_tokenizer(folder / "chatglm-True")) == "chatglm"
    for kind in (ChatGLM2Tokenizer, ChatGLM3Tokenizer, GLM4Tokenizer):
        assert answers.series_of(kind()) == "chatglm"
    for kind in tiny_models.available():
        assert answers.series_of(tiny_models.make_tokenizer(kind)) == "causal"


def test_what_the_system_says_first(folder, talk):
    given = [folder / "gpt2", "--max_new_tokens", 6]
    asked = [{"role": "system", "content": "天气"}, *messages("你好")]
    status, said, _ = talk(["你好"], *given, "--system", "天气")
    assert (status, said) == (0, f"{predicted(loading.find(folder / 'gpt2'), asked)}\n")
    status, said, told = talk(["你好"], folder / "chatglm", "--trust_remote_code", "--system", "a")
    assert (status, said) == (1, "")
    assert "has no place for a system message" in told and told.count("\n") == 1


def test_what_is_cut_is_told(folder, talk):
    given = [folder / "gpt2", "--max_new_tokens", 2, "--max_source_length", 40]
    status, said, told = talk(["你好", "天" * 60], *given)
    assert status == 0 and said.count("\n") == 2
    assert told.startswith("warning: ") and "more than --max_source_length 40" in told
    status, said, told = talk(["你好"], folder / "gpt2", "--max_source_length", 3)
    assert status == 1 and told.startswith("error: --max_source_length 3 leaves no room")


def test_a_table_of_positions_is_not_left(folder):
    source = loading.find(folder / "gpt2")
    model, tokenizer = loading.load_base(source), loading.load_tokenizer(source)
    most = answers.Answerer(model, tokenizer, "causal", answers.Limits(4000, 100)).limits
    assert most == answers.Limits(1948, 100)
    with pytest.raises(UserError, match="2048 positions: lower --max_new_tokens"):
        answers.Answerer(model, tokenizer, "causal", answers.Limits(10, 4000))


@pytest.mark.parametrize("saves", ["none", "both"])
def test_a_base_of_half_precision(saves, folder, talk, tmp_path):
    """Beside it an adapter's weights are float32, as in training."""
    made = merge_table.build(CHATGLM, folder)
    shutil.copytree(made, tmp_path / "base")
    merge_table.load(made).half().save_pretrained(tmp_path / "base", safe_serialization=False)
    model, tokenizer, described = merge_table.add_adapter(
        Case(CHATGLM, "attention", saves, False), tmp_path / "base"
    )
    merge_table.save_adapter(model.float(), tokenizer, described, tmp_path / "adapter")
    given = [tmp_path / "adapter", "--trust_remote_code"]
    status, said, told = talk(["你好"], *given, "--max_new_tokens", 3)
    assert (status, told) == (0, "") and said.endswith("\n")


@pytest.mark.parametrize(
    "given, message",
    [
        (["nowhere"], "holds no adapter_config.json and no config.json"),
        (["chatglm", "--merged"], "holds an adapter: leave --merged out"),
        (["gpt2-True", "--base", "x"], "holds no adapter: leave --base out"),
        (["chatglm"], "let it run with --trust_remote_code"),
        (["gpt2", "--max_new_tokens", "0"], "--max_new_tokens must be at least 1"),
        (["gpt2", "--max_source_length", "1"], "--max_source_length must be at least 2"),
        (["gpt2", "--series", "chatglm"], "is not ChatGLM-6B's"),
    ],
)
def test_errors_take_one_line(given, message, folder, talk):
    given = [folder / given[0], *given[1:]]
    status, said, told = talk(["你好"], *given)
    assert (status, said) == (1, "")
    assert told.startswith("error: ") and message in told and told.count("\n") == 1


def test_input_that_is_no_text(folder, talk):
    status, _, told = talk("你好".encode("gbk") + b"\n", folder / "gpt2")
    assert status == 1 and told.startswith("error: the input is not UTF-8")


@pytest.mark.parametrize(
    "tokens, lead, expected",
    [
        (["你".encode(), "好".encode()], [], ["你", "好"]),
        (["你".encode()[:2], "你".encode()[2:]], [], ["", "你"]),
        ([b" a", b" ", b"b", b"\n"], [], ["a", "", " b", ""]),
        ([b"<t>", b"</t>", b"a", b"END", b"b"], [0, 1], ["", "", "a", "", ""]),
        ([b"<t>", b"a"], [0, 9], ["", "<t>a"]),
    ],
)
def test_an_answer_is_shown_as_far_as_it_is_certain(tokens, lead, expected):
    written = []
    stops = [i for i, token in enumerate(tokens) if token == b"END"]
    growing = answers.Growing(Spelled(*tokens), stops, lead, written.append)
    growing.put(torch.tensor([[5, 6]]))  # the prompt
    shown = []
    for i in range(len(tokens)):
        written.clear()
        growing.put(torch.tensor([i]))
        shown.append("".join(written))
    assert shown == expected
    growing.finish(growing.text())
    assert growing.written == growing.text()


def test_nothing_of_an_answer_steers_the_terminal(capsys):
    chat._print_plainly("a\x1b[2Jb\n你\t\x07")
    assert capsys.readouterr().out == "a[2Jb\n你\t"


class Terminal:
    """``tools chat`` on a terminal of its own."""

    def __init__(self, *arguments):
        self.end, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools", "chat", *map(str, arguments)],
            **dict.fromkeys(("stdin", "stdout", "stderr"), other),
            cwd=ROOT,
            env={**os.environ, "TERM": "dumb"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)
        self.seen = ""

    def type(self, text):
        self.seen = ""
        os.write(self.end, text.encode())

    def until(self, is_enough, seconds=120):
        read, last = b"", time.monotonic() + seconds
        while time.monotonic() < last and not is_enough(read.decode(errors="replace")):
            if select.select([self.end], [], [], 0.1)[0]:
                try:
                    read += os.read(self.end, 4096)
                except OSError:  # it has ended
                    break
        self.seen = read.decode(errors="replace").replace("\r\n", "\n")
        return self.seen


def test_on_a_terminal_an_interrupt_ends_the_answer_alone(folder):
    terminal = Terminal(folder / "gpt2-True", "--max_new_tokens", 1900)
    try:
        assert "/clear forgets" in terminal.until(lambda said: said.endswith("> "))
        terminal.type("你好\n")
        assert len(terminal.until(lambda said: len(said) > 30)) > 30, "nothing is shown meanwhile"
        terminal.type("\x03")
        assert terminal.until(lambda said: said.endswith("\n> ")).endswith("\n> ")
        terminal.type("/exit\n")
        terminal.until(lambda said: False, 20)
        assert terminal.process.wait(20) == 0
    finally:
        terminal.process.kill()
        os.close(terminal.end)

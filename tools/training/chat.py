"""Talk with what was trained: ``python -m tools chat FOLDER``, with a training stack's python.

FOLDER is an adapter's or a merged model's. Where input or output is no terminal only the answers
are printed, one for each line that comes in.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.errors import UserError
from tools.training import answers, loading, model_folder, payload

CLEAR, EXIT = "/clear", "/exit"
PROMPT = "> "


@dataclass(frozen=True)
class Options:
    """What a user may ask for; ``series`` None is the tokenizer's own."""

    base: str | None = None
    merged: bool = False
    trust: bool = False
    series: str | None = None
    system: str | None = None
    limits: answers.Limits = field(default_factory=answers.Limits)


def run(folder: Path, options: Options) -> None:
    """Answer each line of the standard input, to its end or to ``/exit``.

    Raises:
        UserError: no adapter or model, one that cannot be loaded, or a text that the format of
            its dialogues has no place for.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with payload.stack():
        answerer = _load(folder, options)
        talk = Dialogue(answerer, options.system, is_terminal)
        for text in _asked(is_terminal):
            talk.ask(text)


def _source(folder: Path, options: Options) -> loading.Source:
    """Where base and adapter are, or the merged model."""
    if (folder / model_folder.ADAPTER_CONFIG).is_file():
        if options.merged:
            raise UserError(f"{folder} holds an adapter: leave --merged out")
        return loading.find(folder, options.base, options.trust)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds no {model_folder.ADAPTER_CONFIG} and no config.json: give the folder "
            "of an adapter or of a model"
        )
    if options.base:
        raise UserError(f"{folder} holds no adapter: leave --base out")
    model_folder.check_model(folder)
    return loading.Source(str(folder), None, False, options.trust)


def _load(folder: Path, options: Options) -> answers.Answerer:
    source = _source(folder, options)
    tokenizer = loading.load_tokenizer(source)
    own = answers.series_of(tokenizer)
    if options.series == "chatglm" != own:
        raise UserError(f"the tokenizer of {folder} is not ChatGLM-6B's: leave --series out")
    model = loading.load_base(source, as_trained=True)
    if source.adapter is not None:
        model = loading.add_adapter(model, source)
    with loading.told(f"cannot talk with {folder}"):
        return answers.Answerer(model, tokenizer, options.series or own, options.limits)


def _asked(is_terminal: bool) -> Iterator[str]:
    """The lines that are asked, without the ends of line, up to EXIT; blank ones ask nothing."""
    if is_terminal:
        print(f"{CLEAR} forgets what was said, {EXIT} ends", file=sys.stderr)
    for line in _typed() if is_terminal else _piped():
        if line.strip() == EXIT:
            return
        if line.strip():
            yield line


def _typed() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  lines can be edited, Chinese ones too
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            yield input(PROMPT)
    print()


def _piped() -> Iterator[str]:
    try:
        for line in sys.stdin.buffer:
            yield line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"the input is not UTF-8: {error}") from None


def _print_plainly(text: str) -> None:
    """Print a part of an answer without what would steer the terminal."""
    kept = "".join(c for c in text if c.isprintable() or c in "\n\t")
    print(kept, end="", flush=True)


class Dialogue:
    """What was said so far, and whom to ask."""

    def __init__(self, answerer: answers.Answerer, system: str | None, is_terminal: bool):
        self.answerer, self.is_terminal = answerer, is_terminal
        self.first = [] if system is None else [{"role": "system", "content": system}]
        self.messages = list(self.first)
        self.write: Callable[[str], None] = _print_plainly if is_terminal else lambda _: None

    def ask(self, text: str) -> None:
        """Print the answer to a line, and keep both; or do what the line commands.

        An interrupt on the terminal ends the answer there.
        """
        if text.strip() == CLEAR:
            self.messages = list(self.first)
            return
        asked = [*self.messages, {"role": "user", "content": text}]
        growing = self.answerer.growing(self.write)
        try:
            self._tell_if_cut(asked)
            answer = self.answerer.answer(asked, growing)
        except UserError as error:
            if not self.is_terminal:
                raise
            print(f"error: {error}", file=sys.stderr)
            return
        except KeyboardInterrupt:
            if not self.is_terminal:
                raise
            answer = growing.written
        if self.is_terminal:
            growing.finish(answer)
            print()
        else:
            print(answer, flush=True)
        if answer:
            self.messages = [*asked, {"role": "assistant", "content": answer}]

    def _tell_if_cut(self, asked: list[dict]) -> None:
        """Say on the standard error that a dialogue is too long to be read whole."""
        self.answerer.encode(asked)  # refuses what even cutting does not make fit
        length, most = self.answerer.length(asked), self.answerer.limits.max_source_length
        if length > most:
            print(
                f"warning: {length} tokens, more than --max_source_length {most}: the oldest rounds "
                f"are left out, or the question's end ({CLEAR} begins anew)",
                file=sys.stderr,
            )

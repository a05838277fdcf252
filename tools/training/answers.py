"""A model's answers, by the payload's own functions: to a prompt what --do_predict writes for it.

Needs a training stack's python (see payload.py).
"""

from __future__ import annotations

import contextlib
import itertools
import types
from collections.abc import Callable
from dataclasses import dataclass, replace

from tools.errors import UserError
from tools.training import payload

ENCODINGS = {"chatglm": "chatglm_encoding", "causal": "causal_encoding"}


@dataclass(frozen=True)
class Limits:
    """``max_source_length`` tokens are read, at most ``max_new_tokens`` are answered."""

    max_source_length: int = 1024
    max_new_tokens: int = 256
    num_beams: int = 1  # more of them cannot be shown while they grow


def series_of(tokenizer) -> str:
    """The series of a tokenizer: chatglm where its encoding lays a dialogue out, which refuses others."""
    messages = payload.module("dialogues").as_messages([], "a", "a")
    limits = types.SimpleNamespace(max_source_length=1024, max_target_length=1024, learn="last")
    try:
        payload.module(ENCODINGS["chatglm"]).encode_pair(tokenizer, messages, limits)
    except ValueError:
        return "causal"
    return "chatglm"


def stops(model, tokenizer, series: str) -> list[int]:
    """The ids that end an answer: those that training taught, and the model's own.

    Raises ValueError for a chat template that cannot be learnt.
    """
    learnt = payload.module(ENCODINGS[series]).stop_ids(tokenizer)
    return payload.module("prediction")._all_stop_ids(model, tokenizer, learnt)


def _within(model, limits: Limits) -> Limits:
    """The limits, lowered to a model that looks its positions up in a table."""
    most, is_table = payload.module("positions").position_limit(model)
    if not is_table or limits.max_source_length + limits.max_new_tokens <= most:
        return limits
    if limits.max_new_tokens >= most - 1:
        raise UserError(f"the model has {most} positions: lower --max_new_tokens")
    return replace(limits, max_source_length=most - limits.max_new_tokens)


class Growing:
    """An answer while it is generated: what transformers calls a streamer.

    Its text goes to ``write`` as far as the tokens to come cannot change it.
    """

    def __init__(self, tokenizer, stops: list[int], lead: list[int], write: Callable[[str], None]):
        self.tokenizer, self.stops, self.lead, self.write = tokenizer, stops, lead, write
        self.ids: list[int] | None = None  # None until the prompt has passed
        self.written = ""

    def put(self, ids) -> None:
        """Take the prompt, then a token at a time."""
        if self.ids is None:
            self.ids = []
            return
        self.ids += ids.flatten().tolist()
        self._show(self.text().rstrip("\ufffd").rstrip())  # half a character, blanks of an end

    def end(self) -> None:
        """The last token has come."""

    def text(self) -> str:
        """The answer so far, as the payload decodes it."""
        ids = list(itertools.takewhile(lambda i: i not in self.stops, self.ids or []))
        lead = self.lead[: len(ids)]
        ids = ids[len(lead) :] if ids[: len(lead)] == lead else ids
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def finish(self, text: str) -> None:
        """Write what is left of ``text``, the whole answer."""
        if not text.startswith(self.written):  # later tokens did change it
            self.write("\n")
            self.written = ""
        self._show(text)

    def _show(self, text: str) -> None:
        if text.startswith(self.written):
            self.write(text[len(self.written) :])
            self.written = text


class Answerer:
    """A model with its tokenizer, and how the dialogues that it was trained on are written."""

    def __init__(self, model, tokenizer, series: str, limits: Limits):
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.tokenizer = model.to(self.device), tokenizer
        self.encoding = payload.module(ENCODINGS[series])
        self.prediction = payload.module("prediction")
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.limits = _within(model, limits)
        self.stops = stops(model, tokenizer, series)
        self.lead = self.encoding.lead_ids(tokenizer)

    def encode(self, messages: list[dict], limits: Limits | None = None) -> list[int]:
        """The ids of a dialogue whose answer is to come.

        Raises UserError for one that the format has no place for.
        """
        try:
            return self.encoding.encode_prompt(self.tokenizer, messages, limits or self.limits)
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from None

    def length(self, messages: list[dict]) -> int:
        """How many tokens the dialogue takes uncut."""
        return len(self.encode(messages, Limits(max_source_length=1 << 40)))

    def growing(self, write: Callable[[str], None]) -> Growing:
        """An answer to be, for ``answer``."""
        return Growing(self.tokenizer, self.stops, self.lead, write)

    def answer(self, messages: list[dict], growing: Growing) -> str:
        """The answer to a dialogue, which meanwhile goes to ``growing``."""
        import torch

        generate = _Streaming(self.model, growing)
        device = types.SimpleNamespace(device=self.device)
        ids = self.encode(messages)
        with torch.no_grad(), self._precision():
            [text] = self.prediction._generate_answers(
                generate, self.tokenizer, [ids], self.stops, self.lead, self.limits, device, False
            )
        return text

    def _precision(self) -> contextlib.AbstractContextManager:
        """That of the generated script, where an adapter's float32 weights are among half ones."""
        import torch

        half = payload.module("trainer_settings")._half_beside_float(self.model)
        if half is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=half)


class _Streaming:
    """A model that generates as it is told, and tells ``growing`` each token."""

    def __init__(self, model, growing: Growing):
        self.model, self.growing = model, growing

    def generate(self, **options):
        return self.model.generate(**options, streamer=self.growing)

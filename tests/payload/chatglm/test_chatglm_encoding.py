"""The encoding against an independent statement of ChatGLM-6B's tuning convention."""

import types

import pytest

hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("transformers")
from chatglm_6b_layout import build_prompt
from chatglm_encoding import encode_pair, encode_prompt, stop_ids
from conftest import messages
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_lora import CHARACTERS, EOP, GMASK, SOP

TEXT = st.text(st.sampled_from(CHARACTERS), max_size=30)
FULL = TEXT.filter(bool)


def limits(source, target):
    return types.SimpleNamespace(max_source_length=source, max_target_length=target, learn="last")


def stated_prompt(prompt, history):
    """The template as ChatGLM-6B's `chat` states it, for any number of rounds."""
    if len(history) == 0:
        return prompt
    text = ""
    for number in range(len(history)):
        text += "[Round " + str(number) + "]\n问：" + history[number][0]
        text += "\n答：" + history[number][1] + "\n"
    return text + "[Round " + str(len(history)) + "]\n问：" + prompt + "\n答："


def stated_row(tokenizer, prompt, history, response, source, target):
    """ChatGLM-6B's tuning recipe, token by token: (input id, label) pairs.

    A prompt too long loses its end until one token below its limit, a response until two below.
    Nothing up to the mask is learnt; the start, the response and the end are. Unlike the recipe,
    which would lose the question, what is too long first loses its oldest rounds.
    """
    for first in range(len(history) + 1):
        stated = stated_prompt(prompt, history[first:])
        context = list(tokenizer.encode(stated, add_special_tokens=False))
        if len(context) <= source - 1:
            break
    answer = list(tokenizer.encode(response, add_special_tokens=False))
    while len(context) > source - 1:
        context.pop()
    while len(answer) > target - 2:
        answer.pop()
    return [(i, -100) for i in [*context, GMASK]] + [(i, i) for i in [SOP, *answer, EOP]]


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(
    prompt=TEXT,
    history=st.lists(st.tuples(TEXT, TEXT), max_size=3),
    response=FULL,
    source=st.integers(2, 150),
    target=st.integers(3, 40),
)
@example(prompt="<sop>", history=[], response="0", source=30, target=20)
@example(prompt="a<sop>b", history=[("<sop>", "[gMASK]")], response="<sop>", source=90, target=20)
def test_rows_follow_the_convention(tokenizer, prompt, history, response, source, target):
    row = encode_pair(tokenizer, messages(prompt, history, response), limits(source, target))
    stated = stated_row(tokenizer, prompt, history, response, source, target)
    assert list(zip(row["input_ids"], row["labels"])) == stated
    assert len(row["input_ids"]) == len(row["labels"]) <= source + target
    asked = encode_prompt(tokenizer, messages(prompt, history), limits(source, target))
    assert asked == [i for i, label in stated if label == -100] + [SOP]
    assert row["input_ids"][-1:] == stop_ids(tokenizer) == [EOP]
    whole = encode_pair(
        tokenizer,
        messages(prompt, history, response),
        limits(max(row["source_length"], 2), row["target_length"]),
    )
    assert whole["input_ids"] == [
        i for i, _ in stated_row(tokenizer, prompt, history, response, 10**6, 10**6)
    ]


def test_a_known_row(tokenizer):
    row = encode_pair(tokenizer, messages("你好", [], "谢谢"), limits(40, 20))
    hello, thanks = (tokenizer.encode(t, add_special_tokens=False) for t in ("你好", "谢谢"))
    assert len(hello) == len(thanks) == 2
    assert row["input_ids"] == [*hello, GMASK, SOP, *thanks, EOP]
    assert row["labels"] == [-100, -100, -100, SOP, *thanks, EOP]


def test_prompts():
    assert build_prompt("你好") == build_prompt("你好", []) == build_prompt("你好", None) == "你好"
    assert (
        build_prompt("c", [("a", "b"), ("你", "我")])
        == "[Round 0]\n问：a\n答：b\n[Round 1]\n问：你\n答：我\n[Round 2]\n问：c\n答："
    )


class OtherTokenizer:
    """Lays a pair out as Llama (start first) or as GPT-2 (no start at all) does."""

    bos_token_id, eos_token_id = 1, 2

    def __init__(self, prefix):
        self.prefix = prefix

    def encode(self, text, add_special_tokens):
        return [5] * len(text)

    def build_inputs_with_special_tokens(self, first, second):
        return [*self.prefix, *first, *second]


@pytest.mark.parametrize("prefix", [[1], []])
def test_other_layouts_are_refused(prefix):
    with pytest.raises(ValueError, match="OtherTokenizer does not put"):
        encode_pair(OtherTokenizer(prefix), messages("a", [], "b"), limits(10, 10))


def test_a_response_without_tokens_is_refused(tokenizer):
    with pytest.raises(ValueError, match="encodes to no tokens"):
        encode_pair(tokenizer, messages("a", [], ""), limits(10, 10))


def test_the_oldest_rounds_go_first(tokenizer):
    history = [("old", "x" * 30), ("new", "y")]
    ids = encode_prompt(tokenizer, messages("now?", history), limits(40, 20))
    kept = stated_prompt("now?", history[1:])
    assert ids[:-2] == tokenizer.encode(kept, add_special_tokens=False)


def test_what_has_no_place_is_refused(tokenizer):
    system = [{"role": "system", "content": "s"}, *messages("a", [], "b")]
    with pytest.raises(ValueError, match="no place for a system message"):
        encode_pair(tokenizer, system, limits(10, 10))
    every = types.SimpleNamespace(max_source_length=9, max_target_length=9, learn="all")
    with pytest.raises(ValueError, match="--learn all: ChatGLM-6B reads"):
        encode_pair(tokenizer, messages("a", [], "b"), every)

"""The layouts of ChatGLM2, ChatGLM3 and GLM-4 against independent statements of their recipes'."""

import types

import pytest

hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("transformers")
from chatglm_encoding import encode_pair, encode_prompt, lead_ids, stop_ids
from conftest import messages
from glm_tokenizers import ChatGLM2Tokenizer, ChatGLM3Tokenizer, GLM4Tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_response import PairCollator, encode_datasets

TOKENIZERS = {
    kind.__name__: kind() for kind in (ChatGLM2Tokenizer, ChatGLM3Tokenizer, GLM4Tokenizer)
}
TEXT = st.text(st.sampled_from("ab c你好\n<|#é🙂"), max_size=12)
FULL = TEXT.filter(str.strip)
SYSTEM = {"role": "system", "content": "是谁"}
ALL = 10**6


def limits(source=ALL, target=ALL, learn="last"):
    return types.SimpleNamespace(max_source_length=source, max_target_length=target, learn=learn)


def stated_prompt(tokenizer, asked):
    """What a dialogue up to the open question is to its model, as (id, learnt with all) pairs."""
    code = tokenizer.ids.__getitem__
    if isinstance(tokenizer, ChatGLM2Tokenizer):
        text = ""
        for number in range(0, len(asked), 2):
            text += "[Round " + str(number // 2 + 1) + "]\n\n问：" + asked[number]["content"]
            text += "\n\n答："
            if number + 1 < len(asked):
                text += asked[number + 1]["content"] + "\n\n"
        return [(i, False) for i in [code("[gMASK]"), code("sop"), *tokenizer.spell(text)]]
    sop = "<sop>" if isinstance(tokenizer, GLM4Tokenizer) else "sop"
    found, after_answer = [(code("[gMASK]"), False), (code(sop), False)], False
    for message in asked:
        is_answer = message["role"] == "assistant"
        found.append((code("<|" + message["role"] + "|>"), after_answer))
        found += [(i, is_answer) for i in tokenizer.spell("\n")]
        found += [(i, is_answer) for i in tokenizer.spell(message["content"])]
        after_answer = is_answer
    return [*found, (code("<|assistant|>"), False)]


def stated_cut(tokenizer, asked, most):
    """The prompt that is kept: without its oldest rounds, then without the question's end."""
    first = int(asked[0]["role"] == "system")
    while True:
        found = stated_prompt(tokenizer, asked)
        if len(found) <= most:
            return found
        if len(asked) > first + 1:
            del asked[first : first + 2]
        elif len(asked[-1]["content"]) == 1:
            return None
        else:
            asked[-1] = {"role": "user", "content": asked[-1]["content"][:-1]}


def stated_answer(tokenizer, text, most):
    """What is learnt of an answer, up to `most` ids of whole characters."""
    lead = [] if isinstance(tokenizer, ChatGLM2Tokenizer) else tokenizer.spell("\n")
    end = "<|user|>" if isinstance(tokenizer, GLM4Tokenizer) else "</s>"
    while len(lead) + len(tokenizer.spell(text)) + 1 > most:
        text = text[:-1]
    return [*lead, *tokenizer.spell(text), tokenizer.ids[end]]


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    prompt=FULL,
    history=st.lists(st.tuples(TEXT, TEXT), max_size=3),
    response=FULL,
    has_system=st.booleans(),
    learn=st.sampled_from(["last", "all"]),
    source=st.integers(2, 120),
    target=st.integers(8, 40),
)
def test_rows_follow_the_recipe(kind, prompt, history, response, has_system, learn, source, target):
    tokenizer, row = TOKENIZERS[kind], messages(prompt, history, response)
    if kind == "ChatGLM2Tokenizer":
        learn = "last"
    elif has_system:
        row = [SYSTEM, *row]
    stated = stated_cut(tokenizer, row[:-1], source)
    if stated is None:
        with pytest.raises(ValueError, match="leaves no room for the prompt"):
            encode_pair(tokenizer, row, limits(source, target, learn))
        return
    answer = stated_answer(tokenizer, response, target)
    found = encode_pair(tokenizer, row, limits(source, target, learn))
    assert found["input_ids"] == [i for i, _ in stated] + answer
    learnt = [i if is_learnt and learn == "all" else -100 for i, is_learnt in stated]
    assert found["labels"] == learnt + answer
    assert len(found["labels"]) <= source + target
    asked = encode_prompt(tokenizer, row[:-1], limits(source))
    assert asked == [i for i, _ in stated]
    assert answer[: len(lead_ids(tokenizer))] == lead_ids(tokenizer)
    assert answer[-1] in stop_ids(tokenizer)
    assert found["source_length"] == len(stated_prompt(tokenizer, row[:-1]))
    assert found["target_length"] == len(stated_answer(tokenizer, response, ALL))


def test_a_known_row_of_chatglm2():
    tokenizer = TOKENIZERS["ChatGLM2Tokenizer"]
    row = encode_pair(tokenizer, messages("b", [], "c"), limits())
    spelt = tokenizer.spell("[Round 1]\n\n问：b\n\n答：")
    context = [tokenizer.ids["[gMASK]"], tokenizer.ids["sop"], *spelt]
    answer = [tokenizer.ids["▁"], ord("c"), tokenizer.ids["</s>"]]
    assert row["input_ids"] == [*context, *answer]
    assert row["labels"] == [-100] * len(context) + answer


@pytest.mark.parametrize(
    ("kind", "line", "end"),
    [("ChatGLM3Tokenizer", "▁\n", "</s>"), ("GLM4Tokenizer", "\n", "<|user|>")],
)
def test_a_known_row_of_roles(kind, line, end):
    tokenizer = TOKENIZERS[kind]
    row = encode_pair(tokenizer, messages("d", [("a", "b")], "e"), limits(learn="all"))
    start = line[:-1]
    # (text or special token, whether it is learnt); two special tokens come first
    parts = [("<|user|>", 0), (line, 0), (start + "a", 0), ("<|assistant|>", 0)]
    parts += [(line, 1), (start + "b", 1), ("<|user|>", 1), (line, 0), (start + "d", 0)]
    parts += [("<|assistant|>", 0), (line, 1), (start + "e", 1), (end, 1)]
    stated = []
    for text, learnt in parts:
        names = [text] if text in tokenizer.ids else text
        stated += [(tokenizer.ids.get(n, ord(n[0])), learnt) for n in names]
    assert row["input_ids"][2:] == [i for i, _ in stated]
    assert row["labels"] == [-100, -100, *(i if learnt else -100 for i, learnt in stated)]


def test_what_ends_and_begins_an_answer():
    for kind, ends in (
        ("ChatGLM2Tokenizer", ["</s>"]),
        ("ChatGLM3Tokenizer", ["</s>", "<|user|>", "<|observation|>"]),
        ("GLM4Tokenizer", ["<|endoftext|>", "<|user|>", "<|observation|>"]),
    ):
        tokenizer = TOKENIZERS[kind]
        assert stop_ids(tokenizer) == [tokenizer.ids[end] for end in ends]
        lead = [] if kind == "ChatGLM2Tokenizer" else tokenizer.spell("\n")
        assert lead_ids(tokenizer) == lead


def test_what_has_no_place_is_refused():
    tokenizer = TOKENIZERS["ChatGLM2Tokenizer"]
    with pytest.raises(ValueError, match="ChatGLM2-6B's format has no place for a system message"):
        encode_pair(tokenizer, [SYSTEM, *messages("a", [], "b")], limits())
    with pytest.raises(ValueError, match="--learn all: in ChatGLM2-6B's format"):
        encode_pair(tokenizer, messages("a", [], "b"), limits(learn="all"))
    for tokenizer in TOKENIZERS.values():
        with pytest.raises(ValueError, match="encodes to no tokens"):
            encode_pair(tokenizer, messages("a", [], ""), limits())
        around = len(stated_answer(tokenizer, "", ALL))
        with pytest.raises(ValueError, match=f"--max_target_length {around} leaves no room"):
            encode_pair(tokenizer, messages("a", [], "b"), limits(target=around))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_from_data_to_batches(kind, data_args, training_args):
    datasets = pytest.importorskip("datasets")
    tokenizer = TOKENIZERS[kind]
    data_args.history_column, data_args.max_source_length = "history", 80
    rows = [
        {"prompt": "你好", "response": "谢谢🙂", "history": [["a", "b"]]},
        {"prompt": "a", "response": "b", "history": []},
    ]
    raw = datasets.DatasetDict(train=datasets.Dataset.from_list(rows))
    encoded = encode_datasets(raw, encode_pair, tokenizer, data_args, training_args(do_train=True))
    first, second = (
        encode_pair(tokenizer, messages(r["prompt"], r["history"], r["response"]), limits())
        for r in rows
    )
    batch = PairCollator(tokenizer, data_args, pad_to_multiple_of=1)(list(encoded["train"]))
    assert set(batch) == {"input_ids", "labels"}
    missing = len(first["labels"]) - len(second["labels"])
    assert batch["labels"].tolist() == [first["labels"], second["labels"] + [-100] * missing]
    pad = [tokenizer.pad_token_id] * missing
    assert batch["input_ids"].tolist() == [first["input_ids"], second["input_ids"] + pad]

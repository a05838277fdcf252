"""Real chat templates, those that trl carries, against `causal_encoding`: a table.

python -m tests.payload.causal.templates_table, in a stack with trl. What is right is said here by
transformers' own rendering alone.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
for layer in ("common", "causal"):
    if str(ROOT / "patches" / layer) not in sys.path:
        sys.path.insert(0, str(ROOT / "patches" / layer))

from causal_encoding import encode_pair, encode_prompt, stop_ids

THOUGHT = "<think>\nhm, well\n</think>\n\nYes."
QUESTION = "How? 你好"
# What may be a special token where a template or what it writes spells it so.
SPECIAL = re.compile(r"<[|｜][^|｜<>\s]+[|｜]?>|<\|?/?[a-z_]+\|?>|\[/?[A-Za-z_]+\](?!\[)")


def dialogue(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]


PART = re.compile("(<[^<>]*)?")  # of a tag that both begin with


DIALOGUES = {
    "one turn": dialogue(QUESTION, "So."),
    "earlier turns": dialogue("One?", "Two.", "Three?", "Four.", QUESTION, "So."),
    "a system": dialogue(QUESTION, "So.", system="Be brief."),
    "a system, earlier turns": dialogue("One?", "Two.", QUESTION, "So.", system="Be brief."),
    "a thought": dialogue(QUESTION, THOUGHT),
    "earlier thoughts": dialogue("One?", THOUGHT, QUESTION, THOUGHT),
    "thought only then": dialogue("One?", THOUGHT, QUESTION, "So."),
    "thought only now": dialogue("One?", "Two.", QUESTION, THOUGHT),
    "a cramped thought": dialogue(QUESTION, "<think>hm</think>Yes."),
    "a thought's end": dialogue(QUESTION, "hm\n</think>\n\nYes."),
    "blanks around": dialogue(QUESTION, "  \n So. \n\n"),
    "line breaks first": dialogue("One?", "\n\nTwo.", QUESTION, "\n\nSo."),
    "other scripts": dialogue("नमस्ते 🙂", "é你好🙂👍🏽\u200d ​ ﷽"),
    "an echo": dialogue("So.", "So.", "So.", "So."),
    "a word of the format": dialogue(QUESTION, "assistant model user think"),
    "a bracket first": dialogue("<b>?", "<b>Two</b>", QUESTION, "<b> a < b > c</b>"),
    "a letter": dialogue("a", "b"),
    "special tokens": dialogue(QUESTION, "It ends with <|im_end|> or </s> or <|eot_id|>."),
    "code": dialogue(QUESTION, "```\nif a:\n    b <  c\n```\n[INST] {{ x }} {% if %}"),
}
COLUMNS = ("one turn", "earlier turns", "a system", "a thought", "earlier thoughts")


def templates() -> dict[str, str]:
    """{name: text} of the templates that trl carries, {} where it is not installed."""
    found = importlib.util.find_spec("trl")
    if found is None:
        return {}
    folder = Path(found.submodule_search_locations[0]) / "chat_templates"
    return {file.stem: file.read_text("utf-8") for file in sorted(folder.glob("*.jinja"))}


@functools.cache
def make_tokenizer(template: str):
    """A byte-level tokenizer whose special tokens are all that the template may take for such."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    corpus = (ROOT / "tests" / "toy_chatglm" / "corpus.txt").read_text("utf-8")
    # As real vocabularies have them: tokens that may reach over from a prompt into an answer.
    bpe.train_from_iterator([*corpus.splitlines(), *["x\n\n\n  y >\n\n> (a)"] * 500], trainer)
    special = {"<s>", "</s>", *SPECIAL.findall(template)}
    bpe.add_special_tokens(
        [tokenizers.AddedToken(text, special=True, normalized=False) for text in sorted(special)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )


def limits(source=100_000, target=100_000, learn="last"):
    return types.SimpleNamespace(max_source_length=source, max_target_length=target, learn=learn)


def spell(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def render(tokenizer, messages, is_open=False) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_open)


def agreed(one: str, other: str) -> str:
    return os.path.commonprefix([one, other])  # noqa: RUF071


def parts(text: str) -> list[str]:
    """What is left of an answer however its tags and the blanks around them are written."""
    return [p.strip() for p in re.split(r"<[^<>]*>", text) if p.strip()]


def judge(tokenizer, messages) -> str:
    """ "right" where a row is what the template writes, "refused: …"; AssertionError where not."""
    *asked, answer = messages
    try:
        row = encode_pair(tokenizer, messages, limits())
    except ValueError as error:
        return f"refused: {error}"
    prompt = encode_prompt(tokenizer, asked, limits())
    ids, start = row["input_ids"], len(prompt)
    assert ids[:start] == prompt, "prediction asks otherwise"
    assert row["labels"] == [-100] * start + ids[start:]
    assert (row["source_length"], row["target_length"]) == (start, len(ids) - start)
    waiting, answered = render(tokenizer, asked, True), render(tokenizer, messages)
    text, learnt = spell(tokenizer, prompt), spell(tokenizer, ids[start:])
    assert spell(tokenizer, ids) == text + learnt

    # The prompt: the open text, or as much of it as an answered dialogue has.
    if text != waiting:
        common = agreed(
            render(tokenizer, [*asked, {"role": "assistant", "content": "(a)"}]), waiting
        )
        assert common != waiting, "the prompt is not what the template writes open"
        assert common.startswith(text) and PART.fullmatch(common.removeprefix(text))
    assert answered.startswith(text)

    # The end: the template's, or what begins the next turn, or the end of the text.
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    stop = stop_ids(tokenizer)
    assert ids[-1] in special and tokenizer.eos_token_id in stop
    count = next(n for n in range(1, len(ids)) if ids[-n - 1] not in special or ids[-n] == stop[0])
    assert ids[-count] == stop[0]
    plain = dialogue("?", "(a)", "?")
    following = render(tokenizer, plain, True).partition("(a)")[2]
    if answered.startswith(text + learnt):
        rest = answered.removeprefix(text + learnt)
        assert not rest.replace("</s>", "").strip(), f"not learnt: {rest!r}"
    elif (text + learnt).startswith(answered.rstrip()) and ids[-1] != tokenizer.eos_token_id:
        assert count == 1 and following.startswith(spell(tokenizer, ids[-1:]))
    else:
        assert ids[-1] == tokenizer.eos_token_id and count == 1
        rest = answered.removeprefix(spell(tokenizer, ids[:-1]))
        assert not rest.strip() and rest != answered
        assert not any(t in special for t in tokenizer.encode(rest, add_special_tokens=False))

    # The answer: whole, once, at its end.
    body = spell(tokenizer, ids[start:-count])
    wanted = parts(answer["content"])
    assert parts(body)[-len(wanted) :] == wanted
    if answer["content"].startswith("<think>"):
        turn = text.rpartition(messages[-2]["content"])[2] + learnt
        assert turn.count("<think>") == 1, "a thought begins twice"
    elif "</think>" not in answer["content"]:
        assert body.rstrip().endswith(answer["content"].strip())

    # The ids: those of the template's whole text, but where a token reaches over from the prompt.
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    if whole[:start] == prompt:
        known = len(ids) if answered.startswith(text + learnt) else len(ids) - count
        assert whole[:known] == ids[:known]
    return "right"


def judge_all(tokenizer, messages) -> str:
    """The same of `--learn all`: what is learnt of earlier answers."""
    try:
        row = encode_pair(tokenizer, messages, limits(learn="all"))
    except ValueError as error:
        return f"refused: {error}"
    last = encode_pair(tokenizer, messages, limits())
    assert {**row, "labels": None} == {**last, "labels": None}
    assert all(label in (-100, i) for i, label in zip(row["input_ids"], row["labels"]))
    turns, place = [], 0
    for i, label in enumerate([*row["labels"], -100]):
        if label == -100:
            if place < i:
                turns.append((place, i))
            place = i + 1
    places = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    assert len(turns) == len(places)
    ends = tokenizer.get_added_vocab().values()
    text = spell(tokenizer, row["input_ids"])
    for place, (start, stop) in zip(places[:-1], turns):
        before, learnt = (
            spell(tokenizer, row["input_ids"][a:b]) for a, b in ((0, start), (start, stop))
        )
        marked = [
            *messages[:place],
            {"role": "assistant", "content": "(a)"},
            *messages[place + 1 :],
        ]
        common = agreed(render(tokenizer, messages[:place], True), render(tokenizer, marked))
        if before.startswith(common):  # a token may reach over, of blanks
            assert not before.removeprefix(common).strip()
        else:
            assert common.startswith(before) and PART.fullmatch(common.removeprefix(before))
        wanted = parts(messages[place]["content"])
        body = parts(learnt)
        assert wanted and body[-1] == wanted[-1]
        assert body in (wanted[-1:], wanted) or body[-len(wanted) :] == wanted
        for message in messages:
            if message["role"] == "user":
                assert message["content"] == messages[place]["content"] or (
                    len(message["content"]) == 1 or message["content"] not in learnt
                )
        assert row["input_ids"][stop - 1] in ends or row["input_ids"][-1] == tokenizer.eos_token_id
        assert text.startswith(before + learnt)
    return "right"


def table(names=None) -> list[tuple[str, ...]]:
    """Rows of (template, a verdict a column, reasons)."""
    out = []
    for name, template in templates().items():
        if names and name not in names:
            continue
        tokenizer = make_tokenizer(template)
        verdicts, reasons = [], []
        for column in COLUMNS:
            said = judge(tokenizer, DIALOGUES[column])
            verdicts.append(said.partition(":")[0])
            reason = re.sub(r"^.*?chat template of \w+ ", "", said) if ":" in said else ""
            if reason and reason not in reasons:
                reasons.append(reason)
        verdicts.append(judge_all(tokenizer, DIALOGUES["earlier turns"]).partition(":")[0])
        out.append((name, *verdicts, "; ".join(reasons)))
    return out


def main() -> None:
    head = ("template", *COLUMNS, "learn all", "reason")
    for row in (head, ("---",) * len(head), *table()):
        print("|", " | ".join(row).replace("\n", " "), "|")


if __name__ == "__main__":
    main()

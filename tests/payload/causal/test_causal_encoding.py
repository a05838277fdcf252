"""The encoding against an independent statement of each family's dialogue format."""

import functools
import itertools
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

hypothesis = pytest.importorskip("hypothesis")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")
import causal_encoding
import lora
import prediction
import templates_table
from adapter_trainer import AdapterTrainer
from causal_encoding import encode_pair, encode_prompt, lead_ids, stop_ids
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from prompt_response import PairCollator
from templates_table import dialogue, judge, judge_all, limits, spell
from test_adapter_trainer import make_trainer
from test_lora import arguments

from tests import tiny_models

TEXT = st.text(st.sampled_from("ab c你好是的\n<|#é🙂"), max_size=25)
FULL = TEXT.filter(str.strip)
KNOWS_TEMPLATES = hasattr(transformers.PreTrainedTokenizerBase, "apply_chat_template")
TEMPLATES = pytest.mark.skipif(not KNOWS_TEMPLATES, reason="this release has no chat templates")
REAL = templates_table.templates() if KNOWS_TEMPLATES else {}
WITHOUT_REAL = pytest.mark.skip(reason="no chat templates to try: trl is not installed here")
tokenizer_of = functools.cache(tiny_models.make_tokenizer)
# What each family writes before a dialogue, around a system, around a question, before an answer,
# after an answer, and the token that ends an answer.
FORMATS = {
    "llama": (
        "<|begin_of_text|>",
        "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        "<|eot_id|>",
    ),
    "qwen2": (
        "",
        "<|im_start|>system\n{}<|im_end|>\n",
        "<|im_start|>user\n{}<|im_end|>\n",
        "<|im_start|>assistant\n",
        "<|im_end|>\n",
        "<|im_end|>",
    ),
    # No end of its own: the next turn's beginning is one.
    "glm4": ("[gMASK]<sop>", "<|system|>\n{}", "<|user|>\n{}", "<|assistant|>\n", "", "<|user|>"),
}
PLAIN = {
    "gpt2": ("", "<|endoftext|>"),
    "llama": ("<|begin_of_text|>", "<|end_of_text|>"),
    "qwen2": ("", "<|endoftext|>"),
    "glm4": ("[gMASK]<sop>", "<|endoftext|>"),
}
CASES = [(kind, False) for kind in PLAIN] + [(k, True) for k in FORMATS if KNOWS_TEMPLATES]
ROUNDS = st.lists(st.tuples(TEXT, TEXT), max_size=3)
SYSTEMS = st.none() | FULL


def stated_format(kind, template):
    if template:
        return FORMATS[kind]
    before, end = PLAIN[kind]
    turns = ("### System:\n{}\n\n", "### User:\n{}\n\n", "### Assistant:\n", "\n\n")
    return before, *turns, end


def stated_turns(kind, template, prompt, history, system=None):
    """A whole dialogue that waits for its last answer: text, (answer, its end) and so on."""
    before, system_turn, question, answer, after, end = stated_format(kind, template)
    clean = str.strip if (kind, template) == ("llama", True) else str
    text = before
    if system is not None:
        text += system_turn.format(clean(system))
    elif (kind, template) == ("qwen2", True):
        text += system_turn.format("你很小。")
    out = []
    for asked, answered in history:
        text += question.format(clean(asked)) + answer
        ended = end if template else ""
        out += [text, clean(answered) + ended]
        text = (after or end).removeprefix(ended) if template else after
        question = question.removeprefix("<|user|>") if not after else question
    return [*out, text + question.format(clean(prompt)) + answer]


def stated_prompt(kind, template, prompt, history, system=None):
    text = "".join(stated_turns(kind, template, prompt, history, system))
    return tokenizer_of(kind, template=template).encode(text, add_special_tokens=False)


def messages_of(prompt, history, *response, system=None):
    return dialogue(*itertools.chain(*history), prompt, *response, system=system)


@pytest.mark.parametrize(("kind", "template"), CASES)
def test_rows_follow_the_format(kind, template):
    tokenizer = tokenizer_of(kind, template=template)
    end = tokenizer.convert_tokens_to_ids(stated_format(kind, template)[-1])
    clean = str.strip if (kind, template) == ("llama", True) else str

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(TEXT, ROUNDS, FULL, st.integers(4, 40), SYSTEMS)
    @example("", [], "🙂", 4, None)
    def rows(prompt, history, response, target, system):
        messages = messages_of(prompt, history, response, system=system)
        context = stated_prompt(kind, template, prompt, history, system)
        answer = tokenizer.encode(clean(response), add_special_tokens=False)
        kept = list(answer)
        while len(kept) > target - 1 or (kept != answer and "\ufffd" in spell(tokenizer, kept)):
            kept.pop()
        if not kept:  # the first character alone takes more tokens
            with pytest.raises(ValueError, match="leaves no room for the response"):
                encode_pair(tokenizer, messages, limits(10_000, target))
            return
        row = encode_pair(tokenizer, messages, limits(10_000, target))
        stated = [(i, -100) for i in context] + [(i, i) for i in [*kept, end]]
        assert list(zip(row["input_ids"], row["labels"])) == stated
        assert row["attention_mask"] == [1] * len(stated)
        assert row["source_length"] == len(context)
        assert row["target_length"] == len(answer) + 1
        assert encode_prompt(tokenizer, messages[:-1], limits(10_000)) == context
        assert stop_ids(tokenizer)[0] == end

    rows()


@pytest.mark.parametrize(("kind", "template"), CASES)
def test_all_answers_are_learnt_where_asked(kind, template):
    tokenizer = tokenizer_of(kind, template=template)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(FULL, ROUNDS, SYSTEMS)
    def rows(prompt, history, system):
        messages = messages_of(prompt, history, "b", system=system)
        row = encode_pair(tokenizer, messages, limits(learn="all"))
        assert {**row, "labels": 0} == {**encode_pair(tokenizer, messages, limits()), "labels": 0}
        assert all(label in (-100, i) for i, label in zip(row["input_ids"], row["labels"]))
        turns = stated_turns(kind, template, prompt, history, system)
        answers = [text for text in turns[1::2] if text]
        learnt = [
            spell(tokenizer, [label for _, label in group])
            for is_learnt, group in itertools.groupby(
                enumerate(row["labels"][: row["source_length"]]), key=lambda pair: pair[1] != -100
            )
            if is_learnt
        ]
        # A token may reach over from blanks before an answer, or into those after it.
        assert [text.strip() for text in learnt] == [
            t.strip() for t in answers if t.strip()
        ] or any(text != text.strip() for text in answers)

    rows()


@pytest.mark.parametrize(("kind", "template"), CASES)
def test_what_is_too_long_loses_rounds_and_then_the_prompts_end(kind, template):
    tokenizer = tokenizer_of(kind, template=template)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(FULL, ROUNDS, st.integers(1, 80), SYSTEMS)
    def prompts(prompt, history, most, system):
        states = functools.partial(stated_prompt, kind, template, system=system)
        whole = [states(prompt, history[gone:]) for gone in range(len(history) + 1)]
        fits = next((ids for ids in whole if len(ids) <= most), None)
        cut = [states(prompt[:kept], []) for kept in range(1, len(prompt) + 1)]
        # The text of one more character may take fewer tokens, but not where the limit is met.
        assume(fits is not None or len(cut[0]) <= most or all(len(ids) > most for ids in cut))
        messages = messages_of(prompt, history, system=system)
        if fits is None and len(cut[0]) > most:
            with pytest.raises(ValueError, match=f"--max_source_length {most} leaves no room") as e:
                encode_prompt(tokenizer, messages, limits(most))
            assert f"takes {len(cut[0])} tokens" in str(e.value)
            return
        found = encode_prompt(tokenizer, messages, limits(most))
        assert len(found) <= most
        row = encode_pair(
            tokenizer, [*messages, {"role": "assistant", "content": "b"}], limits(most)
        )
        assert row["input_ids"][: len(found)] == found
        assert row["source_length"] == len(whole[0])
        if fits is not None:
            assert found == fits
            return
        assert any(found == one and len(more) > most for one, more in zip(cut, cut[1:])), (
            "not the longest beginning that fits"
        )

    prompts()


@TEMPLATES
def test_the_template_is_used_as_transformers_uses_it():
    tokenizer = tokenizer_of("llama")
    messages = dialogue("a", "b", "你好")
    ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    ids = ids if isinstance(ids, list) else ids["input_ids"]
    assert encode_prompt(tokenizer, messages, limits(100)) == ids


def with_template(template):
    """A tokenizer of the Llama-like kind with another template and `<|end_of_text|>` at the end."""
    tokenizer = tiny_models.make_tokenizer("llama")
    tokenizer.chat_template = template
    return tokenizer


def learnt(tokenizer, *contents):
    """The prompt and what is learnt, as texts."""
    row = encode_pair(tokenizer, dialogue(*contents), limits())
    start = row["source_length"]
    return spell(tokenizer, row["input_ids"][:start]), spell(tokenizer, row["input_ids"][start:])


TURN = "[{{ m['role'] }}] {{ m['content'] }}"
EACH = f"{{% for m in messages %}}{TURN}"
OPEN = "{% if add_generation_prompt %}[assistant]{% endif %}"
ENDS = [
    # What comes after a message, what is learnt of that, and the token that ends an answer.
    ("<|eot_id|>\n", "<|eot_id|>", "<|eot_id|>"),
    (
        "<|eot_id|>\n{% if loop.last and not add_generation_prompt %}{{ eos_token }}{% endif %}",
        "<|eot_id|>",
        "<|eot_id|>",
    ),
    (" {% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}", " <|end_of_text|>", None),
    ("<|end_header_id|><|eot_id|>\n", "<|end_header_id|><|eot_id|>", "<|end_header_id|>"),
    ("\n\n", "<|end_of_text|>", "<|end_of_text|>"),
    ("", "<|end_of_text|>", "<|end_of_text|>"),
    ("<|im_end|>\n", "<|end_of_text|>", "<|end_of_text|>"),  # no token of this tokenizer
]


@TEMPLATES
@pytest.mark.parametrize(("after", "end", "stop"), ENDS)
def test_the_end_is_what_the_template_puts_after_an_answer(after, end, stop):
    tokenizer = with_template(f"{EACH}{after}{{% endfor %}}{OPEN}")
    assert learnt(tokenizer, "a", "b")[1] == f" b{end}"
    stop = tokenizer.convert_tokens_to_ids(stop or "<|end_of_text|>")
    assert stop_ids(tokenizer) == list(dict.fromkeys([stop, tokenizer.eos_token_id]))


@TEMPLATES
@pytest.mark.parametrize(
    ("between", "end"),
    [
        ("<|start_header_id|>", "<|start_header_id|>"),
        ("{{ '\n' }}<|start_header_id|><|eot_id|>", "\n<|start_header_id|>"),
        ("\nUser<|eot_id|>", "<|end_of_text|>"),  # what a token comes after is no end
    ],
)
def test_without_an_end_the_next_turn_begins_with_one(between, end):
    user = f"{{% if m['role'] == 'user' %}}{between}{{% endif %}}"
    tokenizer = with_template(EACH.replace("[{{", user + "[{{") + "{% endfor %}" + OPEN)
    assert learnt(tokenizer, "a", "b", "c", "d")[1] == f" d{end}"


THINKS = "<think>\n\n</think>\n\n"
BODIES = {
    # (before an answer when open, before it when closed): what is prompt, what is learnt before it
    "an empty thought": ("<|eot_id|>", f"<|eot_id|>{THINKS}", "<|eot_id|>", THINKS),
    "a channel": ("", "<|start_header_id|>final<|end_header_id|>", "", None),
    "a line break": ("<|eot_id|>", "<|eot_id|>\n", "<|eot_id|>", "\n"),
    "an open thought": ("<think>\n", f"{THINKS}", "<think>\n", "\n</think>\n\n"),
    "what is dropped": ("<|eot_id|><think>\n", "<|eot_id|>", "<|eot_id|>", ""),
    "a tag's beginning in common": ("<think>\n", "</think>", "", "</think>"),
    "a line break less": ("<think>\n", "<think></think>", "<think>", "</think>"),
}


@TEMPLATES
@pytest.mark.parametrize(("opened", "closed", "prompt", "lead"), BODIES.values(), ids=BODIES)
def test_what_stands_before_an_answer_is_learnt(opened, closed, prompt, lead):
    lead = closed if lead is None else lead
    tokenizer = with_template(
        "{% for m in messages %}{% if m['role'] == 'user' %}Q{{ m['content'] }}"
        f"{{% else %}}A{closed}{{{{ m['content'] }}}}<|eot_id|>{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}A{opened}{{% endif %}}"
    )
    assert learnt(tokenizer, "a", "b") == (f"QaA{prompt}", f"{lead}b<|eot_id|>")
    asked = encode_prompt(tokenizer, dialogue("a"), limits())
    assert spell(tokenizer, asked) == f"QaA{prompt}"
    row = encode_pair(tokenizer, dialogue("a", "b", "c", "d"), limits(learn="all"))
    said = spell(tokenizer, [label for label in row["labels"] if label != -100])
    assert said == f"{lead}b<|eot_id|>{lead}d<|eot_id|>"
    # What prediction takes away again before an answer is read.
    before = lead_ids(tokenizer)
    assert spell(tokenizer, before) == lead
    row = encode_pair(tokenizer, dialogue("a", "b"), limits())
    assert row["input_ids"][len(asked) :][: len(before)] == before


def thinking(closed):
    return with_template(
        "{% for m in messages %}{% if m['role'] == 'user' %}Q{{ m['content'] }}"
        f"{{% else %}}A{closed}<|eot_id|>{{% endif %}}{{% endfor %}}"
        "{% if add_generation_prompt %}A<think>\n{% endif %}"
    )


@TEMPLATES
def test_a_thought_that_the_prompt_begins_is_begun_once():
    taken = (
        "{% if '</think>' not in m['content'] %}<think>\n\n</think>{% endif %}{{ m['content'] }}"
    )
    expected = ("QaA<think>\n", "c\n</think>b<|eot_id|>")
    assert learnt(thinking(taken), "a", "<think>\nc\n</think>b") == expected
    doubling = thinking("<think>\n{{ m['content'] }}")
    assert learnt(doubling, "a", "c\n</think>b") == expected
    with pytest.raises(ValueError, match="itself writes the <think> that the response begins"):
        learnt(doubling, "a", "<think>\nc\n</think>b")


CHANGES = {
    "m['content'].split('</think>')[-1]": "c</think>b",
    "m['content'] | upper": "b",
    "m['content'] | tojson": 'b "c"',
    "m['content'] | escape": "b < c",
    "m['content'].split() | join(' ')": "b\n  c",
    "m['content'][:20]": "b" * 21,
}


@TEMPLATES
@pytest.mark.parametrize(("written", "answer"), CHANGES.items())
def test_an_answer_that_is_written_otherwise_is_refused(written, answer):
    turn = f"{{% if m['role'] == 'user' %}}{{{{ m['content'] }}}}{{% else %}}{{{{ {written} }}}}"
    tokenizer = with_template(f"{{% for m in messages %}}{turn}{{% endif %}}{{% endfor %}}")
    with pytest.raises(ValueError, match=r"leaves out or changes a part|leaves out an answer"):
        learnt(tokenizer, "a", answer)


REFUSED = {
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}": (
        "leaves out an answer"
    ),
    f"{EACH}{{% if m['role'] == 'assistant' %}}{{{{ m['content'] }}}}{{% endif %}}{{% endfor %}}{OPEN}": (
        "or repeats it"
    ),
    "{{ raise_exception('No\n  tools') }}": "refuses this dialogue: TemplateError: No tools.",
    "{{ messages[0].content.text.text }}": "refuses this dialogue: UndefinedError",
    "{% if %}": "refuses this dialogue: TemplateSyntaxError",
    "{% for m in messages %}{{ m['content'][0] }}{% endfor %}": "leaves out what the user says",
    f"{{{{ messages | length }}}}{EACH}{{% endfor %}}{OPEN}": "writes a question otherwise",
    f"{{% set messages = messages[-2:] %}}{EACH}{{% endfor %}}{OPEN}": None,
}


@TEMPLATES
@pytest.mark.parametrize(("template", "said"), REFUSED.items(), ids=map(str, range(len(REFUSED))))
def test_a_template_that_refuses_or_loses_a_text_is_refused(template, said):
    tokenizer = with_template(template)
    if said is None:  # but where there is nothing to lose
        assert learnt(tokenizer, "a", "b")[0] == "[user] a[assistant]"
    contents = ("a", "b") if said else ("aa", "bb", "cc", "dd")
    with pytest.raises(ValueError, match=re.escape(said or "leaves out")) as error:
        learnt(tokenizer, *contents)
    assert "\n" not in str(error.value)


@TEMPLATES
def test_a_template_without_systems_is_refused_with_one_only():
    refusing = "{% if m['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
    losing = "{% for m in messages if m['role'] != 'system' %}"
    for template in (EACH.replace("[{{", refusing + "[{{"), losing + TURN):
        tokenizer = with_template(f"{template}{{% endfor %}}{OPEN}")
        assert learnt(tokenizer, "a", "b")[1].startswith(" b")
        with pytest.raises(ValueError, match=r"No system|leaves out what the system says"):
            encode_pair(tokenizer, dialogue("a", "b", system="c"), limits())
        with pytest.raises(ValueError, match=r"No system|leaves out what the system says"):
            encode_prompt(tokenizer, dialogue("a", system="c"), limits())


@TEMPLATES
def test_several_templates_are_saved_and_saved_again(training_args, data_args, tmp_path):
    """Some tokenizers have one for each purpose, in a folder; dialogues take the default."""
    tokenizer = with_template({"default": f"{EACH}{{% endfor %}}{OPEN}", "rag": "no"})
    trainer = make_trainer(training_args(), data_args)
    trainer.processing_class = tokenizer
    for _ in range(2):
        trainer.save_model()
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert set(loaded.chat_template) == {"default", "rag"}
    asked = encode_prompt(loaded, dialogue("a"), limits(50))
    assert loaded.decode(asked) == "[user] a[assistant]"


@TEMPLATES
def test_the_date_may_change_between_prompt_and_answer(monkeypatch):
    dated = f"{{{{ strftime_now('%d') }}}}{EACH}<|eot_id|>{{% endfor %}}{OPEN}"
    tokenizer = with_template(dated)
    learnt(tokenizer, "a", "b")
    render, days = causal_encoding._render, iter(["1", "2", "2", "2"])
    monkeypatch.setattr(
        "dialogue_form._render", lambda *args: next(days) + render(*args), raising=True
    )
    monkeypatch.setattr(causal_encoding, "_render", lambda *args: next(days) + render(*args))
    assert learnt(tokenizer, "a", "b")[0].startswith("2")
    assert next(days, None) is None


def test_no_end_is_refused():
    tokenizer = tiny_models.make_tokenizer("gpt2")
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="has no end-of-text token") as error:
        encode_pair(tokenizer, dialogue("a", "b"), limits(50))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_response_is_refused(blank):
    with pytest.raises(ValueError, match="encodes to no tokens"):
        encode_pair(tokenizer_of("gpt2"), dialogue("a", blank), limits(50))


@TEMPLATES
def test_a_long_response_keeps_its_beginning_and_its_whole_end():
    each = EACH.replace("[{{", "{% if m['role'] == 'assistant' %}[think]{% endif %}[{{")
    each = each.replace("] {{", "]\n{{")
    tokenizer = with_template(f"{each}<|end_header_id|><|eot_id|>{{% endfor %}}")
    messages, end = dialogue("a", "b🙂" * 20), "<|end_header_id|><|eot_id|>"
    whole, length = (
        learnt(tokenizer, "a", "b🙂" * 20)[1],
        encode_pair(tokenizer, messages, limits())["target_length"],
    )
    lead = len(tokenizer.encode("[think][assistant]\n", add_special_tokens=False))
    for most in range(1, length + 2):
        if most < lead + 3:  # and two that end it
            with pytest.raises(ValueError, match=f"--max_target_length {most} leaves no room"):
                encode_pair(tokenizer, messages, limits(target=most))
            continue
        row = encode_pair(tokenizer, messages, limits(target=most))
        ids = row["input_ids"][row["source_length"] :]
        said = spell(tokenizer, ids)
        assert row["target_length"] == length and (min(most, length) - 4 < len(ids) <= most)
        assert said.endswith(end) and "\ufffd" not in said
        assert whole.startswith(said.removesuffix(end)) and "b" in said


@TEMPLATES
def test_no_token_reaches_over_from_the_prompt():
    """What two line breaks are one token of is asked for, and learnt, in two."""
    tokenizer = templates_table.make_tokenizer(
        "{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}assistant\n{% endif %}"
    )
    messages = dialogue("a", "\n\nb")
    row = encode_pair(tokenizer, messages, limits())
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert row["input_ids"] != whole
    assert spell(tokenizer, row["input_ids"]) == spell(tokenizer, whole)
    prompt = encode_prompt(tokenizer, messages[:-1], limits())
    assert row["input_ids"][: len(prompt)] == prompt
    assert tokenizer.convert_ids_to_tokens(prompt[-1:]) == ["Ċ"]


@TEMPLATES
def test_a_tokenizer_that_puts_a_space_before_every_text():
    """As sentencepiece does: the answer is not the beginning of a text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    merges = [("▁", "b"), ("▁", "U"), ("a", "b"), ("\n", "\n")]
    pieces = ["<unk>", "▁", *"\nabcUA:", *map("".join, merges)]
    bpe = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    bpe.decoder = decoders.Replace("▁", " ")
    bpe.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<s>", "</s>")])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        chat_template="{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
        "U: {{ m['content'] }}\nA:\n{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}",
    )

    def row(answer):
        messages = dialogue("a", answer, "c", answer)
        encoded = encode_pair(tokenizer, messages, limits(learn="all"))
        said = spell(tokenizer, [label for label in encoded["labels"] if label != -100])
        whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        return encoded["input_ids"], whole, said

    for answer in ("b", " b", "cab"):
        ids, whole, said = row(answer)
        assert ids == whole and said == f"{answer}</s>" * 2
    # Two line breaks are one token in the earlier turn; its second half can't be learnt alone.
    ids, _, said = row("\nb")
    assert tokenizer.convert_ids_to_tokens(ids[-4:]) == ["\n", "\n", "b", "</s>"]
    assert said == "b</s>\nb</s>"


@TEMPLATES
def test_a_blank_is_no_end_even_if_it_is_a_token():
    tokenizer = with_template(f"{EACH}<|eot_id|>\n{{% endfor %}}{OPEN}")
    tokenizer.add_tokens(["\n"])
    assert learnt(tokenizer, "a", "b")[1] == " b<|eot_id|>"


@TEMPLATES
def test_an_answer_that_looks_like_turns_is_not_told_from_them():
    tokenizer = with_template(f"{EACH}<|eot_id|>{{% endfor %}}{OPEN}")
    between = "<|eot_id|>[user] b<|eot_id|>[assistant] "
    messages = dialogue("a", f"y{between}z", "b", "c", "d", "e")
    encode_pair(tokenizer, messages, limits())
    with pytest.raises(ValueError, match="does not show where the earlier answers begin"):
        encode_pair(tokenizer, messages, limits(learn="all"))


LOOSE = {
    # Earlier answers; how it asks; how it begins: each another for some dialogues only.
    "leaves out earlier answers": f"{{% if m['role'] == 'user' or loop.last %}}{TURN}{{% endif %}}",
    "asks for the answer of this dialogue otherwise": (
        f"{TURN}<|eot_id|>{{% if loop.last and add_generation_prompt and loop.index > 1 %}}!{{% endif %}}"
    ),
    "writes this dialogue otherwise once it is answered": (
        f"{{% if loop.first and 'x' in messages[-1]['content'] %}}!{{% endif %}}{TURN}<|eot_id|>"
    ),
}


@TEMPLATES
@pytest.mark.parametrize(("said", "turn"), LOOSE.items())
def test_a_template_that_is_not_the_same_for_every_dialogue_is_refused(said, turn):
    tokenizer = with_template(f"{{% for m in messages %}}{turn}{{% endfor %}}{OPEN}")
    learnt(tokenizer, "a", "b")
    with pytest.raises(ValueError, match=said):
        learnt(tokenizer, "a", "b", "c", "x")
    if "answered" not in said:
        with pytest.raises(ValueError, match=said):
            encode_prompt(tokenizer, dialogue("a", "b", "c"), limits())


@pytest.mark.parametrize("name", list(REAL) or [pytest.param("", marks=WITHOUT_REAL)])
def test_real_templates_are_learnt_as_they_write(name):
    """Every dialogue: right, or refused with a reason. See templates_table."""
    tokenizer = templates_table.make_tokenizer(REAL[name])
    for messages in templates_table.DIALOGUES.values():
        judge(tokenizer, messages)
        judge_all(tokenizer, messages)


@pytest.mark.skipif(not REAL, reason=WITHOUT_REAL.kwargs["reason"])
def test_real_templates_are_seldom_refused():
    """The table: what is refused is what the template does not write."""
    assert len(REAL) > 30
    table = templates_table.table()
    print(*("| " + " | ".join(row) + " |" for row in table), sep="\n")
    refused = {name for name, verdict, *_ in table if verdict != "right"}
    # They take a message as a list of pictures and texts.
    assert {re.sub("_training$", "", name) for name in refused} <= {
        "idefics3",
        "llava_next",
        "smolvlm",
    }
    for _, *verdicts, reasons in table:
        assert all(verdict == "right" for verdict in verdicts) or reasons


SCRIPT = """
import functools, sys
sys.path.insert(0, {root!r})
from datasets.fingerprint import Hasher
{modules}
from tests import tiny_models
import types
tokenizer = tiny_models.make_tokenizer("llama")
limits = types.SimpleNamespace(max_source_length=90, max_target_length=20, learn="all")
messages = [{{"role": role, "content": "a"}} for role in ("user", "assistant") * 2]
encode = functools.partial(encode_pair, tokenizer, limits=limits)
fresh = Hasher.hash(encode)
encode(messages)
stop_ids(tokenizer)
assert Hasher.hash(encode) == fresh, "encoding changed the hash"
print("HASH", fresh)
import dill
assert dill.loads(dill.dumps(encode, recurse=True))(messages) == encode(messages)
"""


def test_other_processes_find_the_cache(tmp_path):
    """As blocks of one script: what is remembered of a tokenizer is no part of the hash."""
    patches = Path(causal_encoding.__file__).parents[1]
    texts = [
        (patches / f"{name}.py").read_text("utf-8")
        for name in (
            "common/user_error",
            "common/cut_response",
            "common/fit_dialogue",
            "causal/dialogue_form",
            "causal/causal_encoding",
        )
    ]
    grafted = r"^from (user_error|cut_response|fit_dialogue|dialogue_form) import (\([^)]*\)|.*)$"
    modules = "\n".join(re.sub(grafted, "", text, flags=re.M) for text in texts)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(patches.parent), modules=modules), "utf-8")

    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return next(line for line in done.stdout.splitlines() if line.startswith("HASH"))

    assert run("1") == run("2")


@pytest.fixture(params=list(tiny_models.KINDS))
def tiny(request, tmp_path):
    """Tokenizer and model of a kind, as a user loads them."""
    if request.param not in tiny_models.available():
        pytest.skip(f"this release of transformers has no {request.param} models")
    folder = tiny_models.build(request.param, tmp_path / "model")
    return (
        transformers.AutoTokenizer.from_pretrained(folder),
        transformers.AutoModelForCausalLM.from_pretrained(folder).eval(),
    )


PAIRS = [("hi", [], "hello"), ("你好吗", [("一", "二")], "好"), ("a b", [], "c" * 15)]


@pytest.mark.parametrize("learn", ["last", "all"])
def test_padding_changes_no_loss(tiny, data_args, learn):
    """A padded batch's loss is that of its response tokens, each row by itself."""
    tokenizer, model = tiny
    messages = [messages_of(*pair) for pair in PAIRS]
    rows = [encode_pair(tokenizer, each, limits(100, 20, learn)) for each in messages]
    collate = PairCollator(tokenizer, data_args, pad_to_multiple_of=8)
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["input_ids"]])
            logits = model(input_ids=ids).logits[0, :-1].float()
            wanted = [i for i, label in enumerate(row["labels"]) if label != -100]
            scores = logits.log_softmax(-1)
            total -= sum(scores[i - 1, row["input_ids"][i]].item() for i in wanted)
            count += len(wanted)
        batch = collate(rows)
        assert int(batch["attention_mask"].sum()) == sum(len(row["input_ids"]) for row in rows)
        loss = model(**batch).loss.item()
    assert loss == pytest.approx(total / count, rel=1e-4)


def test_batches_answer_as_single_prompts_do(tiny, training_args, data_args, tmp_path):
    """Padded on the left, with a mask, where the tokenizer has a padding token and where not."""
    tokenizer, model = tiny
    args = training_args()
    model = lora.add_lora(model, tokenizer, stop_ids, arguments(), args)
    trainer = AdapterTrainer(model=model, args=args)
    data_args.max_source_length, data_args.history_column = 100, "history"
    rows = [{"prompt": p, "history": [list(h) for h in history]} for p, history, _ in PAIRS]
    raw = {"test": datasets.Dataset.from_list(rows)}
    stops = prediction._all_stop_ids(model, tokenizer, stop_ids(tokenizer))

    def alone(prompt, history):
        ids = encode_prompt(tokenizer, messages_of(prompt, history), data_args)
        start = len(ids)
        with torch.no_grad():
            while len(ids) < start + data_args.max_new_tokens:
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
                if ids[-1] in stops:
                    ids.pop()
                    break
        return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()

    expected = [alone(p, history) for p, history, _ in PAIRS]
    for batch in (1, 8):
        args.per_device_eval_batch_size = batch
        prediction.predict_responses(
            trainer,
            tokenizer,
            encode_prompt,
            stop_ids,
            lead_ids,
            raw,
            types.SimpleNamespace(cache_dir=None),
            data_args,
            args,
        )
        text = (tmp_path / "out" / prediction.PREDICTIONS_FILE).read_text("utf-8")
        found = [prediction.json.loads(line)["prediction"] for line in text.splitlines()]
        assert found == expected
    assert len(set(expected)) > 1

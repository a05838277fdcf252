"""The encoding against an independent statement of each family's dialogue format."""

import functools
import types

import pytest

hypothesis = pytest.importorskip("hypothesis")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")
import lora
import prediction
from adapter_trainer import AdapterTrainer
from causal_encoding import encode_pair, encode_prompt, stop_ids
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prompt_response import PairCollator
from test_adapter_trainer import make_trainer
from test_lora import arguments

from tests import tiny_models

TEXT = st.text(st.sampled_from("ab c你好是的\n<|#é🙂"), max_size=25)
FULL = TEXT.filter(str.strip)
KNOWS_TEMPLATES = hasattr(transformers.PreTrainedTokenizerBase, "apply_chat_template")
TEMPLATES = pytest.mark.skipif(not KNOWS_TEMPLATES, reason="this release has no chat templates")
tokenizer_of = functools.cache(tiny_models.make_tokenizer)


def limits(source, target=20):
    return types.SimpleNamespace(max_source_length=source, max_target_length=target)


# What each family writes before a dialogue, around a question, before an answer, after an answer,
# and the token that ends an answer.
FORMATS = {
    "llama": (
        "<|begin_of_text|>",
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        "<|eot_id|>",
    ),
    "qwen2": (
        "<|im_start|>system\n你很小。<|im_end|>\n",
        "<|im_start|>user\n{}<|im_end|>\n",
        "<|im_start|>assistant\n",
        "<|im_end|>\n",
        "<|im_end|>",
    ),
    "glm4": ("[gMASK]<sop>", "<|user|>\n{}", "<|assistant|>\n", "", "<|endoftext|>"),
}
PLAIN = {
    "gpt2": ("", "<|endoftext|>"),
    "llama": ("<|begin_of_text|>", "<|end_of_text|>"),
    "qwen2": ("", "<|endoftext|>"),
    "glm4": ("[gMASK]<sop>", "<|endoftext|>"),
}
CASES = [(kind, False) for kind in PLAIN] + [(k, True) for k in FORMATS if KNOWS_TEMPLATES]


def stated_format(kind, template):
    if template:
        return FORMATS[kind]
    before, end = PLAIN[kind]
    return before, "### User:\n{}\n\n", "### Assistant:\n", "\n\n", end


def stated_prompt(kind, template, prompt, history):
    """The ids of a whole dialogue that waits for its last answer."""
    before, question, answer, after, _ = stated_format(kind, template)
    clean = str.strip if (kind, template) == ("llama", True) else str
    text = before
    for asked, answered in history:
        text += question.format(clean(asked)) + answer + clean(answered) + after
    text += question.format(clean(prompt)) + answer
    return tokenizer_of(kind, template=template).encode(text, add_special_tokens=False)


@pytest.mark.parametrize(("kind", "template"), CASES)
def test_rows_follow_the_format(kind, template):
    tokenizer = tokenizer_of(kind, template=template)
    end = tokenizer.convert_tokens_to_ids(stated_format(kind, template)[-1])

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=3), FULL, st.integers(3, 40))
    def rows(prompt, history, response, target):
        row = encode_pair(tokenizer, prompt, history, response, limits(10_000, target))
        context = stated_prompt(kind, template, prompt, history)
        answer = tokenizer.encode(response, add_special_tokens=False)
        while len(answer) > target - 1:
            answer.pop()
        stated = [(i, -100) for i in context] + [(i, i) for i in [*answer, end]]
        assert list(zip(row["input_ids"], row["labels"])) == stated
        assert row["attention_mask"] == [1] * len(stated)
        assert encode_prompt(tokenizer, prompt, history, limits(10_000)) == context
        assert stop_ids(tokenizer)[0] == end

    rows()


@pytest.mark.parametrize(("kind", "template"), CASES)
def test_what_is_too_long_loses_rounds_and_then_the_prompts_end(kind, template):
    tokenizer = tokenizer_of(kind, template=template)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(FULL, st.lists(st.tuples(TEXT, TEXT), max_size=3), st.integers(1, 80))
    def prompts(prompt, history, most):
        states = functools.partial(stated_prompt, kind, template)
        whole = [states(prompt, history[gone:]) for gone in range(len(history) + 1)]
        fits = next((ids for ids in whole if len(ids) <= most), None)
        cut = [states(prompt[:kept], []) for kept in range(1, len(prompt) + 1)]
        # The text of one more character may take fewer tokens, but not where the limit is met.
        assume(fits is not None or len(cut[0]) <= most or all(len(ids) > most for ids in cut))
        if fits is None and len(cut[0]) > most:
            with pytest.raises(ValueError, match=f"--max_source_length {most} leaves no room") as e:
                encode_prompt(tokenizer, prompt, history, limits(most))
            assert f"takes {len(cut[0])} tokens" in str(e.value)
            return
        found = encode_prompt(tokenizer, prompt, history, limits(most))
        assert len(found) <= most
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
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "你好"},
    ]
    ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    ids = ids if isinstance(ids, list) else ids["input_ids"]
    assert encode_prompt(tokenizer, "你好", [("a", "b")], limits(100)) == ids


def with_template(template):
    """A tokenizer of the Llama-like kind with another template and `<|end_of_text|>` at the end."""
    tokenizer = tiny_models.make_tokenizer("llama")
    tokenizer.chat_template = template
    return tokenizer


EACH = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"
OPEN = "{% if add_generation_prompt %}[assistant]{% endif %}"
ENDS = [
    # What comes after an answer, and the token that ends it.
    ("<|eot_id|>\n", "<|eot_id|>"),
    ("<|eot_id|>\n{% if loop.last %}{{ eos_token }}{% endif %}", "<|eot_id|>"),
    (" {% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}", "<|end_of_text|>"),
    ("\n\n", "<|end_of_text|>"),
    ("", "<|end_of_text|>"),
]


@TEMPLATES
@pytest.mark.parametrize(("after", "end"), ENDS)
def test_the_end_is_what_the_template_puts_after_an_answer(after, end):
    tokenizer = with_template(f"{EACH}{after}{{% endfor %}}{OPEN}")
    end = tokenizer.convert_tokens_to_ids(end)
    assert encode_pair(tokenizer, "a", [], "b", limits(50))["labels"][-1] == end
    assert stop_ids(tokenizer) == list(dict.fromkeys([end, tokenizer.eos_token_id]))


@TEMPLATES
def test_training_asks_as_prediction_does_where_the_template_does_not():
    """A template that puts thoughts into a finished answer: not what an open one begins with."""
    thought = "{% if m['role'] == 'assistant' and loop.last %}<think></think>{% endif %}"
    tokenizer = with_template(EACH.replace("{{ m['c", thought + "{{ m['c") + "{% endfor %}" + OPEN)
    context = encode_prompt(tokenizer, "a", [("q", "r")], limits(50))
    row = encode_pair(tokenizer, "a", [("q", "r")], "b", limits(50))
    answer = tokenizer.encode("b", add_special_tokens=False)
    assert row["input_ids"] == [*context, *answer, tokenizer.eos_token_id]
    assert "<think>" not in tokenizer.decode(row["input_ids"])


@TEMPLATES
def test_a_template_without_answers_is_refused():
    tokenizer = with_template(
        "{% for m in messages %}{% if m['role'] == 'user' %}x{% endif %}{% endfor %}"
    )
    with pytest.raises(ValueError, match="leaves out an answer"):
        encode_pair(tokenizer, "a", [], "b", limits(50))


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
    asked = encode_prompt(loaded, "a", [], limits(50))
    assert loaded.decode(asked) == "[user] a[assistant]"


def test_no_end_is_refused():
    tokenizer = tiny_models.make_tokenizer("gpt2")
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="has no end-of-text token") as error:
        encode_pair(tokenizer, "a", [], "b", limits(50))
    assert "\n" not in str(error.value)


def test_a_response_without_tokens_is_refused():
    with pytest.raises(ValueError, match="encodes to no tokens"):
        encode_pair(tokenizer_of("gpt2"), "a", [], "", limits(50))


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


def test_padding_changes_no_loss(tiny, data_args):
    """A padded batch's loss is that of its response tokens, each row by itself."""
    tokenizer, model = tiny
    rows = [encode_pair(tokenizer, *pair, limits(100)) for pair in PAIRS]
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
    trainer = AdapterTrainer(model=lora.add_lora(model, arguments(), args), args=args)
    data_args.max_source_length, data_args.history_column = 100, "history"
    rows = [{"prompt": p, "history": [list(h) for h in history]} for p, history, _ in PAIRS]
    raw = {"test": datasets.Dataset.from_list(rows)}
    stops = prediction._all_stop_ids(model, tokenizer, stop_ids(tokenizer))

    def alone(prompt, history):
        ids = encode_prompt(tokenizer, prompt, history, data_args)
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
            raw,
            types.SimpleNamespace(cache_dir=None),
            data_args,
            args,
        )
        text = (tmp_path / "out" / prediction.PREDICTIONS_FILE).read_text("utf-8")
        found = [prediction.json.loads(line)["prediction"] for line in text.splitlines()]
        assert found == expected
    assert len(set(expected)) > 1

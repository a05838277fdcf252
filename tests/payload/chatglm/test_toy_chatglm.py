"""The toy ChatGLM keeps ChatGLM-6B's conventions, on whichever transformers runs this file."""

from __future__ import annotations

import atexit
import inspect
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
if "HF_MODULES_CACHE" not in os.environ and "transformers" not in sys.modules:
    os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="toy-chatglm-modules-")
    atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)
pytest.importorskip("sentencepiece")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.toy_chatglm import MIN_VOCAB_SIZE, build

PROMPTS = ["你好", "问：今天天气怎么样？\n答：", "Question: What is 7 plus 6?\nAnswer:"]
TEXTS = [
    "",
    " ",
    "  two  blanks  ",
    "\n\n\ttab and\r\nlines\n",
    "a , b . c ' s n't",
    "\u2581 \u2581\u2581x",
    "<n><|tab|><0x41> <|blank_2|>",
    "你好，世界！ Hello, world! 1234567890",
    "[Round 0]\n问：Ω≈ç√∫˜µ≤≥÷\n答：😀👩\u200d👩\u200d👧 \u202eabc\u202c é e\u0301 \ufeff\ufffd\x00\x7f",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("toy") / "toy_model")


def load(folder, auto=transformers.AutoModel, **kwargs):
    return auto.from_pretrained(str(folder), trust_remote_code=True, **kwargs)


@pytest.fixture
def model(folder):
    return load(folder).eval()


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load(folder, transformers.AutoTokenizer)


@pytest.fixture
def lively(model):
    """The model with larger weights: greedy generation says more than one token."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layernorm" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def example(tokenizer, prompt, response):
    a, b = (tokenizer.encode(text, add_special_tokens=False) for text in (prompt, response))
    ids = tokenizer.build_inputs_with_special_tokens(a, b)
    start = ids.index(tokenizer.bos_token_id)
    return ids, [-100] * start + ids[start:]


def right_padded(rows, value):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def generate(model, inputs, **kwargs):
    kwargs = {"max_new_tokens": 12, "do_sample": False, **kwargs}
    ids = model.generate(**inputs, **kwargs)
    return ids[:, inputs["input_ids"].shape[1] :].tolist()


def until_end(ids, eos):
    return ids[: ids.index(eos) + 1] if eos in ids else ids


# -- building --------------------------------------------------------------------------------


def test_import_is_light():
    code = (
        "import sys, tests.toy_chatglm; "
        "sys.exit(bool({'torch', 'transformers', 'sentencepiece'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_build_is_deterministic(folder, tmp_path):
    state = torch.random.get_rng_state()
    again, other = build(tmp_path / "again"), build(tmp_path / "other", seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    names = sorted(path.name for path in folder.iterdir())
    assert {"config.json", "ice_text.model", "tokenizer_config.json"} < set(names)
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
        same = (other / name).read_bytes() == (folder / name).read_bytes()
        assert same == (name != "pytorch_model.bin"), name


def test_build_takes_sizes_and_corpus(tmp_path):
    texts = ["鱼在水里游。\n鸟在天上飞。", "red fish, blue fish"]
    folder = build(tmp_path, hidden_size=64, layers=3, heads=2, vocab_size=330, corpus=iter(texts))
    model, tokenizer = load(folder), load(folder, transformers.AutoTokenizer)
    assert len(model.transformer.layers) == model.config.num_layers == 3
    assert model.get_input_embeddings().weight.shape == (330, 64)
    assert len(tokenizer) <= 330
    assert len(tokenizer.encode("鱼", add_special_tokens=False)) == 1
    with pytest.raises(ValueError, match="vocab_size"):
        build(tmp_path, vocab_size=MIN_VOCAB_SIZE - 1)
    with pytest.raises(ValueError, match="corpus"):
        build(tmp_path, corpus=["\n", " "])


def test_command_line(folder, tmp_path):
    dest = tmp_path / "cli"
    command = [sys.executable, "-m", "tests.toy_chatglm", str(dest), "--hidden-size", "32"]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith(str(dest))
    for path in folder.iterdir():
        assert (dest / path.name).read_bytes() == path.read_bytes(), path.name


# -- loading ---------------------------------------------------------------------------------


def test_loads_as_the_published_model_does(folder):
    config = load(folder, transformers.AutoConfig)
    assert (type(config).__name__, config.model_type) == ("ChatGLMConfig", "chatglm")
    for auto in (transformers.AutoModel, transformers.AutoModelForSeq2SeqLM):
        model = load(folder, auto)
        assert type(model).__name__ == "ChatGLMForConditionalGeneration"
    names = dict(model.named_parameters())
    assert "transformer.layers.1.attention.query_key_value.weight" in names
    assert "transformer.layers.0.mlp.dense_h_to_4h.bias" in names
    assert set(model._no_split_modules) == {"GLMBlock"}
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with pytest.raises(ValueError, match=r"AutoModel"):
        load(folder, transformers.AutoModelForCausalLM)
    with pytest.raises(ValueError, match="trust_remote_code"):
        transformers.AutoModel.from_pretrained(str(folder), trust_remote_code=False)


def test_weights_are_the_files(folder):
    saved = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for empty_init in (True, False):
        state = load(folder, empty_init=empty_init).state_dict()
        assert state.keys() == saved.keys()
        assert all(torch.equal(state[name], saved[name]) for name in saved)
        assert all(value.device.type == "cpu" for value in state.values())


def test_empty_init_chooses_skip_init(model, monkeypatch):
    cls = type(model)
    parameters = inspect.signature(cls.__init__).parameters
    assert list(parameters) == ["self", "config", "empty_init"]
    assert parameters["empty_init"].default is True
    module, made = sys.modules[cls.__module__], []
    real = module.skip_init
    monkeypatch.setattr(module, "skip_init", lambda c, *a, **k: made.append(c) or real(c, *a, **k))
    cls(model.config, empty_init=False)
    assert made == []
    cls(model.config)
    linear, embedding = torch.nn.Linear, torch.nn.Embedding
    assert made == [embedding, *[linear] * 4 * model.config.num_layers, linear]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(folder, tokenizer, dtype):
    model = load(folder, torch_dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    ids, labels = example(tokenizer, "你好", "你好！")
    out = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]))
    assert out.loss.isfinite() and out.loss.dtype == out.logits.dtype == dtype
    out.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    reference = load(folder)(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]))
    assert abs(out.loss.item() - reference.loss.item()) < 0.1


def test_save_and_reload(lively, tokenizer, tmp_path):
    lively.save_pretrained(str(tmp_path))
    tokenizer.save_pretrained(str(tmp_path))
    again, words = load(tmp_path).eval(), load(tmp_path, transformers.AutoTokenizer)
    ids = torch.tensor([example(tokenizer, "你好", "你好！")[0]])
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, lively(input_ids=ids).logits)
    for text in TEXTS:
        assert words(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert words.gmask_token_id == tokenizer.gmask_token_id


# -- tokenizer -------------------------------------------------------------------------------


def test_sequence_layout(tokenizer, model):
    config = model.config
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<sop>", "<eop>")
    assert (tokenizer.mask_token, tokenizer.gmask_token) == ("[MASK]", "[gMASK]")
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("<pad>", "left")
    for role in ("bos", "eos", "mask", "gmask", "pad"):
        name = f"{role}_token_id"
        assert getattr(tokenizer, name) == getattr(config, name)
        assert tokenizer.convert_tokens_to_ids(getattr(tokenizer, f"{role}_token")) == getattr(
            config, name
        )
    assert tokenizer.vocab_size <= len(tokenizer) <= config.vocab_size
    a, b = (tokenizer.encode(text, add_special_tokens=False) for text in ("你好", "再见。"))
    gmask, sop, eop = config.gmask_token_id, config.bos_token_id, config.eos_token_id
    assert tokenizer.build_inputs_with_special_tokens(a) == [*a, gmask, sop]
    assert tokenizer.build_inputs_with_special_tokens(a, b) == [*a, gmask, sop, *b, eop]
    assert tokenizer("你好")["input_ids"] == [*a, gmask, sop]
    assert tokenizer("你好", "再见。")["input_ids"] == [*a, gmask, sop, *b, eop]
    assert tokenizer.encode("你好<eop>", add_special_tokens=False) == [*a, eop]
    ids = tokenizer("你好", "再见。")["input_ids"]
    assert tokenizer.decode(ids) == "你好[gMASK]<sop>再见。<eop>"
    assert tokenizer.decode([config.pad_token_id, *ids], skip_special_tokens=True) == "你好再见。"
    assert len(tokenizer("你好" * 50, truncation=True, max_length=20)["input_ids"]) == 20


def test_every_text_round_trips(tokenizer):
    rng = random.Random(0)
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    texts = TEXTS + ["".join(map(chr, rng.sample(points, 200))) for _ in range(20)]
    texts += [chr(point) for point in range(0x3100)]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_pad_makes_masks_and_positions(tokenizer):
    rows = [tokenizer(prompt) for prompt in PROMPTS]
    batch = tokenizer.pad(rows, padding=True, return_tensors="pt")
    width = max(len(row["input_ids"]) for row in rows)
    assert batch["input_ids"].shape == (3, width)
    assert batch["attention_mask"].shape == (3, 1, width, width)
    assert batch["attention_mask"].dtype == torch.bool
    assert batch["position_ids"].shape == (3, 2, width)
    extra = width - len(rows[0]["input_ids"])
    assert batch["input_ids"][0, :extra].tolist() == [tokenizer.pad_token_id] * extra
    assert batch["attention_mask"][0, 0, :, :extra].all()
    assert not batch["attention_mask"][0, 0, extra:-1, extra:-1].any()
    size = width - extra
    place, block = batch["position_ids"][0, :, extra:].tolist()
    assert place == [*range(size - 1), size - 2]
    assert block == [0] * (size - 1) + [1]
    # The other ways to the same batch, padding once more included.
    called = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    single = [tokenizer(prompt, padding=True) for prompt in PROMPTS]
    for other in (called, tokenizer.pad(single, return_tensors="pt")):
        assert all(torch.equal(batch[key], other[key]) for key in batch)
    longer = tokenizer.pad(called, padding="max_length", max_length=width + 3, return_tensors="pt")
    assert torch.equal(longer["position_ids"][..., 3:], batch["position_ids"])
    assert torch.equal(longer["attention_mask"][..., 3:, 3:], batch["attention_mask"])


# -- training --------------------------------------------------------------------------------


def test_loss_is_shifted_and_ignores_trailing_pads(lively, tokenizer):
    pairs = [("你好", "你好！"), ("1 + 2 = ?", "3"), ("再见。", "See you tomorrow.")]
    rows = [example(tokenizer, *pair) for pair in pairs]
    ids = right_padded([row[0] for row in rows], tokenizer.pad_token_id)
    labels = right_padded([row[1] for row in rows], -100)
    wider = [torch.nn.functional.pad(ids, (0, 9), value=tokenizer.pad_token_id)]
    wider.append(torch.nn.functional.pad(labels, (0, 9), value=-100))
    total, count = 0.0, 0
    for row, target in rows:
        logits = lively(input_ids=torch.tensor([row])).logits[0]
        start = row.index(tokenizer.bos_token_id)
        assert target[start] == tokenizer.bos_token_id and set(target[:start]) == {-100}
        # The label <sop> is learnt from [gMASK], and <eop> from the last response token.
        chances = logits[start - 1 : -1].log_softmax(-1)
        total -= chances.gather(1, torch.tensor(row[start:])[:, None]).sum().item()
        count += len(row) - start
    loss = lively(input_ids=ids, labels=labels).loss.item()
    assert loss == pytest.approx(total / count, abs=1e-5)
    assert lively(input_ids=wider[0], labels=wider[1]).loss.item() == pytest.approx(loss, abs=1e-5)
    with_tuple = lively(input_ids=ids, labels=labels, return_dict=False)
    assert with_tuple[0].item() == pytest.approx(loss, abs=1e-6)


def test_prompt_is_bidirectional_and_response_causal(lively, tokenizer):
    ids, _ = example(tokenizer, "问：你好吗？", "我很好，谢谢。")
    start = ids.index(tokenizer.bos_token_id)

    def moved(position):
        changed = list(ids)
        changed[position] = 300 if ids[position] != 300 else 301
        with torch.no_grad():
            before, after = (lively(input_ids=torch.tensor([x])).logits[0] for x in (ids, changed))
        return ((before - after).abs().amax(-1) > 1e-4).tolist()

    assert all(moved(start - 2))  # the last prompt token reaches every position
    assert all(moved(1))
    for position in (start + 1, start + 3):
        assert moved(position) == [i >= position for i in range(len(ids))]


def test_positions_and_mask_are_derived(lively, tokenizer):
    ids, _ = example(tokenizer, "1 + 1 = ?", "2")
    start, size = ids.index(tokenizer.bos_token_id), len(ids)
    place = [*range(start), *[start - 1] * (size - start)]
    block = [*[0] * start, *range(1, size - start + 1)]
    steps = torch.arange(size)
    hidden = (steps[None] > steps[:, None]) & (steps[None] >= start)
    with torch.no_grad():
        derived = lively(input_ids=torch.tensor([ids])).logits
        given = lively(
            input_ids=torch.tensor([ids]),
            position_ids=torch.tensor([[place, block]]),
            attention_mask=hidden[None, None],
        ).logits
        plain = lively(
            input_ids=torch.tensor([ids]), position_ids=torch.tensor([[[*range(size)], block]])
        ).logits
    assert torch.equal(derived, given)
    assert not torch.allclose(derived, plain, atol=1e-3)
    with pytest.raises(ValueError, match="start-of-piece"):
        lively(input_ids=torch.tensor([ids[:start]]))
    with pytest.raises(ValueError, match="boolean"):
        lively(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, size).long())


def test_gradient_checkpointing(lively, tokenizer):
    ids, labels = (torch.tensor([x]) for x in example(tokenizer, "你好", "你好！"))

    def gradients():
        lively.zero_grad()
        lively.train()(input_ids=ids, labels=labels).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in lively.named_parameters()}

    plain, calls = gradients(), []
    lively.transformer.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    lively.gradient_checkpointing_enable()
    lively.enable_input_require_grads()
    checkpointed = gradients()
    assert len(calls) == 2  # once forward, once again for backward
    assert all(torch.allclose(plain[name], checkpointed[name], atol=1e-6) for name in plain)
    lively.gradient_checkpointing_disable()
    gradients()
    assert len(calls) == 3


def test_memorises_a_pair(model, tokenizer):
    prompt, response = "问：你是谁？\n答：", "我是一个 toy 模型。😀"
    ids, labels = (torch.tensor([x]) for x in example(tokenizer, prompt, response))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(60):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    reply, history = model.eval().chat(tokenizer, prompt, do_sample=False)
    assert reply == response
    assert history == [(prompt, response)]


def test_attention_alone_can_learn(model, tokenizer):
    """What adapters on ``query_key_value`` rely on: the rest, frozen, is worth steering."""
    ids, labels = (torch.tensor([x]) for x in example(tokenizer, "你好", "再见。"))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("query_key_value" in name)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.Adam(trained, lr=1e-2), []
    for _ in range(40):
        losses.append(model(input_ids=ids, labels=labels).loss)
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


# -- generation ------------------------------------------------------------------------------


def test_batched_generation_equals_one_by_one(lively, tokenizer):
    batch = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    together = generate(lively, batch)
    assert len({tuple(row) for row in together}) == len(PROMPTS)
    for prompt, row in zip(PROMPTS, together):
        alone = tokenizer([prompt], return_tensors="pt")
        assert set(alone) == {"input_ids"}
        (expected,) = generate(lively, alone)
        assert until_end(row, tokenizer.eos_token_id) == expected
        # By hand: the whole sequence through the model for every token.
        ids = alone["input_ids"].tolist()[0]
        for token in expected:
            with torch.no_grad():
                assert lively(input_ids=torch.tensor([ids])).logits[0, -1].argmax() == token
            ids.append(token)


@pytest.mark.parametrize("beams", [1, 3])
def test_cache_changes_nothing(lively, tokenizer, beams):
    batch = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    lengths = []
    lively.transformer.word_embeddings.register_forward_hook(
        lambda _module, args, _out: lengths.append(args[0].shape[1])
    )
    cached = generate(lively, batch, num_beams=beams)
    width = batch["input_ids"].shape[1]
    assert lengths[0] == width and set(lengths[1:]) == {1}
    lengths.clear()
    assert generate(lively, batch, num_beams=beams, use_cache=False) == cached
    assert lengths == list(range(width, width + len(lengths)))


def test_generation_stops_at_the_end_token(lively, tokenizer):
    alone = tokenizer([PROMPTS[1]], return_tensors="pt")
    (free,) = generate(lively, alone)
    stopped = generate(lively, alone, eos_token_id=free[2])
    assert stopped == [until_end(free, free[2])]


def test_cached_forward(lively, tokenizer):
    ids, _ = example(tokenizer, "你好", "再见。")
    whole = torch.tensor([ids])
    cut = ids.index(tokenizer.bos_token_id) + 1
    with torch.no_grad():
        out = lively(input_ids=whole, use_cache=True, output_hidden_states=True)
        head = lively(input_ids=whole[:, :cut], use_cache=True)
        rest = torch.arange(2, len(ids) - cut + 2)
        positions = torch.stack([torch.full_like(rest, cut - 2), rest])[None]
        size = len(ids) - cut
        mask = torch.cat([torch.zeros(size, cut), torch.ones(size, size).triu(1)], dim=1).bool()
        tail = lively(
            input_ids=whole[:, cut:],
            position_ids=positions,
            attention_mask=mask[None, None],
            past_key_values=head.past_key_values,
            use_cache=True,
        )
    assert torch.allclose(tail.logits, out.logits[:, cut:], atol=1e-5)
    assert len(out.hidden_states) == lively.config.num_layers + 1
    assert lively(input_ids=whole, use_cache=False).past_key_values is None

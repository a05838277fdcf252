"""The loss of label positions alone: that of all positions, from models' own code, without their logits."""

import copy

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import head_on_labels
from evaluation_counts import _response_counts
from head_on_labels import ALL, AT_ONCE, CHUNKS, HeadOnLabels
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.trainer_pt_utils import LabelSmoother

from tests import tiny_models, toy_chatglm

ROWS, LENGTH = 3, 24
WORDS = 400  # all models here have more
CHUNK = 5


def batch(lengths=(24, 20, 9), seed=0, config=None):
    """Rows of two answers each, after prompts, padded on the right; the last row has one label.

    With the configuration of a ChatGLM, whose code finds out by itself where an answer begins.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(7, 300, (ROWS, LENGTH), generator=generator)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
        for start, stop in ((4, 7), (length // 2, length)) if row < ROWS - 1 else ((8, 9),):
            labels[row, start:stop] = ids[row, start:stop]
    if config is not None and hasattr(config, "gmask_token_id"):
        ids[:, 2], ids[:, 3] = config.gmask_token_id, config.bos_token_id
        return {"input_ids": ids, "labels": labels}
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def tiny(kind):
    def load(folder):
        tiny_models.build(kind, folder)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)

    return load


def toy(folder):
    toy_chatglm.build(folder)
    return transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)


MODELS = {"positions first": toy} | {kind: tiny(kind) for kind in tiny_models.available()}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    made = {}

    def load(name):
        if name not in made:
            made[name] = MODELS[name](tmp_path_factory.mktemp("model") / "model")
        return copy.deepcopy(made[name])

    return load


def adapted(model, **changes):
    """The model with LoRA on all linear layers, which does something; and the batch that it takes."""
    torch.manual_seed(0)
    names = {
        n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)
    }
    targets = sorted(names - {"lm_head"}) or ["c_attn"]
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        target_modules=[*targets, *changes.pop("also", ())],
        **{"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, **changes},
    )
    model = peft.get_peft_model(model, config)
    for name, weight in model.named_parameters():
        if "original_module" in name:  # older releases of peft leave it to be trained
            weight.requires_grad_(False)
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def computed(model, given, **options):
    """(loss, {name: gradient}) of one batch in training."""
    model.train()
    model.zero_grad()
    torch.manual_seed(1)  # dropout
    loss = model(**given, **options)["loss"]
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected, rtol=1e-5):
    torch.testing.assert_close(found[0].float(), expected[0].float(), rtol=rtol, atol=0)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=rtol * scale + 1e-12)


@pytest.fixture(params=[CHUNK, LENGTH * ROWS])
def chunk(request, monkeypatch):
    """Positions at a time: few, and all at once."""

    def of(head):
        head.chunk = request.param
        return head

    return of


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return made


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_all_positions(loaded, chunk, name):
    model = adapted(loaded(name))
    given = batch(config=model.config)
    expected = computed(model, given)
    head = chunk(HeadOnLabels(model))
    assert_same(computed(model, given), expected)
    assert head.way == CHUNKS
    assert_same(computed(model, given), expected)  # not only while it is tried


@pytest.mark.parametrize("name", ["positions first", "gpt2"])
def test_logits_of_a_chunk_are_the_most_that_there_is(loaded, name):
    model = adapted(loaded(name))
    given = batch(config=model.config)
    model.gradient_checkpointing_disable()
    words = model.get_base_model().get_output_embeddings().weight.shape[0]
    HeadOnLabels(model).chunk = CHUNK
    for train in (True, False):
        model.train(train)
        for _ in range(2):
            with Largest() as largest:
                loss = model(**given).loss
                if train:
                    loss.backward()
        weights = max(p.numel() for p in model.parameters())
        assert largest.numbers <= max(CHUNK * words, weights)


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_counts(loaded, chunk, name):
    model = adapted(loaded(name)).eval()
    given = batch(config=model.config)
    with torch.no_grad():
        outputs = model(**given)
        chunk(HeadOnLabels(model))
        found = [model(**given) for _ in range(2)]
    hits, counted = _response_counts(outputs["logits"], given["labels"])
    for loss, counts in (each.to_tuple() for each in found):
        torch.testing.assert_close(loss, outputs["loss"], rtol=1e-5, atol=0)
        assert counts.tolist() == torch.cat([hits, counted], dim=1).tolist()


@pytest.mark.parametrize("name", ["positions first", "gpt2"])
def test_smoothed(loaded, chunk, name):
    model, smoother = adapted(loaded(name)), LabelSmoother(epsilon=0.2)
    given = batch(config=model.config)
    model.train()
    torch.manual_seed(1)
    outputs = model(**given)
    loss = smoother(outputs, given["labels"], shift_labels=True)
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    chunk(HeadOnLabels(model, smoother))
    assert_same(computed(model, given), (loss.detach(), gradients))


def test_items_of_an_accumulated_batch(loaded, chunk):
    """What a release weighs a batch of several by, where it knows that."""
    kinds = [kind for kind in ("llama", "qwen2") if kind in MODELS]
    model = adapted(loaded(kinds[-1]))
    given = batch(config=model.config)
    options = {"num_items_in_batch": torch.tensor(200)}
    try:
        expected = computed(model, given, **options)
    except TypeError:
        pytest.skip("this release weighs each batch alike")
    chunk(HeadOnLabels(model))
    assert_same(computed(model, given, **options), expected)


@pytest.mark.parametrize("name", ["positions first", "gpt2", "llama"])
@pytest.mark.parametrize("how", ["lora", "in full", "tied"])
def test_a_head_that_learns(loaded, chunk, name, how):
    changes = {
        "lora": {"also": ["lm_head"]},
        "in full": {"modules_to_save": ["lm_head"]},
        "tied": {},
    }[how]
    model = loaded(name)
    given = batch(config=model.config)
    if how == "tied":
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    model = adapted(model, **changes)
    if how == "tied":
        model.get_input_embeddings().weight.requires_grad_(True)
    expected = computed(model, given)
    head = chunk(HeadOnLabels(model))
    assert_same(computed(model, given), expected)
    assert head.way == CHUNKS


def test_autocast_and_half_precision(loaded, chunk):
    model = adapted(loaded("gpt2"))
    given = batch(config=model.config)
    for dtype in (torch.float32, torch.bfloat16):
        model = model.to(dtype)
        whole = copy.deepcopy(model)
        head = chunk(HeadOnLabels(model))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.float32):
            assert_same(computed(model, given), computed(whole, given), rtol=2e-2)
        assert head.way == CHUNKS
        model = whole


class Bounded(torch.nn.Module):
    """A model whose code bounds its logits, as Gemma's does, or adds something to its loss."""

    def __init__(self, model, bound=None, extra=0.0):
        super().__init__()
        self.inner, self.bound, self.extra, self.config = model, bound, extra, model.config

    def get_output_embeddings(self):
        return self.inner.get_output_embeddings()

    def forward(self, labels=None, **given):
        outputs = self.inner(**given)
        logits = outputs["logits"]
        if self.bound:
            logits = self.bound * torch.tanh(logits / self.bound)
        if labels is None:
            return {"logits": logits}
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        )
        return {"loss": loss + self.extra, "logits": logits}


class TwoAhead(Bounded):
    """Pairs logits with labels in a way of its own."""

    def forward(self, labels=None, **given):
        logits = self.inner(**given)["logits"]
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-2].flatten(0, 1), labels[:, 2:].flatten()
        )
        return {"loss": loss, "logits": logits}


class NotByItsHead(Bounded):
    """Multiplies by its head's weights without calling it."""

    def forward(self, labels=None, **given):
        inner = self.inner
        states = inner.transformer(**given)[0]
        logits = torch.nn.functional.linear(states, self.get_output_embeddings().weight)
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        )
        return {"loss": loss, "logits": logits}


OTHERS = {
    "bounded": (lambda model: Bounded(model, bound=2.0), AT_ONCE, "it changes the logits"),
    "extra": (lambda model: Bounded(model, extra=0.5), AT_ONCE, "is not the mean cross entropy"),
    "two ahead": (TwoAhead, ALL, "is not the mean cross entropy"),
    "not by its head": (NotByItsHead, ALL, "NotByItsHead: "),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("size", [CHUNK, LENGTH * ROWS])
def test_other_code_has_its_own_loss_and_says_so(loaded, caplog, name, size):
    make, way, said = OTHERS[name]
    caplog.set_level("INFO")
    model = adapted(loaded("gpt2"), lora_dropout=0.3)
    given = batch(config=model.config)
    model.base_model.model = make(model.get_base_model())
    if "forward" in vars(model.base_model):  # older releases of peft keep the first model's
        model.base_model.forward = model.base_model.model.forward
    expected = computed(model, given)
    head = HeadOnLabels(model)
    head.chunk = size
    for _ in range(2):  # while it is tried, and from then on; with the same random numbers
        assert_same(computed(model, given), expected)
    assert head.way == way
    lines = [r.message for r in caplog.records if "Logits that are computed" in r.message]
    assert len(lines) == 1 and said in lines[0]


def test_a_fault_of_the_batch_is_told_as_it_is(loaded):
    model = adapted(loaded("gpt2"))
    given = batch(config=model.config)
    head = HeadOnLabels(model)
    with pytest.raises(IndexError):
        model(**{**given, "input_ids": given["input_ids"] + 10**6})
    assert head.way is None


def test_batches_that_show_nothing_settle_nothing(loaded):
    """As many rows as positions, which states do not tell apart, and a batch without labels."""
    model = adapted(loaded("positions first"))
    given = batch(config=model.config)
    square = {name: value[[0, 1, 2] * 2, : 2 * ROWS].clone() for name, value in given.items()}
    square["labels"][:, 4:] = square["input_ids"][:, 4:]
    silent = {**given, "labels": torch.full_like(given["labels"], -100)}
    expected = [computed(model, each) for each in (square, given)]
    head = HeadOnLabels(model)
    assert_same(computed(model, square), expected[0])
    assert model(**silent)["loss"].isnan() and head.way is None
    assert_same(computed(model, given), expected[1])
    assert head.way == CHUNKS
    assert_same(computed(model, square), expected[0])


def test_generation_is_what_it_was(loaded):
    model, given = adapted(loaded("gpt2")).eval(), batch((24, 24, 24))
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    given = {"input_ids": given["input_ids"], "attention_mask": given["attention_mask"]}
    expected = model.generate(**given, **settings)
    HeadOnLabels(model)
    assert torch.equal(model.generate(**given, **settings), expected)


def test_logits_at_once_are_as_many_as_said(loaded):
    model = adapted(loaded("gpt2"))
    assert HeadOnLabels(model).chunk == head_on_labels.LOGITS_AT_ONCE // model.config.vocab_size

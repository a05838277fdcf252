"""LoRA wrapping, and the tiny GLM-like model and tokenizer that all tests here adapt.

The model and the tokenizer are made up, with ChatGLM-6B's conventions: the same layout of a pair,
the same arguments of forward, mask and positions that come from the ids.
"""

import logging
import math
import types
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import lora
from torch import nn
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizer
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

SPECIAL = ["<pad>", "[gMASK]", "<sop>", "<eop>", "<unk>"]
CHARACTERS = [chr(code) for code in range(32, 127)] + list("\n问：答你好吗很谢们我是谁？。")
VOCABULARY = len(SPECIAL + CHARACTERS)
PAD, GMASK, SOP, EOP = range(4)


class ToyTokenizer(PreTrainedTokenizer):
    """One token a character; prompt and response are laid out as ChatGLM-6B's tokenizer does."""

    model_input_names: ClassVar[list] = ["input_ids", "attention_mask", "position_ids"]
    vocab_files_names: ClassVar[dict] = {}

    def __init__(self, **kwargs):
        self.ids = {token: number for number, token in enumerate(SPECIAL + CHARACTERS)}
        self.tokens = list(self.ids)
        names = {"bos_token": "<sop>", "eos_token": "<eop>", "pad_token": "<pad>"}
        super().__init__(padding_side="left", unk_token="<unk>", **{**names, **kwargs})

    @property
    def vocab_size(self):
        return len(self.ids)

    def get_vocab(self):
        return dict(self.ids)

    def _tokenize(self, text, **kwargs):
        return list(text)

    def _convert_token_to_id(self, token):
        return self.ids.get(token, self.ids["<unk>"])

    def _convert_id_to_token(self, index):
        return self.tokens[index]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        tail = [] if token_ids_1 is None else [*token_ids_1, EOP]
        return [*token_ids_0, GMASK, SOP, *tail]

    def _pad(self, encoded_inputs, max_length=None, **kwargs):
        """Pad on the left, with a mask per position pair and two rows of positions."""
        if max_length is None:
            return encoded_inputs
        ids = encoded_inputs["input_ids"]
        context, missing = ids.index(SOP), max_length - len(ids)
        mask = np.triu(np.ones((len(ids), len(ids)), dtype=bool), k=1)
        mask[:, :context] = False
        order = np.maximum(np.arange(len(ids)) - context + 1, 0)
        places = np.minimum(np.arange(len(ids)), context - 1)
        encoded_inputs["input_ids"] = [PAD] * missing + ids
        encoded_inputs["attention_mask"] = np.pad(
            mask[None], [(0, 0), (missing, 0), (missing, 0)], constant_values=True
        )
        encoded_inputs["position_ids"] = np.pad(np.stack([places, order]), [(0, 0), (missing, 0)])
        return encoded_inputs


class ToyConfig(PretrainedConfig):
    model_type = "toy_glm"

    def __init__(self, hidden_size=16, num_layers=2, vocab_size=VOCABULARY, **kwargs):
        self.hidden_size, self.num_layers, self.vocab_size = hidden_size, num_layers, vocab_size
        self.num_hidden_layers = num_layers
        super().__init__(bos_token_id=SOP, eos_token_id=EOP, pad_token_id=PAD, **kwargs)
        self.use_cache = True


class ToyBlock(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.query_key_value = nn.Linear(size, 3 * size)
        self.dense = nn.Linear(size, size)

    def forward(self, hidden, hide):
        query, key, value = self.query_key_value(hidden).chunk(3, dim=-1)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = scores.float().masked_fill(hide, -1e4).softmax(dim=-1).to(value.dtype)
        return hidden + self.dense(weights @ value)


class ToyGLM(PreTrainedModel, GenerationMixin):
    """Forward takes what ChatGLM-6B's takes; mask and positions come from the ids."""

    config_class = ToyConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True

    def __init__(self, config, empty_init=True):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(256, config.hidden_size)
        self.layers = nn.ModuleList(ToyBlock(config.hidden_size) for _ in range(config.num_layers))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.gradient_checkpointing = False
        if hasattr(self, "post_init"):
            self.post_init()

    def _init_weights(self, module):
        pass

    def _set_gradient_checkpointing(self, *args, **kwargs):
        self.gradient_checkpointing = True

    def get_input_embeddings(self):
        return self.word_embeddings

    def generate(self, *args, attention_mask=None, position_ids=None, **kwargs):
        return super().generate(*args, **kwargs)  # forward knows both from the ids

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def forward(
        self,
        input_ids=None,
        position_ids=None,
        attention_mask=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        length = input_ids.shape[1]
        steps = torch.arange(length)
        context = torch.tensor([ids.index(SOP) for ids in input_ids.tolist()])[:, None]
        first = torch.tensor(
            [next(i for i, token in enumerate(ids) if token != PAD) for ids in input_ids.tolist()]
        )[:, None]
        causal = steps[None, :] > steps[:, None]
        hide = (causal[None] & (steps >= context)[:, None, :]) | (steps < first)[:, None, :]
        places = (steps[None] - first).clamp(min=0)
        hidden = self.word_embeddings(input_ids) + self.positions(places)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                hidden = torch.utils.checkpoint.checkpoint(layer, hidden, hide, use_reentrant=True)
            else:
                hidden = layer(hidden, hide)
        logits = self.lm_head(hidden).float()
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
            )
        return CausalLMOutputWithPast(loss=loss, logits=logits)


def make_model(seed=0, dtype=torch.float32):
    """Return a fresh model with weights that depend on `seed` alone."""
    torch.manual_seed(seed)
    model = ToyGLM(ToyConfig()).to(dtype)
    model.generation_config = GenerationConfig(eos_token_id=EOP, pad_token_id=PAD, bos_token_id=SOP)
    return model


def arguments(**changes):
    """Model arguments as the script has them."""
    given = lora.LoraArguments(**{"lora_dropout": 0.0, **changes})
    given.model_name_or_path = given.config_name = given.cache_dir = None
    return given


def add_lora(model, model_args, training_args):
    """`lora.add_lora` with the tokenizer of these tests."""
    return lora.add_lora(model, ToyTokenizer(), lambda tokenizer: [EOP], model_args, training_args)


def run_arguments(gradient_checkpointing=False):
    return types.SimpleNamespace(gradient_checkpointing=gradient_checkpointing)


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


BATCH = {
    "input_ids": torch.tensor([[10, 11, GMASK, SOP, 12, EOP], [13, GMASK, SOP, 12, EOP, PAD]]),
    "labels": torch.tensor([[-100] * 3 + [SOP, 12, EOP], [-100] * 2 + [SOP, 12, EOP, -100]]),
}


def test_the_default_is_query_key_value(caplog):
    with caplog.at_level(logging.INFO, logger="lora"):
        model = add_lora(make_model(), arguments(lora_rank=4), run_arguments())
    names = trainable(model)
    assert len(names) == 4 and all("query_key_value.lora_" in name for name in names)
    # Two layers of rank 4 between 16 inputs and 48 outputs.
    count = 2 * 4 * (16 + 48)
    total = sum(p.numel() for p in model.parameters())
    assert (
        f"Training {count:,} of {total:,} parameters ({100 * count / total:.4f} %)" in caplog.text
    )
    assert isinstance(model, peft.PeftModel)


def test_an_untrained_adapter_changes_nothing_and_learns():
    base = make_model()
    expected = base(**BATCH)
    model = add_lora(base, arguments(), run_arguments())
    found = model(**BATCH)
    assert torch.equal(found.logits, expected.logits)
    found.loss.backward()
    assert all(p.grad is not None for p in trainable(model).values())
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert frozen and all(p.grad is None for p in frozen)


def test_padding_on_the_right_changes_no_loss():
    model = make_model()
    alone = model(BATCH["input_ids"][1:, :5], labels=BATCH["labels"][1:, :5]).loss
    padded = model(BATCH["input_ids"][1:], labels=BATCH["labels"][1:]).loss
    assert torch.allclose(alone, padded)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_adapters_of_half_precision_models_are_float32(dtype, tmp_path):
    model = add_lora(make_model(dtype=dtype), arguments(), run_arguments())
    assert {p.dtype for p in trainable(model).values()} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {dtype}
    model.save_pretrained(tmp_path)
    again = arguments(adapter_name_or_path=str(tmp_path))
    model = add_lora(make_model(dtype=dtype), again, run_arguments())
    assert {p.dtype for p in trainable(model).values()} == {torch.float32}


def test_two_half_precisions_in_one_model_are_refused():
    """ChatGLM-6B's code says float16 for its linear layers, whatever it is loaded as."""
    model = make_model(dtype=torch.bfloat16)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.half()
    with pytest.raises(ValueError, match="load it as float16, or as auto.$"):
        add_lora(model, arguments(), run_arguments())


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = add_lora(make_model(), arguments(), run_arguments(checkpointing)).train()
        assert model.config.use_cache is not checkpointing
        model.get_base_model().gradient_checkpointing = checkpointing
        with torch.no_grad():
            for parameter in trainable(model).values():
                parameter.fill_(0.01)
        model(**BATCH).loss.backward()
        gradients.append([p.grad for p in trainable(model).values()])
    for plain, recomputed in zip(*gradients):
        assert plain.abs().sum() > 0
        assert torch.allclose(plain, recomputed, atol=1e-6)


def test_named_modules_and_modules_to_save():
    changes = {"lora_target_modules": " query_key_value, dense ", "lora_modules_to_save": "lm_head"}
    names = trainable(add_lora(make_model(), arguments(**changes), run_arguments()))
    kinds = {name.split(".lora_")[0].rpartition(".")[2] for name in names if ".lora_" in name}
    assert kinds == {"query_key_value", "dense"}
    assert [name for name in names if "lora_" not in name] == [
        "base_model.model.lm_head.modules_to_save.default.weight"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"lora_target_modules": "query_key_value,value"},
            "the model has no module 'value'; linear ones are: query_key_value, dense, lm_head.",
        ),
        ({"lora_rank": 0}, "--lora_rank must be at least 1, not 0."),
        ({"lora_dropout": 1.0}, "--lora_dropout must be at least 0 and below 1, not 1.0."),
    ],
)
def test_errors_take_one_line(changes, said):
    with pytest.raises(ValueError) as error:
        add_lora(make_model(), arguments(**changes), run_arguments())
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    given = arguments(adapter_name_or_path=str(tmp_path))
    with pytest.raises(ValueError, match="holds no adapter_config.json"):
        add_lora(make_model(), given, run_arguments())


def test_an_adapter_can_be_trained_on(tmp_path):
    model = add_lora(make_model(), arguments(lora_rank=3), run_arguments())
    with torch.no_grad():
        for number, parameter in enumerate(trainable(model).values()):
            parameter.fill_(0.1 + number)
    model.save_pretrained(tmp_path)
    given = arguments(adapter_name_or_path=str(tmp_path))
    again = add_lora(make_model(), given, run_arguments())
    before, after = trainable(model), trainable(again)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_parser_takes_the_arguments():
    parser = transformers.HfArgumentParser((lora.LoraArguments,))
    (parsed,) = parser.parse_args_into_dataclasses(["--lora_rank", "2", "--lora_bias", "all"])
    assert (parsed.lora_rank, parsed.lora_bias, parsed.lora_alpha) == (2, "all", 32)

"""Builds tiny models of families that transformers itself knows, with tokenizers of their own.

``build(kind, dest)`` writes what a published model folder holds (configuration, tokenizer,
weights) in that family's shape: its special tokens, what its tokenizer puts before a text, its
chat template's structure. All is made here: the tokenizer is trained on a bundled corpus, the
template is written for these tests, the weights are random. Seconds on one CPU core; the same
arguments give the same model.

Importing this module imports neither torch nor transformers nor tokenizers; ``build`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "toy_chatglm" / "corpus.txt"
VOCABULARY = 600

LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n你很小。<|im_end|>\n{% endif %}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GLM_TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Family:
    """What makes a family: ``prefix`` comes before every text, ``ends`` are where a model stops."""

    model_type: str
    special: tuple[str, ...]
    ends: tuple[str, ...]
    names: dict[str, str]  # of special tokens: bos_token and so on
    prefix: tuple[str, ...] = ()
    template: str | None = None
    shape: dict[str, object] = field(default_factory=lambda: SHAPE)


def _glm(model_type: str, **shape: object) -> Family:
    return Family(
        model_type=model_type,
        special=("<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        ends=("<|endoftext|>", "<|user|>"),
        names={"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
        prefix=("[gMASK]", "<sop>"),
        template=GLM_TEMPLATE,
        shape={**SHAPE, "head_dim": 16, **shape},
    )


KINDS = {
    "gpt2": Family(
        model_type="gpt2",
        special=("<|endoftext|>",),
        ends=("<|endoftext|>",),
        names=dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
        # No dropout of the base model's own, so that runs can be compared.
        shape={"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048}
        | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    ),
    "llama": Family(
        model_type="llama",
        special=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ),
        ends=("<|end_of_text|>", "<|eot_id|>"),
        names={"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
        prefix=("<|begin_of_text|>",),
        template=LLAMA_TEMPLATE,
    ),
    "qwen2": Family(
        model_type="qwen2",
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ends=("<|endoftext|>",),
        names={"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
        template=QWEN_TEMPLATE,
    ),
    "glm4": _glm("glm4"),
}
# Experts that are chosen among, beside one that all tokens go through, in the second layer.
EXPERTS = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
}
# Queries and keys through few numbers, and an indexer that picks the tokens to attend to.
SPARSE_ATTENTION = {
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "index_n_heads": 2,
    "index_head_dim": 32,
    "index_topk": 16,
}
# What transformers itself has of GLM, from GLM-4-9B's to GLM-5's.
GLMS = {
    "glm": _glm("glm"),
    "glm4": KINDS["glm4"],
    "glm4_moe": _glm("glm4_moe", **EXPERTS, first_k_dense_replace=1),
    "glm_moe_dsa": _glm("glm_moe_dsa", **EXPERTS, **SPARSE_ATTENTION, first_k_dense_replace=1),
}
FAMILIES = {**KINDS, **GLMS}


def available() -> list[str]:
    """The kinds whose models this release of transformers has."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return [kind for kind, family in FAMILIES.items() if family.model_type in CONFIG_MAPPING_NAMES]


def build(kind: str, dest: Path, *, template: bool = True, seed: int = 0) -> Path:
    """Write the model folder ``dest`` (created; its own files overwritten) and return its path.

    Without ``template`` the tokenizer gets none, as where a release knows no templates yet.

    Raises ValueError for a kind that there is not, or not in this release of transformers.
    """
    import transformers

    if kind not in FAMILIES:
        raise ValueError(f"no kind {kind!r}: choose from {', '.join(FAMILIES)}")
    if kind not in available():
        raise ValueError(f"transformers {transformers.__version__} has no {kind} models")
    dest = Path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(kind, template=template)
    tokenizer.save_pretrained(dest)
    _model(FAMILIES[kind], tokenizer, seed).save_pretrained(dest)
    return dest


def make_tokenizer(kind: str, *, template: bool = True):
    """A fast tokenizer with byte-level BPE, which spells any text and gives it back as it was."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[kind]
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(family.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS.read_text(encoding="utf-8").splitlines(), trainer)
    if family.prefix:
        bpe.post_processor = processors.TemplateProcessing(
            single=[*family.prefix, "$A"],
            pair=[*family.prefix, "$A", "$B:1"],
            special_tokens=[(token, bpe.token_to_id(token)) for token in family.prefix],
        )
    others = [token for token in family.special if token not in family.names.values()]
    given = {"chat_template": family.template} if template and family.template else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        additional_special_tokens=others,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **family.names,
        **given,
    )


def _model(family: Family, tokenizer, seed: int):
    """Random weights, large enough for a frozen model to have something to say: an adapter can
    learn. torch's global seed is kept.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    ends = tokenizer.convert_tokens_to_ids(list(family.ends))
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends if len(ends) > 1 else ends[0],
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = AutoConfig.for_model(
        family.model_type, vocab_size=len(tokenizer), **family.shape, **ids
    )
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(config)
    model.generation_config = GenerationConfig(**ids)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            # The head sees normalised states: with smaller weights it could not be sure of a token.
            outer = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
            wide = any(parameter is weight for weight in outer)
            parameter.normal_(std=0.3 if wide else 64**-0.5, generator=generator)
    return model

"""Which adapters merge right: ``python -m tests.payload.merge_table``, with a stack's python.

Every cell trains nothing: it draws an adapter's weights at random, saves it as the trainer does,
merges it, loads what was written afresh, and compares the logits with those of base and adapter.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    import tests.payload.conftest  # noqa: F401  the payload modules on the import path
import base_model
import lora_targets
import peft
import torch
import transformers

from tests import tiny_models, toy_chatglm
from tools.errors import UserError
from tools.training import merge

TOLERANCE = 1e-4
NEW_TOKENS = ["<new-1>", "<new-2>", "<new-3>"]
HAS_TOKEN_ROWS = "trainable_token_indices" in inspect.signature(peft.LoraConfig).parameters


@dataclasses.dataclass(frozen=True)
class Kind:
    """A model to adapt, and what its modules are called."""

    name: str
    tied: bool
    attention: str
    linear: str
    embedding: str

    def __str__(self) -> str:
        return f"{self.name}, {'tied' if self.tied else 'untied'}"


LLAMA = ("q_proj,v_proj", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", "embed_tokens")
CHATGLM = (
    "query_key_value",
    "query_key_value,dense,dense_h_to_4h,dense_4h_to_h",
    "word_embeddings",
)
KINDS = (
    Kind("llama", False, *LLAMA),
    Kind("llama", True, *LLAMA),
    Kind("gpt2", True, "c_attn", "c_attn,c_proj,c_fc", "wte"),
    Kind("chatglm", True, *CHATGLM),
)
TARGETS = ("attention", "all linear", "with lm_head", "with the embedding")
SAVES = ("none", "lm_head", "the embedding", "both")


@dataclasses.dataclass(frozen=True)
class Case:
    kind: Kind
    targets: str
    saves: str
    adds_tokens: bool

    def target_modules(self) -> str:
        more = {"with lm_head": ",lm_head", "with the embedding": f",{self.kind.embedding}"}
        if self.targets == "all linear":
            return self.kind.linear
        return self.kind.attention + more.get(self.targets, "")

    def saved(self) -> list[str]:
        both = [self.kind.embedding, "lm_head"]
        chosen = {"none": [], "lm_head": both[1:], "the embedding": both[:1], "both": both}
        return chosen[self.saves]

    def modules_to_save(self) -> list[str]:
        saved = self.saved()
        if self.adds_tokens and not self.has_token_rows():
            return [self.kind.embedding, "lm_head"]  # or the new rows would be lost
        if self.adds_tokens and not self.kind.tied and "lm_head" not in saved:
            return [*saved, "lm_head"]
        return saved

    def has_token_rows(self) -> bool:
        """Whether peft keeps the new rows alone, as it can of what is not adapted otherwise."""
        others = [self.kind.embedding, *(["lm_head"] if self.kind.tied else [])]
        chosen = {*self.target_modules().split(","), *self.saved()}
        return self.adds_tokens and HAS_TOKEN_ROWS and chosen.isdisjoint(others)

    def __str__(self) -> str:
        tokens = ", added tokens" if self.adds_tokens else ""
        return f"{self.kind}, {self.targets}, saves {self.saves}{tokens}"


def cases() -> Iterator[Case]:
    yield from itertools.starmap(Case, itertools.product(KINDS, TARGETS, SAVES, (False, True)))


@functools.cache
def build(kind: Kind, folder: Path) -> Path:
    """The folder of a kind's model."""
    dest = folder / f"{kind.name}-{kind.tied}"
    if kind.name == "chatglm":
        return toy_chatglm.build(dest)
    tiny_models.build(kind.name, dest)
    if kind.tied:
        model = transformers.AutoModelForCausalLM.from_pretrained(dest)
        model.config.tie_word_embeddings = True
        model.tie_weights()
        model.save_pretrained(dest)
    return dest


def load(folder: Path):
    """A model folder's model, as anybody loads it."""
    is_own = "ChatGLM" in (folder / "config.json").read_text(encoding="utf-8")
    cls = transformers.AutoModel if is_own else transformers.AutoModelForCausalLM
    return cls.from_pretrained(folder, trust_remote_code=is_own).eval()


def load_tokenizer(folder: Path):
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)


def add_adapter(case: Case, base: Path):
    """(model with a random adapter, tokenizer, training_run.json's account of the base)."""
    model, tokenizer = load(base), load_tokenizer(base)
    rows = model.get_input_embeddings().weight.shape[0]
    options = {}
    if case.adds_tokens:
        tokenizer.add_tokens(NEW_TOKENS)
        rows += len(NEW_TOKENS)
        model.resize_token_embeddings(rows)
    if case.has_token_rows():
        options["trainable_token_indices"] = {
            case.kind.embedding: list(range(rows - len(NEW_TOKENS), rows))
        }
    described = base_model._describe_base(model)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=2,
        lora_alpha=4,
        lora_dropout=0.0,
        target_modules=lora_targets._target_modules(model, case.target_modules()),
        modules_to_save=case.modules_to_save() or None,
        **options,
    )
    model = peft.get_peft_model(model, config).eval()
    torch.manual_seed(1)
    # Old releases leave the unused original of a saved module trainable, which others may share.
    named = model.named_parameters(remove_duplicate=False)
    originals = {id(parameter) for name, parameter in named if ".original_module." in name}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and id(parameter) not in originals:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model, tokenizer, described


def save_adapter(model, tokenizer, described: dict, folder: Path) -> None:
    """As the trainer writes its output folder."""
    takes = inspect.signature(model.save_pretrained).parameters
    options = {"save_embedding_layers": False} if "save_embedding_layers" in takes else {}
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    record = {"world_size": 1, "zero_stage": 0, "base_model": described}
    (folder / base_model.RUN_FILE).write_text(json.dumps(record), encoding="utf-8")


def logits(model, tokenizer):
    """(1, n, vocabulary) of one text, which has all tokens that were added."""
    ids = [20, 21, 22, *(i for i in tokenizer.convert_tokens_to_ids(NEW_TOKENS) if i and i > 30)]
    if hasattr(tokenizer, "gmask_token_id"):
        ids = tokenizer.build_inputs_with_special_tokens(ids, [23, 24])
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids])).logits


def difference(case: Case, folder: Path) -> float:
    """How far the merged model's logits are at most from those of base and adapter."""
    base = build(case.kind, folder)
    adapter, dest = (Path(tempfile.mkdtemp(dir=folder)) for _ in range(2))
    model, tokenizer, described = add_adapter(case, base)
    save_adapter(model, tokenizer, described, adapter)
    expected = logits(model, tokenizer)
    merge.merge(adapter, dest, trust=True)
    merged = load(dest)
    found = logits(merged, load_tokenizer(dest))
    _check_folder(merged, dest)
    return (found - expected).abs().max().item()


def _check_folder(merged, dest: Path) -> None:
    head, embedding = merged.get_output_embeddings().weight, merged.get_input_embeddings().weight
    assert merged.config.tie_word_embeddings == (head is embedding)
    assert merged.config.vocab_size == len(embedding) == len(head)


def verdict(case: Case, folder: Path) -> str:
    try:
        found = difference(case, folder)
    except UserError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"{found:.0e}" if found > TOLERANCE else "right"


def main() -> None:
    transformers.logging.set_verbosity_error()
    wanted = sys.argv[1:]
    print(f"transformers {transformers.__version__}, peft {peft.__version__}\n")
    print("| model | targets | modules to save | added tokens | merged |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if all(word in str(case) for word in wanted):
                said = " ".join(verdict(case, Path(folder)).split())
                tokens = "yes" if case.adds_tokens else "no"
                print(
                    "|",
                    case.kind,
                    "|",
                    case.targets,
                    "|",
                    case.saves,
                    "|",
                    tokens,
                    "|",
                    said,
                    "|",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""Other classes than upstream's, and names that it doesn't define."""

from __future__ import annotations

import re
from random import Random

from tests.fuzz.mutations.code import Code, dotted
from tests.fuzz.mutations.common import fresh, mutation, pick


@mutation(False)
def class_swapped(code: Code, random: Random) -> str | None:
    """Another class of transformers in the place of one that matters."""
    old, new = random.choice(
        [
            ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"),
            ("AutoModelForCausalLM", "AutoModelForVision2Seq"),
            ("AutoTokenizer", "AutoProcessor"),
            ("Trainer", "Seq2SeqTrainer"),
            ("Trainer", "SFTTrainer"),
            ("AutoModelForCausalLM", "AutoModel"),
            ("HfArgumentParser", "TrlParser"),
            ("AutoConfig", "LlamaConfig"),
            ("TrainingArguments", "Seq2SeqTrainingArguments"),
            ("default_data_collator", "DataCollatorWithPadding"),
        ]
    )
    return re.sub(rf"\b{old}\b", new, code.text)


@mutation(False)
def trainer_subclass(code: Code, random: Random) -> str | None:
    call = pick(random, [c for c in code.calls if dotted(c.func) == "Trainer"])
    if call is None:
        return None
    name = fresh(code, random, "CustomTrainer", "AdapterTrainer", "CLMTrainer")
    body = random.choice(
        [
            "pass",
            "def compute_loss(self, *args, **kwargs):\n        return super().compute_loss(*args)",
        ]
    )
    return code.edit(
        code.before(code.main, f"class {name}(Trainer):\n    {body}\n\n\n"),
        code.replace(call.func, name),
    )


@mutation(False)
def definition_added(code: Code, random: Random) -> str | None:
    if not code.main:
        return None
    new = random.choice(
        [
            "class SaveCallback(transformers.TrainerCallback):\n    pass",
            "class AdapterTrainer(Trainer):\n    pass",
            "class CustomTrainer(Trainer):\n    pass",
            "def add_lora(model):\n    return model",
            "def encode_pair(x):\n    return x",
            "def load_model(name):\n    return AutoModelForCausalLM.from_pretrained(name)",
            "def make_tokenizer(name):\n    return AutoTokenizer.from_pretrained(name)",
            "def prepare(raw_datasets):\n    return raw_datasets.map(lambda row: row)",
            "@dataclass\nclass ExtraArguments:\n    extra: int = field(default=1)",
            'os.environ.setdefault("WANDB_DISABLED", "true")',
            "peft = None",
            "LABEL_IGNORED = -100",
            "np = 1",
            "json = None",
            "def encode_prompt(examples):\n    return examples",
        ]
    )
    return code.edit(code.before(code.main, new + "\n\n\n"))


@mutation(False)
def local_shadows(code: Code, random: Random) -> str | None:
    """A local of main() with the name of something that is grafted."""
    if (s := pick(random, code.main.body if code.main else [])) is None:
        return None
    name = random.choice(
        [
            "add_lora",
            "encode_datasets",
            "encode_pair",
            "encode_prompt",
            "stop_ids",
            "lead_ids",
            "AdapterTrainer",
            "PairCollator",
            "predict_responses",
            "zero3_model_kwargs",
            "quantized",
            "ResponseAccuracy",
            "AutoModel",
            "os",
            "np",
        ]
    )
    return code.edit(code.after(s, f"{name} = None"))

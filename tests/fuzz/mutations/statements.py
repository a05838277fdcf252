"""Statements more than upstream has, or fewer, or in another order."""

from __future__ import annotations

import ast
import textwrap
from random import Random

from tests.fuzz.mutations.code import Code, name_of, reads
from tests.fuzz.mutations.common import (
    after_parse,
    free,
    mutation,
    nested,
    no_long_strings,
    parsed_names,
    pick,
)

EXTRA = (
    'logger.info("here")',
    "tokenizer.pad_token = tokenizer.eos_token",
    "model.config.use_cache = False",
    "model.gradient_checkpointing_enable()",
    "model = torch.compile(model)",
    "model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=8)",
    "raw_datasets = raw_datasets.shuffle(seed=1)",
    'raw_datasets = raw_datasets.filter(lambda row: row["text"])',
    "raw_datasets = raw_datasets.map(lambda row: row)",
    'raw_datasets["test"] = raw_datasets["validation"]',
    "tokenized_datasets = tokenized_datasets.shuffle(seed=1)",
    'tokenized_datasets = tokenized_datasets.filter(lambda row: row["input_ids"])',
    "lm_datasets = lm_datasets.shuffle(seed=1)",
    "training_args.remove_unused_columns = False",
    "data_args.max_train_samples = 10",
    "data_args.streaming = not data_args.streaming",
    "config.use_cache = False",
    "config = AutoConfig.from_pretrained(model_args.model_name_or_path)",
    "tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)",
    "model = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path)",
    "teacher = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path)\nteacher.eval()",
    "trainer.add_callback(None)",
    "trainer.remove_callback(None)",
    "trainer = Trainer(model=model, args=training_args)",
    "train_dataset = train_dataset.select(range(3)) if training_args.do_train else None",
    "eval_dataset = eval_dataset.map(lambda row: row) if training_args.do_eval else None",
    'with training_args.main_process_first(desc="something"):\n    os.environ.get("X")',
    "block_size = min(block_size, 512)",
    "print(column_names)",
    "assert model is not None",
    "del config",
    "import gc\ngc.collect()",
    'if training_args.do_predict:\n    trainer.predict(lm_datasets["test"])',
    "if training_args.do_eval:\n    trainer.evaluate()",
    "model_args.trust_remote_code = False",
    'config_kwargs["trust_remote_code"] = False',
    'tokenizer_kwargs["padding_side"] = "left"',
    'config_kwargs.pop("revision")',
    'kwargs["language"] = "en"',
    "data_collator = default_data_collator",
    "trainer.model = model",
    "trainer.data_collator = default_data_collator",
    'trainer.train_dataset = raw_datasets["train"]',
    "trainer.train()",
    "return",
    'raise ValueError("no")',
)


@mutation(False)
def statement_added(code: Code, random: Random) -> str | None:
    """Something new, most often where its names are known."""
    if not code.main:
        return None
    new = random.choice(EXTRA)
    names = reads(ast.parse(new)) & {
        "model",
        "tokenizer",
        "config",
        "raw_datasets",
        "trainer",
        "lm_datasets",
        "tokenized_datasets",
        "training_args",
        "data_args",
        "model_args",
        "block_size",
        "train_dataset",
        "eval_dataset",
        "column_names",
        "config_kwargs",
        "tokenizer_kwargs",
        "kwargs",
    }
    place = [
        s
        for s in (code.main.body if random.random() < 0.7 else code.statements)
        if not code.code(s).startswith("elif")
    ]
    if random.random() < 0.9:
        for name in names:
            lines = [
                n.lineno
                for n in ast.walk(code.main)
                if name_of(n) == name and isinstance(n.ctx, ast.Store)
            ]
            place = [s for s in place if lines and s.lineno >= min(lines)]
    s = pick(random, place)
    return code.edit(code.after(s, new)) if s else None


@mutation(False)
def statement_dropped(code: Code, random: Random) -> str | None:
    found = [s for s in code.statements if not code.code(s).startswith("elif")]
    s = pick(random, found)
    return code.edit(code.replace(s, "pass")) if s else None


@mutation(False)
def statement_twice(code: Code, random: Random) -> str | None:
    found = [s for s in code.statements if not code.code(s).startswith("elif")]
    s = pick(random, found)
    return code.edit(code.after(s, textwrap.dedent(code.indent(s) + code.code(s)))) if s else None


@mutation(False)
def statements_swapped(code: Code, random: Random) -> str | None:
    pairs = [(a, b) for block in code.blocks for a, b in zip(block, block[1:], strict=False)]
    if (pair := pick(random, pairs)) is None or code.code(pair[1]).startswith("elif"):
        return None
    a, b = pair
    return code.edit(code.replace(a, code.code(b)), code.replace(b, code.code(a)))


@mutation(False)
def statement_conditional(code: Code, random: Random) -> str | None:
    """``S`` → ``if something: S``: no longer whatever the arguments."""
    s = pick(random, [s for s in code.statements if free(code, s) and no_long_strings(code, s)])
    names = parsed_names(code)
    if s is None or len(names) != 3 or not after_parse(code, s):
        return None
    test = random.choice(
        [
            f"{names[2]}.do_train",
            f"not {names[1]}.streaming",
            f"{names[0]}.model_name_or_path",
            f"{names[2]}.should_log",
        ]
    )
    return nested(code, s, f"if {test}:")

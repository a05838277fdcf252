"""A statement more, at the place where upstream would put it: a table, theme by theme.

Names are those of the best-known script; each script's own take their place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from random import Random

from tests.fuzz.mutations.code import Code
from tests.fuzz.mutations.common import register, step_with

Place = Callable[[Code], "tuple[ast.stmt, bool] | None"]  # a step of main(); whether after it


def _after(pattern: str, last: bool = True) -> Place:
    return lambda code: (step, True) if (step := step_with(code, pattern, last)) else None


def _before(pattern: str) -> Place:
    return lambda code: (step, False) if (step := step_with(code, pattern, False)) else None


SEEDED = _after(r"set_seed\(")
LOADED = _after(r"load_dataset\(")
RESIZED = _after(r"resize_token_embeddings\(")
MAPPED = _after(r"\.map\(")
READY = _before(r"\bTrainer\(")
MADE = _after(r"\bTrainer\(")
TRAINED = _after(r"\.train\(")
EVALUATED = _after(r"\.evaluate\(")
LAST = _after(r"(?s).")
FIRST_MODEL = _before(r"AutoModelForCausalLM")

STATEMENTS: dict[str, tuple[Place, str]] = {
    # the model, between its loading and its Trainer
    "model_frozen": (RESIZED, "for param in model.parameters():\n    param.requires_grad = False"),
    "model_frozen_late": (READY, "for param in model.parameters():\n    param.requires_grad = False"),
    "model_partly_frozen": (READY, "model.get_input_embeddings().requires_grad_(False)"),
    "model_pruned": (READY, "model.model.layers = model.model.layers[:4]"),
    "model_cast": (READY, "model = model.to(torch.bfloat16)"),
    "model_cast_in_place": (RESIZED, "model.half()"),
    "model_hooked": (READY, "model.lm_head.register_forward_hook(lambda layer, given, out: out)"),
    "model_moved": (READY, "model.to(training_args.device)"),
    "model_compiled": (READY, "model = torch.compile(model)"),
    "model_checkpointing": (READY, "if training_args.gradient_checkpointing:\n    model.gradient_checkpointing_enable()"),
    "model_without_cache": (RESIZED, "model.config.use_cache = False"),
    "model_tied": (READY, "model.tie_weights()"),
    "model_resized_again": (READY, "model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=8)"),
    "model_registered": (FIRST_MODEL, "AutoModelForCausalLM.register(AutoConfig, object)"),
    "model_under_a_second_name": (READY, "unwrapped = model\nunwrapped.config.use_cache = False"),
    "teacher": (READY, "teacher = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path)\nteacher.eval()"),
    "optimizer_of_its_own": (READY, "optimizer = torch.optim.AdamW(model.parameters())"),
    "own_peft": (READY, "from peft import LoraConfig, get_peft_model\nmodel = get_peft_model(model, LoraConfig())"),
    "own_peft_before": (RESIZED, "import peft\nmodel = peft.prepare_model_for_kbit_training(model)"),
    # the tokenizer
    "pad_token": (_after(r"AutoTokenizer"), "if tokenizer.pad_token is None:\n    tokenizer.pad_token = tokenizer.eos_token"),
    "tokens_added": (_after(r"AutoTokenizer"), 'tokenizer.add_special_tokens({"pad_token": "<pad>"})'),
    "tokenizer_none_first": (_before(r"AutoTokenizer"), "tokenizer = None"),
    "tokenizer_again": (READY, "tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)"),
    "chat_template": (_after(r"AutoTokenizer"), 'tokenizer.padding_side = "left"'),
    # the data, as loaded and as mapped
    "raw_shuffled": (LOADED, "raw_datasets = raw_datasets.shuffle(seed=training_args.seed)"),
    "raw_filtered": (LOADED, 'raw_datasets = raw_datasets.filter(lambda row: row["text"])'),
    "raw_filtered_late": (RESIZED, 'raw_datasets = raw_datasets.filter(lambda row: row["text"])'),
    "raw_cleaned": (LOADED, 'raw_datasets = raw_datasets.map(lambda row: {"text": row["text"].strip()})'),
    "raw_selected": (LOADED, 'if training_args.do_train:\n    raw_datasets["train"] = raw_datasets["train"].select(range(9))'),
    "raw_parted": (LOADED, 'if "test" in raw_datasets:\n    raw_datasets["validation"] = raw_datasets["test"]'),
    "raw_split_off": (LOADED, 'if training_args.do_eval:\n    raw_datasets = raw_datasets["train"].train_test_split(0.1)\n    raw_datasets["validation"] = raw_datasets.pop("test")'),
    "raw_joined": (LOADED, 'raw_datasets["train"] = datasets.concatenate_datasets([raw_datasets["train"], raw_datasets["validation"]])'),
    "raw_told": (LOADED, 'logger.info(f"{raw_datasets}")'),
    "raw_again": (READY, "raw_datasets = raw_datasets.shuffle(seed=1)"),
    "mapped_shuffled": (MAPPED, "lm_datasets = lm_datasets.shuffle(seed=1)"),
    "mapped_filtered": (MAPPED, 'lm_datasets = lm_datasets.filter(lambda row: row["input_ids"])'),
    "mapped_mapped": (MAPPED, "lm_datasets = lm_datasets.map(lambda row: row)"),
    "mapped_printed": (MAPPED, "print(lm_datasets)"),
    "mapped_told": (MAPPED, 'logger.info(f"{lm_datasets}")'),
    "mapped_counted": (MAPPED, 'if training_args.do_train:\n    logger.info(f"{len(lm_datasets[\'train\'])} rows")'),
    "mapped_sample": (READY, 'if training_args.do_train:\n    logger.info(f"First: {train_dataset[0]}")'),
    "mapped_formatted": (MAPPED, 'lm_datasets = lm_datasets.with_format("torch")'),
    "mapped_split_added": (MAPPED, 'lm_datasets["test"] = lm_datasets["validation"]'),
    "either_flag": (MAPPED, 'if training_args.do_train or training_args.do_eval:\n    logger.info(f"{len(lm_datasets[\'train\'])} rows")'),
    "other_split": (EVALUATED, 'if training_args.do_predict:\n    trainer.predict(lm_datasets["test"])'),
    "other_split_evaluated": (EVALUATED, 'if "test" in lm_datasets and training_args.do_eval:\n    trainer.evaluate(lm_datasets["test"])'),
    "rows_shuffled": (READY, "if training_args.do_train:\n    train_dataset = train_dataset.shuffle(seed=1)"),
    "rows_selected": (READY, "if training_args.do_eval:\n    eval_dataset = eval_dataset.select(range(9))"),
    "size_told": (MAPPED, 'logger.info(f"chunks of {block_size} tokens")'),
    "size_told_late": (READY, 'print("block_size", block_size)'),
    "argument_replaced": (SEEDED, "data_args.max_train_samples = 10"),
    "argument_toggled": (SEEDED, "data_args.streaming = not data_args.streaming"),
    # the Trainer, once it is made
    "collator_replaced": (MADE, "trainer.data_collator = default_data_collator"),
    "data_replaced": (MADE, 'trainer.train_dataset = raw_datasets["train"]'),
    "metrics_replaced": (MADE, "trainer.compute_metrics = None"),
    "callback_added": (MADE, "trainer.add_callback(transformers.PrinterCallback)"),
    "callback_removed": (MADE, "trainer.remove_callback(transformers.PrinterCallback)"),
    "trainer_wrapped": (MADE, "trainer.model_wrapped = torch.compile(trainer.model)"),
    "second_trainer": (MADE, "trainer = Trainer(model=model, args=training_args)"),
    "second_trainer_at_the_end": (EVALUATED, "other = Trainer(model=model, args=training_args)\nother.evaluate(eval_dataset=None)"),
    "trained_twice": (TRAINED, "if training_args.do_train:\n    trainer.train()"),
    "evaluated_twice": (EVALUATED, "if training_args.do_eval:\n    trainer.evaluate()"),
    "evaluated_first": (MADE, "if training_args.do_eval:\n    trainer.evaluate()"),
    # how a run ends
    "torn_down": (EVALUATED, "if torch.distributed.is_initialized():\n    torch.distributed.destroy_process_group()"),
    "torn_down_at_the_end": (LAST, "torch.distributed.destroy_process_group()"),
    "returns_early": (TRAINED, "if not training_args.do_eval:\n    return"),
    "returns_early_always": (TRAINED, "if training_args.do_train:\n    return"),
    "exits": (LAST, "sys.exit(0)"),
    "exits_early": (TRAINED, "if not training_args.do_eval:\n    sys.exit()"),
    "pushed_after": (LAST, "if training_args.push_to_hub:\n    model.push_to_hub(training_args.hub_model_id)"),
    "saved_after": (LAST, "model.save_pretrained(training_args.output_dir)\ntokenizer.save_pretrained(training_args.output_dir)"),
    "raises": (TRAINED, 'raise ValueError("no")'),
}  # fmt: skip


def _inserts(place: Place, text: str) -> Callable[[Code, Random], str | None]:
    def run(code: Code, random: Random) -> str | None:
        if (found := place(code)) is None:
            return None
        step, is_after = found
        new = code.named(text)
        return code.edit(code.after(step, new) if is_after else code.before(step, new))

    return run


for _name, (_place, _text) in STATEMENTS.items():
    register(_name, False, _inserts(_place, _text), __name__)

#!/usr/bin/env python
# coding=utf-8
"""A small trainer of causal language models, in the shape of a well-known example script.

Written for the tests of run-clm-lora, which regenerate a LoRA trainer from it. It really trains.
"""

import logging
import math
import os
import sys
import warnings
from dataclasses import dataclass, field
from itertools import chain
from typing import Optional

import datasets
import evaluate
import torch
from datasets import load_dataset

import transformers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    is_torch_tpu_available,
    set_seed,
)
from transformers.testing_utils import CaptureLogger
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version, send_example_telemetry

check_min_version("4.33.0.dev0")
logger = logging.getLogger(__name__)
KNOWN_TYPES = tuple(c.model_type for c in MODEL_FOR_CAUSAL_LM_MAPPING)


@dataclass
class ModelOptions:
    """What to train."""

    model_name_or_path: Optional[str] = field(
        default=None, metadata={"help": "Weights to begin with; none begins from scratch."}
    )
    model_type: Optional[str] = field(
        default=None, metadata={"help": "For training from scratch: " + ", ".join(KNOWN_TYPES)}
    )
    config_overrides: Optional[str] = field(
        default=None, metadata={"help": "For training from scratch: n_embd=10,n_layer=2 and so on."}
    )
    config_name: Optional[str] = field(default=None, metadata={"help": "Another configuration."})
    tokenizer_name: Optional[str] = field(default=None, metadata={"help": "Another tokenizer."})
    cache_dir: Optional[str] = field(default=None, metadata={"help": "Folder for downloads."})
    use_fast_tokenizer: bool = field(default=True, metadata={"help": "Prefer the fast kind."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit."})
    token: Optional[str] = field(default=None, metadata={"help": "Log in with this token."})
    use_auth_token: Optional[bool] = field(default=None, metadata={"help": "Say --token instead."})
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run the code that comes with the model."}
    )
    torch_dtype: Optional[str] = field(
        default=None,
        metadata={
            "help": "Load the weights as this type.",
            "choices": ["auto", "float32", "float16", "bfloat16"],
        },
    )
    low_cpu_mem_usage: bool = field(default=False, metadata={"help": "Load weight by weight."})

    def __post_init__(self):
        if self.config_overrides and (self.config_name or self.model_name_or_path):
            raise ValueError("config_overrides is for training from scratch only")


@dataclass
class DataOptions:
    """What to train and evaluate on."""

    dataset_name: Optional[str] = field(default=None, metadata={"help": "A data set by name."})
    dataset_config_name: Optional[str] = field(default=None, metadata={"help": "Its variant."})
    train_file: Optional[str] = field(
        default=None, metadata={"help": "Training data: a text file."}
    )
    validation_file: Optional[str] = field(default=None, metadata={"help": "Data to evaluate on."})
    max_train_samples: Optional[int] = field(default=None, metadata={"help": "Train on fewer."})
    max_eval_samples: Optional[int] = field(default=None, metadata={"help": "Evaluate on fewer."})
    streaming: bool = field(default=False, metadata={"help": "Read the data as it is needed."})
    block_size: Optional[int] = field(default=None, metadata={"help": "Tokens in each chunk."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Prepare the data anew."})
    validation_split_percentage: Optional[int] = field(
        default=5, metadata={"help": "Taken off the training data where there is no other."}
    )
    preprocessing_num_workers: Optional[int] = field(default=None, metadata={"help": "Processes."})
    keep_linebreaks: bool = field(default=True, metadata={"help": "In text files, keep them."})

    def __post_init__(self):
        if not (self.dataset_name or self.train_file or self.validation_file):
            raise ValueError("Give a data set by name, or files to train or evaluate on.")
        for name in filter(None, (self.train_file, self.validation_file)):
            if name.rsplit(".", 1)[-1] not in ("csv", "json", "txt"):
                raise ValueError(f"{name}: only csv, json and txt files are read")


def main():
    parser = HfArgumentParser((ModelOptions, DataOptions, TrainingArguments))
    if sys.argv[1:] and sys.argv[1].endswith(".json") and len(sys.argv) == 2:
        arguments_file = os.path.abspath(sys.argv[1])
        (model_opts, data_opts, train_opts) = parser.parse_json_file(arguments_file)
    else:
        (model_opts, data_opts, train_opts) = parser.parse_args_into_dataclasses()

    if model_opts.use_auth_token is not None:
        warnings.warn("--use_auth_token goes: say --token", FutureWarning)
        if model_opts.token is not None:
            raise ValueError("Give --token or --use_auth_token, not both.")
        model_opts.token = model_opts.use_auth_token

    send_example_telemetry("miniature", model_opts, data_opts)

    logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout)])
    level = train_opts.get_process_log_level()
    logger.setLevel(level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)
    logger.info("rank %s of device %s", train_opts.local_rank, train_opts.device)

    # Is there a run to go on with?
    last_checkpoint = None
    folder = train_opts.output_dir
    if train_opts.do_train and os.path.isdir(folder) and not train_opts.overwrite_output_dir:
        last_checkpoint = get_last_checkpoint(folder)
        if last_checkpoint is None and os.listdir(folder):
            raise ValueError(f"{folder} holds something else: say --overwrite_output_dir")

    set_seed(train_opts.seed)

    # The data, and where it has no validation split, one of its own.
    if data_opts.dataset_name is not None:
        source, files = data_opts.dataset_name, None
        reading = {"name": data_opts.dataset_config_name}
    else:
        files, reading = {}, {}
        if data_opts.train_file is not None:
            files["train"] = data_opts.train_file
        if data_opts.validation_file is not None:
            files["validation"] = data_opts.validation_file
        source = next(iter(files.values())).rsplit(".", 1)[-1]
        if source == "txt":
            source = "text"
            reading["keep_linebreaks"] = data_opts.keep_linebreaks
    rows = load_dataset(
        source,
        data_files=files,
        cache_dir=model_opts.cache_dir,
        token=model_opts.token,
        streaming=data_opts.dataset_name is not None and data_opts.streaming,
        **reading,
    )
    if "validation" not in rows.keys():
        for part, cut in (("validation", "train[:{}%]"), ("train", "train[{}%:]")):
            rows[part] = load_dataset(
                source,
                data_files=files,
                split=cut.format(data_opts.validation_split_percentage),
                cache_dir=model_opts.cache_dir,
                token=model_opts.token,
                streaming=data_opts.dataset_name is not None and data_opts.streaming,
                **reading,
            )

    # Configuration, tokenizer, model.
    conf_from = {
        "cache_dir": model_opts.cache_dir,
        "revision": model_opts.model_revision,
        "token": model_opts.token,
        "trust_remote_code": model_opts.trust_remote_code,
    }
    if model_opts.config_name:
        conf = AutoConfig.from_pretrained(model_opts.config_name, **conf_from)
    elif model_opts.model_name_or_path:
        conf = AutoConfig.from_pretrained(model_opts.model_name_or_path, **conf_from)
    else:
        conf = CONFIG_MAPPING[model_opts.model_type]()
        if model_opts.config_overrides is not None:
            conf.update_from_string(model_opts.config_overrides)

    tok_from = {
        "cache_dir": model_opts.cache_dir,
        "use_fast": model_opts.use_fast_tokenizer,
        "revision": model_opts.model_revision,
        "token": model_opts.token,
        "trust_remote_code": model_opts.trust_remote_code,
    }
    if model_opts.tokenizer_name:
        tok = AutoTokenizer.from_pretrained(model_opts.tokenizer_name, **tok_from)
    elif model_opts.model_name_or_path:
        tok = AutoTokenizer.from_pretrained(model_opts.model_name_or_path, **tok_from)
    else:
        raise ValueError("Training from scratch needs --tokenizer_name of a tokenizer made before.")

    if model_opts.model_name_or_path:
        torch_dtype = model_opts.torch_dtype
        if torch_dtype not in ("auto", None):
            torch_dtype = getattr(torch, torch_dtype)
        net = AutoModelForCausalLM.from_pretrained(
            model_opts.model_name_or_path,
            from_tf=model_opts.model_name_or_path.endswith(".ckpt"),
            config=conf,
            cache_dir=model_opts.cache_dir,
            revision=model_opts.model_revision,
            token=model_opts.token,
            trust_remote_code=model_opts.trust_remote_code,
            torch_dtype=torch_dtype,
            low_cpu_mem_usage=model_opts.low_cpu_mem_usage,
        )
    else:
        net = AutoModelForCausalLM.from_config(conf, trust_remote_code=model_opts.trust_remote_code)
        logger.info("from scratch: %d weights", sum(p.numel() for p in net.parameters()))

    # Grow the embeddings where the tokenizer knows more than the model; never shrink them.
    embeddings = net.get_input_embeddings().weight.shape[0]
    if len(tok) > embeddings:
        net.resize_token_embeddings(len(tok))

    # From here on the text is cut into chunks.
    if train_opts.do_train:
        columns = list(rows["train"].features)
    else:
        columns = list(rows["validation"].features)
    text_column = "text" if "text" in columns else columns[0]

    # Made before the function below is hashed.
    loud = transformers.utils.logging.get_logger("transformers.tokenization_utils_base")

    def to_tokens(examples):
        with CaptureLogger(loud) as heard:
            output = tok(examples[text_column])
        if "longer than" in heard.out:
            loud.warning("Never mind: what is too long is cut into chunks.")
        return output

    with train_opts.main_process_first(desc="tokenizing"):
        if not data_opts.streaming:
            tokens = rows.map(
                to_tokens,
                batched=True,
                num_proc=data_opts.preprocessing_num_workers,
                remove_columns=columns,
                load_from_cache_file=not data_opts.overwrite_cache,
                desc="Tokenizing",
            )
        else:
            tokens = rows.map(to_tokens, batched=True, remove_columns=columns)

    if data_opts.block_size is None:
        block_size = tok.model_max_length
        if block_size > 1024:
            logger.warning("The tokenizer allows for more than 1024 tokens; chunks are of 1024.")
            block_size = 1024
    else:
        if data_opts.block_size > tok.model_max_length:
            logger.warning("--block_size is more than the tokenizer allows for.")
        block_size = min(data_opts.block_size, tok.model_max_length)

    # Joins all texts and cuts them up; what is left over goes.
    def cut_up(examples):
        joined = {k: list(chain(*examples[k])) for k in examples}
        length = len(next(iter(joined.values())))
        length = length // block_size * block_size
        result = {
            k: [tokens[at : at + block_size] for at in range(0, length, block_size)]
            for k, tokens in joined.items()
        }
        result["labels"] = list(result["input_ids"])
        return result

    with train_opts.main_process_first(desc="chunking"):
        if not data_opts.streaming:
            chunks = tokens.map(
                cut_up,
                batched=True,
                num_proc=data_opts.preprocessing_num_workers,
                load_from_cache_file=not data_opts.overwrite_cache,
                desc=f"Chunks of {block_size}",
            )
        else:
            chunks = tokens.map(cut_up, batched=True)

    if train_opts.do_train:
        if "train" not in tokens:
            raise ValueError("There is nothing to train on: --do_train wants a train split.")
        train_part = chunks["train"]
        if data_opts.max_train_samples is not None:
            few = min(len(train_part), data_opts.max_train_samples)
            train_part = train_part.select(range(few))

    if train_opts.do_eval:
        if "validation" not in tokens:
            raise ValueError("There is nothing to evaluate: --do_eval wants a validation split.")
        eval_part = chunks["validation"]
        if data_opts.max_eval_samples is not None:
            few = min(len(eval_part), data_opts.max_eval_samples)
            eval_part = eval_part.select(range(few))

        def best_guess(logits, labels):
            if isinstance(logits, tuple):
                logits = logits[0]  # the rest is the cache
            return logits.argmax(dim=-1)

        metric = evaluate.load("accuracy")

        def compute_metrics(eval_preds):
            guesses, labels = eval_preds
            labels, guesses = labels[:, 1:].reshape(-1), guesses[:, :-1].reshape(-1)
            return metric.compute(predictions=guesses, references=labels)

    trainer = Trainer(
        model=net,
        args=train_opts,
        train_dataset=train_part if train_opts.do_train else None,
        eval_dataset=eval_part if train_opts.do_eval else None,
        tokenizer=tok,
        # Chunks are of one length, so there is nothing to pad.
        data_collator=default_data_collator,
        compute_metrics=(
            compute_metrics if train_opts.do_eval and not is_torch_tpu_available() else None
        ),
        preprocess_logits_for_metrics=(
            best_guess if train_opts.do_eval and not is_torch_tpu_available() else None
        ),
    )

    if train_opts.do_train:
        resume = last_checkpoint
        if train_opts.resume_from_checkpoint is not None:
            resume = train_opts.resume_from_checkpoint
        outcome = trainer.train(resume_from_checkpoint=resume)
        trainer.save_model()
        figures = outcome.metrics
        available = len(train_part)
        if data_opts.max_train_samples is not None:
            available = min(available, data_opts.max_train_samples)
        figures["train_samples"] = available
        trainer.log_metrics("train", figures)
        trainer.save_metrics("train", figures)
        trainer.save_state()

    if train_opts.do_eval:
        logger.info("evaluating")
        figures = trainer.evaluate()
        available = len(eval_part)
        if data_opts.max_eval_samples is not None:
            available = min(available, data_opts.max_eval_samples)
        figures["eval_samples"] = available
        try:
            figures["perplexity"] = math.exp(figures["eval_loss"])
        except OverflowError:
            figures["perplexity"] = math.inf
        trainer.log_metrics("eval", figures)
        trainer.save_metrics("eval", figures)

    card = {"finetuned_from": model_opts.model_name_or_path, "tasks": "text-generation"}
    if data_opts.dataset_name is not None:
        card["dataset_tags"] = card["dataset"] = data_opts.dataset_name
        if data_opts.dataset_config_name is not None:
            card["dataset_args"] = data_opts.dataset_config_name
    if train_opts.push_to_hub:
        trainer.push_to_hub(**card)
    else:
        trainer.create_model_card(**card)


def _mp_fn(index):
    main()


if __name__ == "__main__":
    main()

"""Ways to make a generated script wrong, each with the reason that the judge must give."""

from __future__ import annotations

import pytest

# What is edited (a pattern and what takes its place), and what the judge must say about it.
WRONG = [
    pytest.param(
        r"( +)(<model> = add_lora\(.*\))\n",
        r"\1tuned = 0\n",
        "add_lora is called 0 times",
        id="no LoRA",
    ),
    pytest.param(
        r"(\n    if len\(<tokenizer>\) > .*\n.*grow_embeddings.*\n)((?:.*\n)*?)( +<model> = add_lora\(.*\)\n)",
        r"\n\3\1\2",
        "resized after LoRA|resize",
        id="LoRA before the resize",
    ),
    pytest.param(
        r"grow_embeddings\(<model>, ",
        "<model>.resize_token_embeddings(",
        "embeddings may lose rows",
        id="embeddings that shrink",
    ),
    pytest.param(
        r"<model> = (add_lora\(.*\))",
        r"wrapped = \1",
        "not the LoRA model",
        id="base model trained",
    ),
    pytest.param(
        r"add_lora\(<model>, <tokenizer>, stop_ids, <model_args>, <training_args>\)\n",
        "add_lora(<model>, <tokenizer>, stop_ids, <data_args>, <training_args>)\n",
        "add_lora gets",
        id="LoRA gets other arguments",
    ),
    pytest.param(
        r"AutoModel\.from_pretrained",
        "AutoModelForCausalLM.from_pretrained",
        "comes from|importing|NameError",
        id="AutoModelForCausalLM",
    ),
    pytest.param(
        r"join_process_group\(<training_args>\)\n",
        "pass\n",
        "join_process_group is called 0",
        id="no ranks",
    ),
    pytest.param(
        r"join_process_group\(<training_args>\)\n((?:.*\n)*?)( +)(<model> = add_lora)",
        r"pass\n\1\2join_process_group(<training_args>)\n\2\3",
        "after a model is loaded",
        id="ranks after the model",
    ),
    pytest.param(r"\*\*quantized\(.*?\),?", "", "without what quantises it", id="no quantisation"),
    pytest.param(
        r"quantized\(<model_args>\)",
        "quantized(None)",
        "without what quantises it",
        id="quantisation without arguments",
    ),
    pytest.param(r"\*\*zero3_model_kwargs\(.*?\),?", "", "without its zero3", id="no zero3"),
    pytest.param(
        r"zero3_model_kwargs\(<config>, <model_args>\)",
        "zero3_model_kwargs(None, <model_args>)",
        "without its zero3",
        id="zero3 without config",
    ),
    pytest.param(
        r"(AutoModel\.from_config\(\s*\w+), trust_remote_code=\S+?\s*\)",
        r"\1)",
        "from_config gets trust_remote_code=None",
        id="from_config does not trust",
    ),
    pytest.param(
        r'    "trust_remote_code": .*,\n',
        "",
        "gets trust_remote_code=None",
        id="kwargs do not trust",
    ),
    pytest.param(
        r'"trust_remote_code": [^,\n}]*',
        '"trust_remote_code": False',
        "gets trust_remote_code=False",
        id="trust turned off",
    ),
    pytest.param(
        r"encode_datasets\((\s*)<raw>, encode_pair",
        r"encode_datasets(\1{}, encode_pair",
        "encode_datasets gets|raises",
        id="nothing encoded",
    ),
    pytest.param(r"= encode_datasets\([^)]*\)", "= <raw>", "not encoded", id="raw data"),
    pytest.param(
        r"(<encoded>)\[\"train\"\]",
        r'<raw>["train"]',
        "not encoded",
        id="raw training data",
    ),
    pytest.param(
        r"(<encoded>)\[\"validation\"\]",
        r'<raw>["validation"]',
        "eval_dataset is not encoded",
        id="raw evaluation data",
    ),
    pytest.param(
        r"<encoded>\[\"validation\"\]",
        '<encoded>["train"]',
        "raises|upstream does",
        id="other split",
    ),
    pytest.param(
        r"data_collator=PairCollator\(<tokenizer>, <data_args>\)",
        "data_collator=None",
        "data_collator is None",
        id="no collator",
    ),
    pytest.param(
        r"PairCollator\(<tokenizer>, <data_args>\)",
        "PairCollator(<tokenizer>, <model_args>)",
        "data_collator is",
        id="collator gets other arguments",
    ),
    pytest.param(
        r"\n    run_main\((\w+)\)\n", r"\n    \1()\n", "run_main is called 0", id="traceback"
    ),
    pytest.param(
        r"\n    run_main\((\w+)\)\n",
        r"\n    \1()\n    run_main(print)\n",
        "not once around everything",
        id="run_main around something else",
    ),
    pytest.param(
        r", \*DATA_FILE_ENDINGS(?=[\])}])", "", "jsonl files: it raises", id="jsonl turned away"
    ),
    pytest.param(
        r"<data_args>\.load_files\(",
        "datasets.load_dataset(",
        "load_dataset is given files|importing|raises",
        id="files are read as upstream reads them",
    ),
    pytest.param(
        r"data_files=\w+,", "data_files={},", "upstream does load_dataset", id="other files"
    ),
    pytest.param(
        r"(<raw> = <data_args>\.load_files\()((?:.*\n)*?)( +)data_files=\w+,",
        r"\1\2\3",
        "upstream does load_dataset",
        id="read without files",
    ),
    pytest.param(
        r"<data_args>\.load_files\(\s*(\w+,)",
        r"<data_args>.load_files(\1 None, None, {},",
        "loaded through the data arguments",
        id="files in place",
    ),
    pytest.param(
        r"LenientArgumentParser\(\(", "HfArgumentParser((", "0 lenient parsers", id="plain parser"
    ),
    pytest.param(r"show_preview\(.*\)\n", "pass\n", "show_preview is called 0", id="no preview"),
    pytest.param(r"= AdapterTrainer\(", "= Trainer(", "not one AdapterTrainer", id="plain Trainer"),
    pytest.param(
        r"(\n    if <training_args>\.do_train:\n        (?:checkpoint|resume))",
        r"\n    AdapterTrainer(model=<model>)\n\1",
        "not one AdapterTrainer|upstream does",
        id="two trainers",
    ),
    pytest.param(
        r"(\n    )(<trainer> = AdapterTrainer\()",
        r'\1import evaluate\1evaluate.load("accuracy")\1\2',
        "a metric is loaded",
        id="metric from the hub",
    ),
    pytest.param(
        r"( = AdapterTrainer\()",
        r"\1compute_metrics=lambda rows: {}, ",
        "is given compute_metrics",
        id="upstream's metrics",
    ),
    pytest.param(
        r"( = AdapterTrainer\()",
        r"\1preprocess_logits_for_metrics=lambda logits, labels: logits, ",
        "is given preprocess_logits_for_metrics",
        id="upstream's choice of logits",
    ),
    pytest.param(
        r"(\n    <model> = add_lora.*\n)((?:.*\n)*?.* = AdapterTrainer\()",
        r"\n    made = torch.optim.AdamW(<model>.parameters())\n\1\2optimizers=(made, None), ",
        "optimizers is of the model without LoRA",
        id="an optimizer of the base model",
    ),
    pytest.param(
        r"(\n    <model> = add_lora.*\n)((?:.*\n)*?.* = AdapterTrainer\()",
        r"\n    old = <model>\n\1\2model_init=lambda: old, ",
        "model_init is of the model without LoRA",
        id="the base model once more",
    ),
    pytest.param(
        r"(\n    <model> = add_lora.*\n)",
        r"\1\n    <model>.half()\n",
        "touched between add_lora and the Trainer",
        id="a cast after LoRA",
    ),
    pytest.param(
        r"(\n    <model> = add_lora.*\n)",
        r"\1\n    for p in <model>.parameters():\n        p.requires_grad = False\n",
        "touched between add_lora and the Trainer",
        id="frozen after LoRA",
    ),
    pytest.param(
        r"( +)(if <training_args>\.do_predict:\n.*predict_responses\(.*\)\n)",
        r"\1torch.distributed.destroy_process_group()\n\1\2",
        "prediction comes after torch.distributed.destroy_process_group",
        id="prediction after the teardown",
    ),
    pytest.param(
        r"( +)(if <training_args>\.do_predict:\n.*predict_responses\(.*\)\n)",
        r"\1sys.exit()\n\1\2",
        "it raises",
        id="prediction after the end",
    ),
    pytest.param(
        r"if <training_args>\.do_predict:\n",
        "if <training_args>.do_eval:\n",
        "predict_responses is called",
        id="prediction with evaluation",
    ),
    pytest.param(
        r"( +)if <training_args>\.do_predict:\n.*predict_responses\(.*\)\n",
        "",
        "predict_responses is called 0",
        id="no prediction",
    ),
    pytest.param(
        r"predict_responses\(<trainer>, <tokenizer>, encode_prompt, stop_ids, lead_ids, <raw>",
        "predict_responses(<trainer>, <tokenizer>, encode_prompt, stop_ids, lead_ids, <encoded>",
        "predict_responses gets",
        id="prediction from encoded data",
    ),
    pytest.param(
        r"(\n    if <training_args>\.do_eval:\n        logger)",
        r"\n    if <training_args>.do_predict:\n"
        r"        predict_responses(<trainer>, <tokenizer>, encode_prompt, stop_ids, lead_ids, <raw>, <model_args>, <data_args>, <training_args>)\n\1",
        "before training or evaluation|called 2",
        id="prediction before evaluation",
    ),
    pytest.param(r"if <training_args>\.push_to_hub:", "if False:", "push_to_hub", id="no push"),
    pytest.param(r"trainer\.save_model\(\).*", "pass", "save_model", id="model not saved"),
    pytest.param(r"trainer\.save_state\(\)", "pass", "save_state", id="state not saved"),
    pytest.param(
        r"trainer\.save_metrics\(\"eval\", \w+\)",
        "pass",
        "save_metrics",
        id="metrics not saved",
    ),
    pytest.param(
        r"trainer\.train\(resume_from_checkpoint=\w+\)",
        "trainer.train()",
        r"\.train\(",
        id="no resume",
    ),
    pytest.param(
        r"trainer\.train\(resume_from_checkpoint=\w+\)",
        "trainer.train(resume_from_checkpoint=True)",
        r"\.train\(",
        id="always resume",
    ),
    pytest.param(r"set_seed\(<training_args>\.seed\)", "pass", "set_seed", id="no seed"),
    pytest.param(
        r"set_seed\(<training_args>\.seed\)", "set_seed(0)", "set_seed", id="another seed"
    ),
    pytest.param(
        r"<data_args>\.max_train_samples is not None",
        "False",
        "select|samples|train_dataset",
        id="all training samples",
    ),
    pytest.param(
        r"<data_args>\.max_eval_samples is not None",
        "False",
        "select|samples|eval_dataset|take",
        id="all evaluation samples",
    ),
    pytest.param(
        r"revision=<model_args>\.model_revision,?|\"revision\": <model_args>\.model_revision,",
        "",
        "revision",
        id="revision dropped",
    ),
    pytest.param(r"cache_dir=<model_args>\.cache_dir,", "", "cache_dir", id="cache folder dropped"),
    pytest.param(r"streaming=<data_args>\.streaming,?", "", "load_dataset", id="not streamed"),
    pytest.param(
        r"if <training_args>\.do_train:\n        (checkpoint|resume)\b",
        r"if True:\n        \1",
        "raises|upstream",
        id="always train",
    ),
    pytest.param(
        r"(use_fast_tokenizer: bool = field\(\s*default=)True",
        r"\1False",
        "use_fast_tokenizer",
        id="a default changed",
    ),
    pytest.param(
        r"(trust_remote_code: bool = field\(\s*default=)True",
        r"\1False",
        "trust_remote_code",
        id="trust is not the default",
    ),
    pytest.param(
        r"(    overwrite_cache: bool = field)",
        r"    block_size: int = 1\n\1",
        "block_size",
        id="block_size stays",
    ),
    pytest.param(
        r"    overwrite_cache: bool = field\([^)]*\)\n",
        "    pass\n",
        "overwrite_cache",
        id="an argument lost",
    ),
    pytest.param(
        r"\(PromptResponseArguments, ",
        "(",
        "prompt_column|raises|missing",
        id="no prompt arguments",
    ),
    pytest.param(
        r", EarlyStoppingArguments\)", ")", "early_stopping_patience", id="no patience argument"
    ),
    pytest.param(
        r"callbacks=make_callbacks\(<data_args>, <training_args>\)",
        "callbacks=[]",
        "callbacks are",
        id="no callbacks",
    ),
    pytest.param(
        r"(\n +)(?=\w+ = <trainer>\.evaluate\()",
        r"\1<trainer>.data_collator = None\1",
        "data_collator is replaced",
        id="the collator is replaced",
    ),
    pytest.param(r"\(LoraArguments\)", "", "lora_rank", id="no LoRA arguments"),
    pytest.param(
        r"lora_rank: int = field\(default=8",
        "lora_rank: int = field(default=16",
        "payload",
        id="another rank",
    ),
    pytest.param(r"import peft\n", "import torch as peft\n", "payload", id="another peft"),
    pytest.param(
        r"\Z", "\n\ndef encode_pair(*args):\n    return {}\n", "payload", id="encoding redefined"
    ),
    pytest.param(
        r"logger = logging.getLogger\(__name__\)",
        "logger = None",
        "payload|raises|import",
        id="no logger",
    ),
    pytest.param(
        r"(\n    <model> = add_lora)", r"\n    add_lora = len\1", "raises", id="add_lora shadowed"
    ),
    pytest.param(
        r"(\n    )(<trainer> = AdapterTrainer)",
        r"\1<encoded>.map(len)\1\2",
        "map",
        id="something maps",
    ),
    pytest.param(
        r"check_min_version\(\".*\"\)", "pass", "on import|check_min", id="no version check"
    ),
]


# The same, of a script of the series "causal", which loads models as upstream does.
WRONG_CAUSAL = [
    pytest.param(
        r"AutoModelForCausalLM(\.from_pretrained|,\n)",
        r"AutoModel\1",
        "AutoModel|NameError|importing",
        id="AutoModel",
    ),
    pytest.param(
        r"(AutoTokenizer\.from_pretrained\(<model_args>\.tokenizer_name), ",
        r"\1, trust_remote_code=True, ",
        "trust_remote_code",
        id="trust forced",
    ),
    pytest.param(
        r"(trust_remote_code: bool = field\(\s*default=)False",
        r"\1True",
        "trust_remote_code",
        id="trust is the default",
    ),
    pytest.param(
        r"encode_prompt, stop_ids, lead_ids, <raw>",
        "encode_prompt, encode_prompt, <raw>",
        "predict_responses gets",
        id="another end",
    ),
    pytest.param(
        r"\Z", "\n\ndef stop_ids(*args):\n    return []\n", "payload", id="ends redefined"
    ),
]

"""Answers to the test data's prompts, written to a file and compared with the known responses."""

import itertools
import json
import logging
import os
import types

from data_files import ROW_COLUMNS
from dialogues import as_messages
from generation_ends import _all_stop_ids
from nodes import _of_all_ranks, _require_same
from prompt_response import check_columns, first_rows, read_dialogues
from tqdm.auto import tqdm as progress_bar
from user_error import UserError

logger = logging.getLogger(__name__)

PREDICTIONS_FILE = "generated_predictions.jsonl"


def _load_scorers():
    """Return (BLEU, ROUGE-L) scorers, or None, with a warning, where they are not installed.

    Both cut texts as sacrebleu's "zh" does: Chinese by the character, all else by the word.
    """
    try:
        import rouge_score.rouge_scorer
        import sacrebleu
        from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh
    except ImportError as error:
        logger.warning("Answers get no scores, %s: pip install sacrebleu rouge-score", error)
        return None
    cut = TokenizerZh()
    tokenizer = types.SimpleNamespace(tokenize=lambda text: cut(text).split())
    rouge = rouge_score.rouge_scorer.RougeScorer(["rougeL"], tokenizer=tokenizer)
    # Answers need not be long: orders that they have no n-grams of are left out.
    return sacrebleu.BLEU(tokenize="zh", effective_order=True), rouge


def _score_predictions(pairs, scorers):
    """Return {"bleu4", "rouge_l"} in percent of (prediction, reference) texts, {} of none."""
    if not pairs or scorers is None:
        return {}
    bleu, rouge = scorers
    predictions, references = zip(*pairs)
    rouge_l = [rouge.score(known, found)["rougeL"].fmeasure for found, known in pairs]
    return {
        "bleu4": round(bleu.corpus_score(predictions, [references]).score, 4),
        "rouge_l": round(100 * sum(rouge_l) / len(rouge_l), 4),
    }


def _read_test_rows(raw_datasets, model_args, data_args, training_args):
    """Return the rows to answer, (history, prompt, response) as `read_dialogue` has them.

    Raises:
        UserError: no test data, no prompt column in it, or a row that cannot be read.
    """
    data_args.require_test_data(raw_datasets)
    rows = raw_datasets.get("test")
    if data_args.test_file is not None:
        with training_args.main_process_first(desc="loading the test file"):
            rows = data_args.load_files(
                None,
                data_files={"test": data_args.test_file},
                split="test",
                cache_dir=model_args.cache_dir,
            )
    columns, result = data_args.columns(), []
    for number, row in enumerate(first_rows(rows, data_args.max_predict_samples)):
        if not set(ROW_COLUMNS) <= set(row):
            check_columns(row, columns, data_args.source("test"), answered=False)
        batch = {name: [value] for name, value in row.items()}
        [dialogue] = read_dialogues(batch, [number], columns, "test", answered=False)
        result.append(dialogue[1:])
    return result


def _generate_answers(model, tokenizer, prompts, stops, lead, data_args, training_args, synced):
    """Return the model's answers to `prompts`, a batch of encoded prompts (lists of ids).

    They are padded on the left by the tokenizer, which for ChatGLM-6B also makes the
    two-dimensional positions and mask. An answer begins after the ids `lead`, where it has them,
    and ends before the first of the ids in `stops`.
    """
    inputs = tokenizer.pad({"input_ids": prompts}, padding=True, return_tensors="pt")
    inputs = inputs.to(training_args.device)
    sequences = model.generate(
        **inputs,
        max_new_tokens=data_args.max_new_tokens,
        num_beams=data_args.num_beams,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
        synced_gpus=synced,
    )
    answers = [
        list(itertools.takewhile(lambda i: i not in stops, answer))
        for answer in sequences[:, inputs["input_ids"].shape[1] :].tolist()
    ]
    answers = [ids[len(lead) :] if ids[: len(lead)] == lead else ids for ids in answers]
    return [tokenizer.decode(answer, skip_special_tokens=True).strip() for answer in answers]


def predict_responses(
    trainer,
    tokenizer,
    encode_prompt,
    stop_ids,
    lead_ids,
    raw_datasets,
    model_args,
    data_args,
    training_args,
):
    """Answer the prompts of `--test_file`, or of the data set's test split, and score the answers.

    Every rank answers its share of the rows in batches of `per_device_eval_batch_size`; the main
    one writes them in the data's order to `generated_predictions.jsonl` in the output folder, an
    object {"prompt", "response" where known, "prediction"} a line, and logs and saves the
    "predict" metrics: `predict_bleu4` (over the whole data) and `predict_rouge_l` (mean over
    rows), both in percent and by the character for Chinese, of the rows whose response is known.
    Rows with a blank prompt get the prediction "" and no score.

    Args:
        trainer: the Trainer with the model.
        tokenizer: the model's tokenizer.
        encode_prompt: `encode_prompt(tokenizer, messages, limits)` returns the ids the model
            sees before it answers, cut to `limits.max_source_length`, the same in training.
        stop_ids: `stop_ids(tokenizer)` returns the ids that end an answer.
        lead_ids: `lead_ids(tokenizer)` returns the ids that the format puts before every answer,
            such as those of an empty think block, which are no part of it.
        raw_datasets, model_args, data_args, training_args: as in the script.

    Returns:
        The metrics on the main process, None on others.

    Raises:
        UserError: no test data, or test data that cannot be read.
    """
    rows = _read_test_rows(raw_datasets, model_args, data_args, training_args)
    _require_same("test rows", json.dumps(rows))
    asked = [index for index, (_, prompt, _) in enumerate(rows) if prompt]
    if not asked:
        raise UserError("The test data has no row with a prompt to answer.")
    scorers = _load_scorers() if trainer.is_world_process_zero() else None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token

    partitioned = any(hasattr(parameter, "ds_id") for parameter in trainer.model.parameters())
    if partitioned and getattr(trainer, "deepspeed", None) is None:
        # Nothing has run yet, so there is no engine to bring ZeRO-3's partitions together; the
        # releases make one, each in its own way, when they first evaluate something.
        ids = encode_prompt(tokenizer, as_messages([], "a"), data_args)
        trainer.predict([{"input_ids": ids, "labels": ids}] * training_args.world_size)
    model = trainer.model.eval()

    size, rank = training_args.world_size, training_args.process_index
    batch = training_args.per_device_eval_batch_size
    # Under ZeRO-3 all ranks must take part in every forward pass, so all get as many batches: the
    # last ones answer some rows again.
    share = -(-len(asked) // size)
    mine = [asked[(rank + size * turn) % len(asked)] for turn in range(share)]
    stops = _all_stop_ids(model, tokenizer, stop_ids(tokenizer))
    lead = lead_ids(tokenizer)
    use_cache, padding_side = getattr(model.config, "use_cache", True), tokenizer.padding_side
    answers = {}
    try:
        tokenizer.padding_side = "left"
        if training_args.gradient_checkpointing:
            model.config.use_cache = True  # off for training only
        for start in progress_bar(range(0, share, batch), desc="Predicting", disable=rank != 0):
            indices = mine[start : start + batch]
            prompts = [
                encode_prompt(tokenizer, as_messages(*rows[i][:2]), data_args) for i in indices
            ]
            synced = partitioned and size > 1
            with trainer.compute_loss_context_manager():  # the precision of training
                texts = _generate_answers(
                    model, tokenizer, prompts, stops, lead, data_args, training_args, synced
                )
            answers.update(zip(indices, texts))
    finally:
        model.config.use_cache, tokenizer.padding_side = use_cache, padding_side

    answers = {index: text for part in _of_all_ranks(answers) for index, text in part.items()}
    if not trainer.is_world_process_zero():
        return None

    os.makedirs(training_args.output_dir, exist_ok=True)
    path = os.path.join(training_args.output_dir, PREDICTIONS_FILE)
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        for index, (_, prompt, response) in enumerate(rows):
            known = {"response": response} if response else {}
            line = {"prompt": prompt, **known, "prediction": answers.get(index, "")}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    os.replace(f"{path}.tmp", path)
    logger.info("Wrote %d predictions to %s", len(rows), path)

    scores = _score_predictions([(answers[i], rows[i][2]) for i in asked if rows[i][2]], scorers)
    metrics = {f"predict_{name}": value for name, value in scores.items()}
    metrics["predict_samples"] = len(rows)
    trainer.log_metrics("predict", metrics)
    trainer.save_metrics("predict", metrics)
    return metrics

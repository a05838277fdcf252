"""Prediction: what is answered, in which order and batches, and the scores."""

import contextlib
import json
import math
import sys
import types

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
import prediction
from adapter_trainer import AdapterTrainer
from chatglm_encoding import encode_prompt, lead_ids, stop_ids
from conftest import messages
from test_adapter_trainer import make_trainer, run_ranks
from test_lora import EOP, GMASK, add_lora, arguments

MODEL_ARGUMENTS = types.SimpleNamespace(cache_dir=None)
ROWS = [
    {"prompt": "hi", "response": "hello there", "history": []},
    {"prompt": "a much longer prompt", "response": "你好", "history": [["q", "r"], ["s", "t"]]},
    {"prompt": "", "response": "never asked", "history": None},
    {"prompt": "x", "response": None, "history": None},
    {"prompt": "last one", "response": "ok", "history": []},
]


def sharpen(model):
    """Make the toy's answers depend on every token of the prompt, and end now and then."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.6)
    return model


def predict(trainer, data_args, raw=None):
    return prediction.predict_responses(
        trainer,
        getattr(trainer, "processing_class", None) or trainer.tokenizer,
        encode_prompt,
        stop_ids,
        lead_ids,
        raw or {},
        MODEL_ARGUMENTS,
        data_args,
        trainer.args,
    )


def written(folder):
    lines = (folder / prediction.PREDICTIONS_FILE).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def trainer(training_args, data_args):
    trainer = make_trainer(training_args(), data_args)
    sharpen(trainer.model)
    return trainer


def alone(trainer, tokenizer, row, data_args):
    """The answer to one prompt by a plain greedy loop over the model."""
    ids = encode_prompt(tokenizer, messages(row["prompt"], row["history"]), data_args)
    start = len(ids)
    with torch.no_grad():
        while len(ids) < start + data_args.max_new_tokens:
            ids.append(int(trainer.model.eval()(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("extension", ["json", "jsonl"])
def test_batches_answer_as_single_prompts_do(
    trainer, tokenizer, data_args, tmp_path, batch, extension
):
    path = tmp_path / f"test.{extension}"
    path.write_text("\n".join(json.dumps(row) for row in ROWS), "utf-8")
    data_args.test_file, data_args.history_column = str(path), "history"
    trainer.args.per_device_eval_batch_size = batch
    metrics = predict(trainer, data_args)
    lines = written(tmp_path / "out")
    expected = [alone(trainer, tokenizer, row, data_args) if row["prompt"] else "" for row in ROWS]
    assert [line["prediction"] for line in lines] == expected
    assert len(set(expected)) > 3
    assert [line["prompt"] for line in lines] == [row["prompt"] for row in ROWS]
    assert [line.get("response") for line in lines] == [row["response"] for row in ROWS]
    assert "response" not in lines[3]
    scored = [(expected[i], ROWS[i]["response"]) for i in (0, 1, 4)]
    scores = prediction._score_predictions(scored, prediction._load_scorers())
    assert metrics == {"predict_samples": 5, **{f"predict_{k}": v for k, v in scores.items()}}
    saved = json.loads((tmp_path / "out/predict_results.json").read_text())
    assert saved["predict_samples"] == 5 and "predict_rouge_l" in saved
    assert not (tmp_path / "out/generated_predictions.jsonl.tmp").exists()


def test_long_prompts_are_cut_as_for_training(trainer, tokenizer, data_args, tmp_path):
    row = {"prompt": "abcdefgh" * 20, "response": "x", "history": None}
    raw = {"test": datasets.Dataset.from_list([row])}
    predict(trainer, data_args, raw)
    assert written(tmp_path / "out")[0]["prediction"] == alone(trainer, tokenizer, row, data_args)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_test_split_and_its_limit(trainer, data_args, tmp_path, streaming):
    rows = datasets.Dataset.from_list([{"prompt": f"p{i}"} for i in range(5)])
    raw = {"test": rows.to_iterable_dataset() if streaming else rows}
    data_args.max_predict_samples = 3
    assert predict(trainer, data_args, raw) == {"predict_samples": 3}
    lines = written(tmp_path / "out")
    assert [set(line) for line in lines] == [{"prompt", "prediction"}] * 3
    assert [line["prompt"] for line in lines] == ["p0", "p1", "p2"]


def test_beams_and_state_left_alone(trainer, data_args, tmp_path):
    tokenizer = getattr(trainer, "processing_class", None) or trainer.tokenizer
    trainer.model.config.use_cache = False
    tokenizer.padding_side = "right"
    data_args.num_beams = 2
    predict(trainer, data_args, {"test": datasets.Dataset.from_list([{"prompt": "p"}])})
    assert trainer.model.config.use_cache is False and tokenizer.padding_side == "right"
    assert len(written(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (None, "--do_predict needs a --test_file, or a data set with a test split."),
        ([{"question": "a"}], "no column 'prompt'; its columns are: question"),
        ([{"prompt": ""}], "no row with a prompt"),
        ([{"prompt": 3.5}], "split 'test', row 1 (counted from 1), column 'prompt': expected text"),
        (
            [{"prompt": "a", "history": "["}],
            "row 1 (counted from 1), column 'history': expected JSON",
        ),
        ([{"prompt": "a", "history": [["b"]]}], "column 'history': expected a [prompt, response]"),
        ([{"prompt": "a", "response": 3.5}], "column 'response': expected text, found float 3.5."),
    ],
)
def test_bad_data_is_named(trainer, data_args, rows, said):
    raw = {"test": datasets.Dataset.from_list(rows)} if rows else {}
    data_args.history_column = "history" if rows and "history" in rows[0] else None
    with pytest.raises(ValueError) as error:
        predict(trainer, data_args, raw)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_ends_an_answer(trainer, tokenizer):
    """What the encoding says, and the model's own ends where this tokenizer knows them as special."""
    model = types.SimpleNamespace(generation_config=types.SimpleNamespace(eos_token_id=None))
    for own, found in [
        (None, [9]),
        (EOP, [9, EOP]),
        ([EOP, 9, GMASK + 50], [9, EOP]),
    ]:
        model.generation_config.eos_token_id = own
        assert prediction._all_stop_ids(model, tokenizer, [9]) == found
    assert prediction._all_stop_ids(trainer.model, tokenizer, stop_ids(tokenizer)) == [EOP]


def test_answers_end_before_the_first_end(trainer, tokenizer, data_args):
    """Whichever of several it is, and whether or not the tokenizer takes it for special."""
    prompts = [
        encode_prompt(tokenizer, messages(text), data_args) for text in ("hi", "a longer one")
    ]
    model, args = trainer.model.eval(), trainer.args
    tokenizer.padding_side = "left"

    def answer(stops, lead=()):
        return prediction._generate_answers(
            model, tokenizer, prompts, stops, list(lead), data_args, args, False
        )

    whole = answer([EOP])
    stop = tokenizer.encode(whole[0][1], add_special_tokens=False)
    assert answer([EOP, *stop])[0] == whole[0].partition(whole[0][1])[0].strip()
    lead = tokenizer.encode(whole[0][:2], add_special_tokens=False)
    assert answer([EOP], lead)[0] == whole[0][2:].strip()
    assert answer([EOP], [GMASK])[0] == whole[0]  # not what it begins with


@pytest.mark.parametrize("beams", [1, 2])
def test_the_toy_chatglm_and_its_own_padding(training_args, data_args, tmp_path, beams):
    """Its tokenizer pads with masks and two-dimensional positions of its own."""
    toy_chatglm = pytest.importorskip("tests.toy_chatglm")
    pytest.importorskip("sentencepiece")
    folder = toy_chatglm.build(tmp_path / "toy")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    args = training_args()
    model = add_lora(model, arguments(), args)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
    trainer = AdapterTrainer(model=model, args=args)
    data_args.history_column, data_args.num_beams = "history", beams
    raw = {"test": datasets.Dataset.from_list(ROWS)}
    found = []
    for batch in (1, 8):
        args.per_device_eval_batch_size = batch
        prediction.predict_responses(
            trainer,
            tokenizer,
            encode_prompt,
            stop_ids,
            lead_ids,
            raw,
            MODEL_ARGUMENTS,
            data_args,
            args,
        )
        found.append([line["prediction"] for line in written(tmp_path / "out")])
    assert found[0] == found[1] and len(set(found[0])) > 3


class Rank:
    """Stands in for one of several ranks: its share only, no model."""

    def __init__(self, args):
        self.args, self.deepspeed = args, None
        self.model = torch.nn.Linear(1, 1)
        self.model.config = types.SimpleNamespace(use_cache=True)
        self.compute_loss_context_manager = contextlib.nullcontext
        self.metrics = []

    def is_world_process_zero(self):
        return self.args.process_index == 0

    def log_metrics(self, split, metrics):
        self.metrics.append(metrics)

    save_metrics = log_metrics


@pytest.mark.parametrize(("count", "size", "batch"), [(1, 3, 2), (7, 3, 2), (8, 2, 4), (5, 4, 8)])
def test_ranks_share_the_rows(monkeypatch, data_args, tmp_path, count, size, batch):
    raw = {"test": datasets.Dataset.from_list([{"prompt": f"p{i}"} for i in range(count)])}
    calls, gathered = {}, []
    tokenizer = types.SimpleNamespace(pad_token_id=0, eos_token_id=1, padding_side="left")

    def as_it_is(tokenizer, asked, limits):
        return asked[-1]["content"]

    def run(rank, all_gather):
        args = types.SimpleNamespace(
            world_size=size,
            process_index=rank,
            per_device_eval_batch_size=batch,
            gradient_checkpointing=False,
            output_dir=str(tmp_path),
        )

        def answer(model, tokenizer, prompts, *rest):
            calls.setdefault(rank, []).append(prompts)
            return [prompt.upper() for prompt in prompts]

        monkeypatch.setattr(prediction, "_generate_answers", answer)
        monkeypatch.setattr(prediction, "_of_all_ranks", all_gather)
        with contextlib.suppress(StopIteration):
            return prediction.predict_responses(
                Rank(args),
                tokenizer,
                as_it_is,
                stop_ids,
                lead_ids,
                raw,
                MODEL_ARGUMENTS,
                data_args,
                args,
            )

    def first_pass(mine):
        gathered.append(mine)
        raise StopIteration

    for rank in range(size):
        run(rank, first_pass)
    # As many calls on every rank, or ZeRO-3 would wait for ever.
    assert {tuple(map(len, batches)) for batches in calls.values()} == {tuple(map(len, calls[0]))}
    results = [run(rank, lambda mine: gathered) for rank in range(size)]
    assert results[1:] == [None] * (size - 1) and results[0]["predict_samples"] == count
    assert [line["prediction"] for line in written(tmp_path)] == [f"P{i}" for i in range(count)]


def zero3_run(folder):
    """Prediction alone, before anything made an engine, over partitioned weights; for two ranks."""
    import deepspeed
    from conftest import data_arguments, make_training_args

    config = {
        "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
    }
    args = make_training_args(output_dir=folder, deepspeed=config)
    trainer = make_trainer(args, data_arguments())
    tokenizer = getattr(trainer, "processing_class", None) or trainer.tokenizer
    sharpen(trainer.model)
    raw = {"test": datasets.Dataset.from_list([{"prompt": f"p{i}"} for i in range(3)])}
    expected = [
        alone(trainer, tokenizer, {**row, "history": []}, data_arguments()) for row in raw["test"]
    ]
    deepspeed.zero.Init(
        module=trainer.model.get_base_model(),
        config_dict_or_path={
            **config,
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
        },
    )
    assert any(hasattr(p, "ds_id") for p in trainer.model.parameters())
    predict(trainer, data_arguments(), raw)
    if trainer.is_world_process_zero():
        from pathlib import Path

        assert [line["prediction"] for line in written(Path(folder))] == expected


def test_joining_prediction_alone_and_training_under_zero3(tmp_path):
    """All in one start of two ranks, which takes longer than they do."""
    pytest.importorskip("deepspeed")
    call = (
        "import test_process_group, test_embedding_rows, test_prediction, test_adapter_trainer;"
        f"test_process_group.joined({str(tmp_path / 'joined')!r});"
        f"test_embedding_rows.zero3_run({str(tmp_path / 'rows')!r});"
        f"test_prediction.zero3_run({str(tmp_path / 'predict')!r});"
        f"test_adapter_trainer.deepspeed_run({str(tmp_path / 'train')!r}, 3, False)"
    )
    outputs = run_ranks(["-c", call], 2)
    assert all("DONE" in output for output in outputs), "\n".join(o[-3000:] for o in outputs)


def test_chinese_is_scored_by_the_character_and_all_else_by_the_word():
    scorers = prediction._load_scorers()
    assert prediction._score_predictions([], scorers) == {}

    def rouge_l(found, known):
        return prediction._score_predictions([(found, known)], scorers)["rouge_l"]

    assert rouge_l("今天晴天", "今天是晴天") == pytest.approx(100 * 8 / 9, abs=1e-3)
    assert rouge_l("GPT模型", "GPT 模 型") == 100
    assert rouge_l("the cat sat", "the dog sat") == pytest.approx(100 * 2 / 3, abs=1e-3)
    assert rouge_l("", "你好") == 0


def test_bleu_is_of_the_whole_data_and_knows_short_answers():
    scorers = prediction._load_scorers()

    def bleu(*pairs):
        return prediction._score_predictions(pairs, scorers)["bleu4"]

    assert bleu(("是的", "是的")) == 100
    assert bleu(("", "你好")) == 0
    # 10 of 11 characters, 8 of 9, 6 of 7 and 4 of 5 n-grams of two answers, equal lengths.
    expected = 100 * math.exp(sum(map(math.log, [10 / 11, 8 / 9, 6 / 7, 4 / 5])) / 4)
    found = bleu(("今天是晴天", "今天是晴天"), ("明天会下大雪", "明天会下大雨"))
    assert found == pytest.approx(expected, abs=1e-3)


def test_without_the_scorers_answers_are_written_all_the_same(
    trainer, data_args, tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    data_args.test_file = str(tmp_path / "test.json")
    (tmp_path / "test.json").write_text(json.dumps(ROWS), "utf-8")
    metrics = predict(trainer, data_args)
    assert metrics == {"predict_samples": len(ROWS)}
    assert len(written(tmp_path / "out")) == len(ROWS)
    assert "pip install sacrebleu rouge-score" in caplog.text

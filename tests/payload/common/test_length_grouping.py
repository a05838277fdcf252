"""Batches of rows of similar length: the same order for every rank and for a run that is resumed."""

import json

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
from adapter_trainer import AdapterTrainer
from conftest import data_arguments, make_training_args
from prompt_response import PairCollator
from test_adapter_trainer import TOKENIZER_KEYWORD, run_ranks
from test_lora import EOP, GMASK, SOP, ToyTokenizer, add_lora, arguments, make_model

COUNT, EPOCHS = 24, 3
FLAG = (
    {"train_sampling_strategy": "group_by_length"}
    if "train_sampling_strategy" in transformers.TrainingArguments.__dataclass_fields__
    else {"group_by_length": True}
)


def numbered_rows():
    """Rows whose first token is their number and whose lengths go up and down."""
    rows = []
    for number in range(COUNT):
        response = [4] * (1 + number * 7 % COUNT)
        ids = [10 + number, GMASK, SOP, *response, EOP]
        rows.append({"input_ids": ids, "labels": [-100] * 2 + ids[2:], "length": len(ids)})
    return datasets.Dataset.from_list(rows)


class Watched(AdapterTrainer):
    def training_step(self, model, inputs, *args, **kwargs):
        self.seen = [*getattr(self, "seen", []), (inputs["input_ids"][:, 0] - 10).tolist()]
        return super().training_step(model, inputs, *args, **kwargs)


def make(folder, **changes):
    options = {"num_train_epochs": EPOCHS, "save_strategy": "steps", "save_steps": 4}
    args = make_training_args(output_dir=str(folder), **{**options, **FLAG, **changes})
    torch.manual_seed(0)
    tokenizer = ToyTokenizer()
    return Watched(
        model=add_lora(make_model(0), arguments(lora_rank=2, lora_dropout=0.1), args),
        args=args,
        train_dataset=numbered_rows(),
        data_collator=PairCollator(tokenizer, data_arguments()),
        **{TOKENIZER_KEYWORD: tokenizer},
    )


def epochs(batches):
    """The rows of each epoch, in order."""
    flat = [row for batch in batches for row in batch]
    return [flat[i : i + COUNT] for i in range(0, len(flat), COUNT)]


def padding(batches):
    lengths = numbered_rows()["length"][:]
    return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) - EPOCHS * sum(
        lengths
    )


def test_batches_hold_rows_of_similar_length(tmp_path):
    trainer, random = make(tmp_path / "a"), make(tmp_path / "b", **dict.fromkeys(FLAG, ""))
    if "train_sampling_strategy" in FLAG:
        random.args.train_sampling_strategy = "random"
    for each in (trainer, random):
        each.train()
    found = epochs(trainer.seen)
    assert len(found) == EPOCHS
    assert all(sorted(rows) == list(range(COUNT)) for rows in found)
    assert len({tuple(rows) for rows in found}) == EPOCHS  # another order in each
    assert padding(trainer.seen) * 2 < padding(random.seen)


def test_the_order_is_the_seeds_whatever_the_random_state(tmp_path):
    one, other, third = (make(tmp_path / name, seed=seed) for name, seed in zip("abc", (1, 1, 2)))
    for number, trainer in enumerate((one, other, third)):
        torch.manual_seed(number)
        trainer.train()
    assert one.seen == other.seen != third.seen
    by_data_seed = make(tmp_path / "d", seed=5, data_seed=2)
    by_data_seed.train()
    assert by_data_seed.seen == third.seen


@pytest.mark.parametrize("step", [8, 12, 16, 32])  # within the first epoch, at its end, later
def test_a_resumed_run_goes_on_in_the_same_order(tmp_path, step):
    straight = make(tmp_path)
    straight.train()
    again = make(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    assert again.seen == straight.seen[step:]


def rank_run(folder):
    """What a rank of the test below does."""
    trainer = make(folder)
    torch.manual_seed(trainer.args.process_index)  # as after a model whose ranks differ
    trainer.train()
    again = make(folder)
    again.train(resume_from_checkpoint=f"{folder}/checkpoint-8")
    print("SEEN", json.dumps([trainer.seen, again.seen]))


def test_ranks_share_the_rows_of_one_order(tmp_path):
    call = f"import test_length_grouping as t; t.rank_run({str(tmp_path)!r})"
    outputs = run_ranks(["-c", call], 2)
    seen = []
    for output in outputs:
        lines = [line for line in output.splitlines() if line.startswith("SEEN")]
        assert lines, output[-3000:]
        seen.append(json.loads(lines[0].removeprefix("SEEN")))
    steps = COUNT // 4
    for epoch in range(EPOCHS):
        part = slice(epoch * steps, (epoch + 1) * steps)
        rows = [row for straight, _ in seen for batch in straight[part] for row in batch]
        assert sorted(rows) == list(range(COUNT))
    assert all(again == straight[8:] for straight, again in seen)

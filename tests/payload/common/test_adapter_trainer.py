"""Checkpoints of adapters: what is in them, resuming, the best model, and killed runs."""

import inspect
import json
import os
import shutil
import sys

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
import adapter_trainer
import base_model
import whole_checkpoint
from adapter_trainer import AdapterTrainer
from adapter_weights import ADAPTER_FILES
from chatglm_encoding import encode_pair
from conftest import messages
from prompt_response import PairCollator, encode_datasets
from test_lora import EOP, GMASK, SOP, ToyTokenizer, add_lora, arguments, make_model
from transformers.trainer_utils import get_last_checkpoint
from user_error import UserError

TOKENIZER_KEYWORD = (
    "processing_class"
    if "processing_class" in inspect.signature(transformers.Trainer).parameters
    else "tokenizer"
)
ROWS = [
    {"input_ids": [a, GMASK, SOP, a + 1, EOP], "labels": [-100, -100, SOP, a + 1, EOP]}
    for a in range(10, 22)
]


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        return ROWS[index]


def make_trainer(args, data_args, seed=0, **changes):
    changes = {"lora_rank": 2, "lora_dropout": 0.1, **changes}
    model = add_lora(make_model(seed), arguments(**changes), args)
    tokenizer = ToyTokenizer()
    return AdapterTrainer(
        model=model,
        args=args,
        train_dataset=Rows(),
        eval_dataset=Rows(),
        data_collator=PairCollator(tokenizer, data_args),
        **{TOKENIZER_KEYWORD: tokenizer},
    )


def run_ranks(command, ranks):
    """Run `command` once a rank and return what each one printed."""
    import socket
    import subprocess

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return [process.communicate(timeout=400)[0] for process in processes]


def adapter_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, **tolerance)


def saved_tensors(folder):
    """All tensors in all the weight files under `folder`, DeepSpeed's included, by name."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            import safetensors.torch

            yield from safetensors.torch.load_file(path).items()
        elif path.name.endswith(".bin") and path.name != "training_args.bin":
            yield from torch.load(path, weights_only=True).items()
        elif path.name.endswith("model_states.pt"):
            state = torch.load(path, weights_only=False)
            yield from state["module"].items()
            assert not state.get("frozen_param_fragments")


def assert_adapter_folder(folder):
    names = {path.name for path in folder.iterdir()}
    assert "adapter_config.json" in names and "training_args.bin" in names
    assert "tokenizer_config.json" in names
    assert not names & {"pytorch_model.bin", "model.safetensors", "config.json"}
    assert not [name for name in names if name.startswith(".saving")]
    tensors = dict(saved_tensors(folder))
    assert tensors and all("lora_" in name for name in tensors)
    assert any(value.abs().sum() > 0 for name, value in tensors.items() if "lora_B" in name)


@pytest.fixture
def make(training_args, data_args):
    def build(seed=0, lora_changes=(), **changes):
        args = training_args(**{"max_steps": 6, "save_steps": 2, **changes})
        return make_trainer(args, data_args, seed, **dict(lora_changes))

    return build


def test_folders_hold_the_adapter_and_nothing_else(make, tmp_path):
    trainer = make()
    trainer.train()
    trainer.save_model()
    for folder in ("out", "out/checkpoint-2", "out/checkpoint-6"):
        assert_adapter_folder(tmp_path / folder)
    assert (tmp_path / "out/checkpoint-6/trainer_state.json").is_file()
    assert_same(
        adapter_of(
            peft.PeftModel.from_pretrained(make_model(), tmp_path / "out", is_trainable=True)
        ),
        adapter_of(trainer.model),
    )


def test_modules_trained_in_full_are_saved_too(make, tmp_path):
    trainer = make(lora_changes={"lora_modules_to_save": "lm_head"}, max_steps=2)
    trainer.train()
    trained = adapter_of(trainer.model)
    assert any("lm_head" in name for name in trained)
    again = make(lora_changes={"lora_modules_to_save": "lm_head"})
    again._load_from_checkpoint(str(tmp_path / "out/checkpoint-2"))
    assert_same(adapter_of(again.model), trained)
    tensors = dict(saved_tensors(tmp_path / "out/checkpoint-2"))
    assert all("lora_" in name or "lm_head" in name for name in tensors)


def test_one_process_uses_one_gpu(training_args, data_args, caplog):
    args = training_args(per_device_train_batch_size=3)
    args._n_gpu = 4  # as on a machine that has so many
    trainer = make_trainer(args, data_args)
    assert trainer.args.n_gpu == 1 and trainer.args.train_batch_size == 3
    assert "One of 4 GPUs is used: start the script with torchrun --nproc_per_node 4" in caplog.text
    caplog.clear()
    make_trainer(training_args(), data_args)
    assert "GPUs" not in caplog.text


def test_little_smoothing_is_nearly_the_models_own_loss(make):
    """In training and in evaluation; much of it is something else."""
    losses = {}
    for factor in (0, 1e-6, 0.3):
        trainer = make(label_smoothing_factor=factor)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
        loss = trainer.compute_loss(trainer.model.eval(), dict(batch))
        evaluated = trainer.evaluate(trainer.train_dataset)["eval_loss"]
        losses[factor] = (float(loss), evaluated)
    for plain, little, much in zip(*losses.values()):
        assert abs(plain - little) < 1e-4
        assert abs(plain - much) > 1e-2


@pytest.mark.parametrize("how", ["named", "found by the script", True, "true"])
def test_resumed_training_is_the_same_training(make, tmp_path, how):
    trainer = make()
    trainer.train()
    straight = adapter_of(trainer.model)
    shutil.rmtree(tmp_path / "out/checkpoint-6")
    place = str(tmp_path / "out/checkpoint-4")
    again = make(resume_from_checkpoint=place if how == "named" else None)
    again.train(resume_from_checkpoint=how if how in (True, "true") else place)
    assert again.state.global_step == 6
    assert_same(adapter_of(again.model), straight)


def test_the_best_adapter_is_loaded_at_the_end(make, tmp_path):
    trainer = make(
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # the first one, that is
        save_strategy="steps",
        eval_strategy="steps",
        eval_steps=2,
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-2")
    best = make()
    best._load_from_checkpoint(str(tmp_path / "out/checkpoint-2"))
    assert_same(adapter_of(trainer.model), adapter_of(best.model))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_adapter(folder):
    for name in ADAPTER_FILES:
        (folder / name).unlink(missing_ok=True)


SPOILT = {
    "no adapter": spoil_adapter,
    "no state": lambda folder: (folder / "trainer_state.json").unlink(),
    "half a state": lambda folder: cut(folder / "trainer_state.json"),
    "no optimizer": lambda folder: (folder / "optimizer.pt").unlink(),
    "half an optimizer": lambda folder: cut(folder / "optimizer.pt"),
    "no random states": lambda folder: (folder / "rng_state.pth").unlink(),
    "half the random states": lambda folder: cut(folder / "rng_state.pth"),
    "nothing": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
}


def test_half_written_checkpoints_are_passed_over(make, tmp_path, caplog):
    trainer = make(max_steps=4)
    trainer.train()
    whole, last = tmp_path / "out/checkpoint-2", tmp_path / "out/checkpoint-4"
    (tmp_path / "out/checkpoint-final").mkdir()
    shutil.copytree(last, tmp_path / "kept")
    for what, spoil in SPOILT.items():
        shutil.rmtree(last)
        shutil.copytree(tmp_path / "kept", last)
        assert whole_checkpoint._is_whole_checkpoint(str(last))
        spoil(last)
        assert not whole_checkpoint._is_whole_checkpoint(str(last)), what
        assert whole_checkpoint._choose_checkpoint(str(last), make().args) == str(whole), what
        assert f"{last} is incomplete; resuming from {whole}" in caplog.text
        with pytest.raises(ValueError, match="is no complete checkpoint"):
            make(resume_from_checkpoint=str(last)).train(resume_from_checkpoint=str(last))
    shutil.rmtree(whole)
    trainer = make(max_steps=2)
    trainer.train(resume_from_checkpoint=str(last))
    assert trainer.state.global_step == 2 and "starting anew" in caplog.text


def files_of_kinds(folder):
    """One file of each kind in a checkpoint that can be seen to be whole, the kinds by their ends."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kinds = {path.suffix: path for path in paths if path.suffix in CHECKED_KINDS}
    return [*kinds.values(), *(path for path in paths if path.name == "latest")]


CHECKED_KINDS = (".bin", ".pt", ".pth", ".json", ".safetensors")
DAMAGES = {
    "cut": cut,
    "emptied": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "its end lost": lambda path: os.truncate(path, path.stat().st_size - 2),
}


def record(folder, **changes):
    """Change what a checkpoint says of the run that saved it."""
    path = folder / base_model.RUN_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def as_of_deepspeed(folder, ranks=2, stage=2):
    """Make a checkpoint one of that many ranks with DeepSpeed, as far as files go."""
    record(folder, world_size=ranks, zero_stage=stage)
    for name in ("optimizer.pt", "rng_state.pth"):
        (folder / name).unlink()
    (folder / "latest").write_text("global_step4")
    state = folder / "global_step4"
    state.mkdir()
    torch.save({}, state / "mp_rank_00_model_states.pt")
    for rank in range(ranks):
        torch.save({}, folder / f"rng_state_{rank}.pth")
        torch.save({}, state / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")


def as_of_ranks(folder, ranks, of=None):
    """Make a checkpoint one of `of` ranks, or of as many as there are, with the files of `ranks`."""
    record(folder, world_size=of or len(ranks))
    (folder / "rng_state.pth").unlink()
    for rank in ranks:
        torch.save({}, folder / f"rng_state_{rank}.pth")


@pytest.mark.parametrize("deepspeed", [False, True])
def test_each_kind_of_file_is_looked_into(make, tmp_path, deepspeed):
    make(max_steps=4).train()
    last, kept = tmp_path / "out/checkpoint-4", tmp_path / "kept"
    if deepspeed:
        as_of_deepspeed(last)
    shutil.copytree(last, kept)
    files = files_of_kinds(last)
    assert len(files) >= 4
    if deepspeed:
        files += [*(last / "global_step4").iterdir()]
    for path in files:
        for what, damage in DAMAGES.items():
            assert whole_checkpoint._is_whole_checkpoint(str(last))
            damage(path)
            assert not whole_checkpoint._is_whole_checkpoint(str(last)), (path.name, what)
            shutil.rmtree(last)
            shutil.copytree(kept, last)


MISSING = {
    "a rank's random state": lambda folder: (folder / "rng_state_0.pth").unlink(),
    "all but the first rank's": lambda folder: (folder / "rng_state_1.pth").unlink(),
    "a rank's optimizer": lambda folder: next(folder.rglob("*rank_1*optim_states.pt")).unlink(),
    "DeepSpeed's model": lambda folder: next(folder.rglob("*model_states.pt")).unlink(),
    "DeepSpeed's folder": lambda folder: shutil.rmtree(folder / "global_step4"),
    "latest": lambda folder: (folder / "latest").unlink(),
    "its own name in latest": lambda folder: (folder / "latest").write_text("global_step6"),
}


@pytest.mark.parametrize("what", MISSING)
def test_each_ranks_files_are_missed(make, tmp_path, what):
    make(max_steps=2).train()
    last = tmp_path / "out/checkpoint-2"
    as_of_deepspeed(last)
    assert whole_checkpoint._is_whole_checkpoint(str(last))
    MISSING[what](last)
    assert not whole_checkpoint._is_whole_checkpoint(str(last))


@pytest.mark.parametrize(
    ("ranks", "whole"),
    [((0, 1, 2), True), ((0,), False), ((0, 1), False), ((1, 2), False), ((0, 2), False)],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_random_states_are_of_every_rank(make, tmp_path, ranks, whole, recorded):
    make(max_steps=2).train()
    last = tmp_path / "out/checkpoint-2"
    as_of_ranks(last, ranks, of=3)
    if not recorded:  # by an older script: that the last ranks' are missing cannot be seen
        (last / base_model.RUN_FILE).unlink()
        whole = ranks in ((0, 1, 2), (0, 1))
    assert whole_checkpoint._is_whole_checkpoint(str(last)) is whole


def test_files_are_on_the_disk_before_they_count(make, tmp_path, monkeypatch):
    """A power cut after the rename, and before the system wrote, would leave names without content."""
    flushed, counted = set(), []
    sync, replace = os.fsync, os.replace

    def note_replace(old, new):
        if adapter_trainer.STAGING_PREFIX in str(old):
            paths = [os.path.join(place, n) for place, _, names in os.walk(old) for n in names]
            counted.extend(os.stat(path).st_ino for path in paths or [old])
        replace(old, new)

    monkeypatch.setattr(
        os, "fsync", lambda number: (flushed.add(os.fstat(number).st_ino), sync(number))
    )
    monkeypatch.setattr(os, "replace", note_replace)
    make(max_steps=2).save_model(str(tmp_path / "A"))
    assert len(counted) >= 4 and set(counted) <= flushed


OTHER_RUNS = {
    "lora_alpha": ({"lora_alpha": 64}, r"--lora_alpha 32 \(this run: 64\)"),
    "rank": ({"lora_rank": 4}, r"--lora_rank 2 \(this run: 4\)"),
    "targets": (
        {"lora_target_modules": "query_key_value,dense"},
        r"--lora_target_modules query_key_value \(this run: dense,query_key_value\)",
    ),
    "bias": ({"lora_bias": "all"}, r"--lora_bias none \(this run: all\)"),
    "modules to save": (
        {"lora_modules_to_save": "lm_head"},
        r"--lora_modules_to_save none \(this run: lm_head\)",
    ),
    "several": (
        {"lora_rank": 4, "lora_alpha": 16},
        r"--lora_rank 2 \(this run: 4\), --lora_alpha 32 \(this run: 16\)",
    ),
}


@pytest.mark.parametrize("how", ["named", "found by the script", True])
@pytest.mark.parametrize("what", OTHER_RUNS)
def test_a_checkpoint_of_other_settings_is_refused(make, tmp_path, what, how):
    changes, said = OTHER_RUNS[what]
    make(max_steps=2).train()
    place = str(tmp_path / "out/checkpoint-2")
    named = place if how == "named" else None
    trainer = make(lora_changes=changes, resume_from_checkpoint=named)
    before = adapter_of(trainer.model)
    with pytest.raises(ValueError, match=f"checkpoint-2' was trained with {said}: go on") as error:
        trainer.train(resume_from_checkpoint=True if how is True else place)
    assert "\n" not in str(error.value)
    assert_same(adapter_of(trainer.model), before)


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_target_modules": "dense,query_key_value"},
        {"lora_target_modules": "layers.0.dense,layers.1.dense,query_key_value"},
        {"lora_target_modules": "query_key_value,dense", "lora_dropout": 0.3},
    ],
)
def test_the_same_modules_in_other_words_are_the_same(make, changes):
    make(max_steps=2, lora_changes={"lora_target_modules": "query_key_value,dense"}).train()
    again = make(max_steps=4, lora_changes=changes)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 4


def test_linear_modules_by_peft_s_name_for_them_resume(make):
    if not hasattr(peft.utils, "INCLUDE_LINEAR_LAYERS_SHORTHAND"):
        pytest.skip("this release of peft has no name for them")
    for steps in (2, 4):
        trainer = make(max_steps=steps, lora_changes={"lora_target_modules": "all-linear"})
        trainer.train(resume_from_checkpoint=steps > 2)
    assert trainer.state.global_step == 4


OTHER_KINDS = {
    "with DeepSpeed": (
        as_of_deepspeed,
        {},
        "was saved with DeepSpeed's ZeRO stage 2, and this run is without DeepSpeed: start it like",
    ),
    "without": (
        lambda folder: None,
        {"_zero_stage": lambda self: 3},
        "was saved without DeepSpeed, and this run is with DeepSpeed's ZeRO stage 3: start it like",
    ),
    "of another stage": (
        as_of_deepspeed,
        {"_zero_stage": lambda self: 3, "ranks": 2},
        "was saved with DeepSpeed's ZeRO stage 2, and this run is with DeepSpeed's ZeRO stage 3",
    ),
    "of more ranks": (
        lambda folder: as_of_ranks(folder, range(3)),
        {},
        r"is of a run on 3 rank\(s\), and this run has 1: start as many, or anew",
    ),
    "of one rank": (
        lambda folder: None,
        {"ranks": 2},
        r"is of a run on 1 rank\(s\), and this run has 2",
    ),
    "of fewer ranks": (
        lambda folder: as_of_ranks(folder, range(2)),
        {"ranks": 3},
        r"is of a run on 2 rank\(s\), and this run has 3",
    ),
}


@pytest.fixture
def as_run(monkeypatch):
    """Have trainers take themselves for ones of another number of ranks, or of DeepSpeed."""

    def change(ranks=1, **methods):
        for name, method in methods.items():
            monkeypatch.setattr(AdapterTrainer, name, method)
        monkeypatch.setattr(transformers.TrainingArguments, "world_size", ranks)

    return change


@pytest.mark.parametrize("how", ["named", "found by the script", True])
@pytest.mark.parametrize("what", OTHER_KINDS)
def test_a_checkpoint_of_another_kind_of_run_is_refused(make, tmp_path, as_run, what, how):
    change, run, said = OTHER_KINDS[what]
    make(max_steps=2).train()
    place = tmp_path / "out/checkpoint-2"
    change(place)
    trainer = make(resume_from_checkpoint=str(place) if how == "named" else None)
    as_run(**run)
    with pytest.raises(ValueError, match=f"checkpoint-2' .*{said}") as error:
        trainer.train(resume_from_checkpoint=True if how is True else str(place))
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_a_rank_was_killed_in_is_passed_over(make, tmp_path, as_run, caplog):
    make(max_steps=4).train()
    whole, last = tmp_path / "out/checkpoint-2", tmp_path / "out/checkpoint-4"
    as_of_ranks(whole, range(3))
    as_of_ranks(last, range(2), of=3)
    trainer = make()
    as_run(ranks=3)
    for found in (True, str(last)):
        assert whole_checkpoint._choose_checkpoint(found, trainer.args) == str(whole)
        assert f"{last} is incomplete; resuming from {whole}" in caplog.text
    shutil.rmtree(whole)  # the first one of all
    assert whole_checkpoint._choose_checkpoint(str(last), trainer.args) is None
    assert f"{last} is incomplete; starting anew" in caplog.text


class Killed(BaseException):
    """Ends the run like a signal, past every `except Exception`."""


class Countdown:
    """Kills at the n-th file written from when it is armed on; that file stays half written."""

    left = None

    def count(self, path=None):
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            if path is not None and os.path.isfile(path):
                os.truncate(path, os.path.getsize(path) // 2)
            raise Killed

    def hook(self, event, details):
        if event == "open" and isinstance(details[1], str) and set(details[1]) & set("wxa"):
            self.count(details[0] if isinstance(details[0], str) else None)


COUNTDOWN = Countdown()
sys.addaudithook(COUNTDOWN.hook)


def test_a_run_killed_at_any_write_can_go_on(make, tmp_path, monkeypatch):
    save = torch.save

    def save_or_die(value, path, *args, **kwargs):
        save(value, path, *args, **kwargs)
        COUNTDOWN.count(path)

    monkeypatch.setattr(torch, "save", save_or_die)

    class Arm(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 3:
                COUNTDOWN.left = writes

    resumed = []
    for writes in range(200):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        trainer = make(max_steps=4, save_total_limit=1)
        trainer.add_callback(Arm())
        try:
            trainer.train()
            break
        except Killed:
            pass
        finally:
            COUNTDOWN.left = None
        last = get_last_checkpoint(str(tmp_path / "out"))
        again = make(max_steps=6, save_total_limit=1)
        again.train(resume_from_checkpoint=last)
        assert again.state.global_step == 6
        resumed.append(whole_checkpoint._choose_checkpoint(last, again.args))
        assert_adapter_folder(tmp_path / "out/checkpoint-6")
    # Adapter, tokenizer, arguments, optimizer, schedule, state and random states at least.
    assert 7 <= len(resumed) < 199


def test_nothing_to_resume_from(make):
    with pytest.raises(UserError, match="there is no checkpoint in"):
        make().train(resume_from_checkpoint=True)


def test_checkpoints_without_an_optimizer_when_asked_for(make, tmp_path):
    if "save_only_model" not in inspect.signature(transformers.TrainingArguments).parameters:
        pytest.skip("this release always saves the optimizer")
    make(save_only_model=True, max_steps=4).train()
    last = str(tmp_path / "out/checkpoint-4")
    choose = whole_checkpoint._choose_checkpoint
    assert choose(True, make(save_only_model=True).args) == last
    assert choose(True, make().args) is None


def test_a_whole_run_on_the_toy_chatglm(training_args, data_args, tmp_path):
    """From rows to an evaluated adapter, as the script goes about it."""
    toy_chatglm = pytest.importorskip("tests.toy_chatglm")
    pytest.importorskip("sentencepiece")
    datasets = pytest.importorskip("datasets")
    folder = toy_chatglm.build(tmp_path / "toy")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    args = training_args(
        do_train=True,
        do_eval=True,
        max_steps=30,
        save_steps=30,
        per_device_train_batch_size=4,
        gradient_checkpointing=True,
    )
    model = add_lora(model, arguments(lora_target_modules="query_key_value,dense"), args)
    rows = [{"prompt": f"{a}", "response": f"{a}{a}"} for a in "abcdefgh"]
    raw = datasets.DatasetDict(
        dict.fromkeys(("train", "validation"), datasets.Dataset.from_list(rows))
    )
    encoded = encode_datasets(raw, encode_pair, tokenizer, data_args, args)
    trainer = AdapterTrainer(
        model=model,
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"],
        data_collator=PairCollator(tokenizer, data_args),
        **{TOKENIZER_KEYWORD: tokenizer},
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < 0.7 * before["eval_loss"]
    assert after["eval_accuracy"] > before["eval_accuracy"]
    assert after["eval_accuracy"] == pytest.approx(accuracy_by_hand(trainer, encoded["validation"]))
    kept = trainer.predict(encoded["validation"])
    assert kept.predictions.shape == kept.label_ids.shape == (len(rows), 1)
    trainer.save_model()
    assert_adapter_folder(tmp_path / "out")
    assert_adapter_folder(tmp_path / "out/checkpoint-30")
    again = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    again = peft.PeftModel.from_pretrained(again, tmp_path / "out", is_trainable=True)
    assert_same(adapter_of(again), adapter_of(trainer.model))


def test_a_cache_is_no_output_of_evaluation(training_args, data_args, tmp_path):
    """ChatGLM-6B returns one unasked; it would be padded and gathered as if it were logits."""
    toy_chatglm = pytest.importorskip("tests.toy_chatglm")
    folder = toy_chatglm.build(tmp_path / "toy")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    row = encode_pair(tokenizer, messages("a", [], "b"), data_args)
    assert model(input_ids=torch.tensor([row["input_ids"]])).past_key_values is not None
    args, outputs = training_args(), []

    class WatchedTrainer(AdapterTrainer):
        def prediction_step(self, *args, **options):
            outputs.append(transformers.Trainer.prediction_step(self, *args, **options)[1])
            return super().prediction_step(*args, **options)

    trainer = WatchedTrainer(
        model=add_lora(model, arguments(), args),
        args=args,
        data_collator=PairCollator(tokenizer, data_args),
    )
    assert trainer.predict([row, row, row]).predictions.shape == (3, 1)
    assert [tuple(o.shape) for o in outputs] == [(2, 2), (1, 2)]  # rows and their counts


def accuracy_by_hand(trainer, rows):
    """Share of the label positions that the position before predicts, one row at a time."""
    right = counted = 0
    for row in rows:
        with torch.no_grad():
            logits = trainer.model(torch.tensor([row["input_ids"]])).logits[0]
        for position, label in enumerate(row["labels"][1:]):
            if label != -100:
                counted += 1
                right += logits[position].argmax().item() == label
    return right / counted


def test_saving_over_an_older_checkpoint_of_the_same_step(make, tmp_path):
    make(max_steps=2).train()
    stale = tmp_path / "out/checkpoint-2/stale.bin"
    stale.write_bytes(b"")
    make(max_steps=2).train()
    assert not stale.exists()
    assert_adapter_folder(stale.parent)


def test_another_adapter_is_refused(make, tmp_path):
    make(max_steps=2).train()
    other = make(lora_changes={"lora_target_modules": "dense"})
    with pytest.raises(ValueError, match="does not fit the model: 8 weights are in only one"):
        other._load_from_checkpoint(str(tmp_path / "out/checkpoint-2"))


def test_the_model_card_needs_no_hub(make, tmp_path, monkeypatch):
    import huggingface_hub
    from transformers import modelcard

    def fail(*args, **kwargs):
        raise AssertionError("asked the hub")

    monkeypatch.setattr(huggingface_hub, "model_info", fail)
    monkeypatch.setattr(modelcard, "model_info", fail, raising=False)
    monkeypatch.setattr(modelcard, "is_offline_mode", lambda: False, raising=False)
    trainer = make(max_steps=2)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card(finetuned_from="owner/model", tasks="text-generation")
    assert "owner/model" in (tmp_path / "out/README.md").read_text("utf-8")


def assert_damage_is_seen(folder):
    """Each file of DeepSpeed's counts for whether a checkpoint is whole, and is put back here."""
    assert whole_checkpoint._is_whole_checkpoint(str(folder))
    with pytest.raises(ValueError, match="was saved with DeepSpeed"):
        whole_checkpoint._check_same_kind_of_run(str(folder), False, 1)
    name = (folder / "latest").read_text()
    for path in [folder / "latest", *(folder / name).iterdir()]:
        content = path.read_bytes()
        cut(path)
        assert not whole_checkpoint._is_whole_checkpoint(str(folder)), path
        path.write_bytes(content)
    assert whole_checkpoint._is_whole_checkpoint(str(folder))


def deepspeed_run(folder, stage, gather):
    """What a rank of a DeepSpeed test does; see the test below."""
    from pathlib import Path

    from conftest import data_arguments, make_training_args

    config = {
        "zero_optimization": {
            "stage": stage,
            "stage3_gather_16bit_weights_on_model_save": gather,
            "stage3_param_persistence_threshold": 0,
        },
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }

    def make(**changes):
        args = make_training_args(
            output_dir=folder, deepspeed=config, max_steps=6, save_steps=2, **changes
        )
        return make_trainer(args, data_arguments())

    def whole(model):
        kept = {name: p for name, p in model.named_parameters() if p.requires_grad}
        with adapter_trainer._gathered(kept.values()):
            return {name: p.detach().clone() for name, p in kept.items()}

    folder = Path(folder)
    trainer = make()
    trainer.train()
    trainer.save_model()
    straight = whole(trainer.model)
    if trainer.is_world_process_zero():
        assert_adapter_folder(folder)
        assert_adapter_folder(folder / "checkpoint-4")
        assert (folder / "checkpoint-4/latest").is_file()
        assert_damage_is_seen(folder / "checkpoint-4")
        shutil.rmtree(folder / "checkpoint-6")
    torch.distributed.barrier()
    partitioned = any(hasattr(p, "ds_id") for p in trainer.model.parameters())
    assert partitioned is (stage == 3)

    again = make()
    again.train(resume_from_checkpoint=str(folder / "checkpoint-4"))
    assert again.state.global_step == 6
    assert_same(whole(again.model), straight)

    again.state.best_model_checkpoint = str(folder / "checkpoint-2")
    again._load_best_model()
    tensors = dict(saved_tensors(folder / "checkpoint-2"))
    for name, value in whole(again.model).items():
        torch.testing.assert_close(value, tensors[name.replace(".default", "")])
    assert again.evaluate()["eval_loss"] > 0
    print("DONE")


def test_deepspeed_stage_2(tmp_path):
    """Stage 3 shares a start of two ranks with the tests of prediction."""
    pytest.importorskip("deepspeed")
    folder = str(tmp_path / "out")
    call = f"import test_adapter_trainer as t; t.deepspeed_run({folder!r}, 2, True)"
    (output,) = run_ranks(["-c", call], 1)
    assert "DONE" in output, output[-3000:]

"""What a checkpoint that training can go on from consists of."""

import json
import logging
import os
import re
import zipfile

from adapter_weights import _adapter_file, _file_digest, _is_whole_safetensors
from base_model import _read_run
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from user_error import UserError

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")
RANDOM_STATE = re.compile(r"rng_state_(\d+)\.pth")


def _is_whole_file(path):
    """Return whether a file of a checkpoint was written to its end; True for kinds unknown here."""
    if path.endswith((".bin", ".pt", ".pth")):
        try:  # torch.save writes zip archives, with checksums, their directory last
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        except Exception:  # of many kinds, where a directory says what is not so
            return False
    if path.endswith(".safetensors"):
        return _is_whole_safetensors(path)
    if path.endswith(".json"):
        try:
            with open(path, encoding="utf-8") as file:
                json.load(file)
        except ValueError:
            return False
    return True


def _ranks(folder, names):
    """Return how many ranks wrote a checkpoint: recorded, or else told by their random states' files.

    Args:
        folder: the checkpoint.
        names: those of the files in it.
    """
    saved = sum(map(bool, map(RANDOM_STATE.fullmatch, names)))
    return _read_run(folder).get("world_size") or saved or 1


def _has_random_states(names, ranks):
    """Return whether the random states of all ranks are among the names of a checkpoint's files."""
    needed = {f"rng_state_{rank}.pth" for rank in range(ranks)} if ranks > 1 else {"rng_state.pth"}
    return needed <= names


def _is_whole_deepspeed_state(folder, ranks):
    """Return whether DeepSpeed's part of the checkpoint is there, `latest` and the folder it names.

    Args:
        folder: the checkpoint.
        ranks: how many there were, of which ZeRO writes an optimizer's file each.
    """
    try:
        with open(os.path.join(folder, "latest"), encoding="utf-8") as file:
            tag = file.read().strip()
        states = os.path.join(folder, tag)
        names = [name for name in os.listdir(states) if tag and name.endswith(".pt")]
    except (OSError, ValueError):
        return False
    return (
        any(name.endswith("model_states.pt") for name in names)
        and all(_has_all_ranks(names, kind, ranks) for kind in ("model", "optim"))
        and all(_is_whole_file(os.path.join(states, name)) for name in names)
    )


def _has_all_ranks(names, kind, ranks):
    """Return whether of ZeRO's files of that kind, if there are any, there is one for each rank."""
    found = [re.search(rf"zero_pp_rank_(\d+)_.*{kind}_states", name) for name in names]
    found = {int(match[1]) for match in found if match}
    return found in (set(), set(range(ranks)))


def _is_whole_checkpoint(folder, weights_only=False):
    """Return whether training can go on from `folder`, which a killed run may have left unfinished.

    Whichever release of transformers wrote it, and in whichever order, a whole checkpoint has the
    adapter and the trainer's state and, unless `weights_only`, the random states of all ranks and
    either DeepSpeed's `latest` (written when every rank is done) or the optimizer and the schedule.
    All of its files are complete, and those of DeepSpeed's folder.
    """
    try:
        names = set(os.listdir(folder))
    except OSError:
        return False
    if not {"adapter_config.json", "trainer_state.json"} <= names or _adapter_file(folder) is None:
        return False
    ranks = _ranks(folder, names)
    if not weights_only:
        optimizer = "latest" in names or {"optimizer.pt", "scheduler.pt"} <= names
        if not optimizer or not _has_random_states(names, ranks):
            return False
    if "latest" in names and not _is_whole_deepspeed_state(folder, ranks):
        return False
    digest = _read_run(folder).get("adapter_sha256")
    if digest and digest != _file_digest(_adapter_file(folder)):
        return False
    return all(_is_whole_file(os.path.join(folder, name)) for name in names)


def _choose_checkpoint(given, args):
    """Return the checkpoint to go on from, None to start anew.

    Args:
        given: what the script hands to `Trainer.train`: a folder, True or "true" for the latest in
            the output folder, or None.
        args: transformers.TrainingArguments. A folder that `resume_from_checkpoint` names there is
            taken at its word; any other gives way to the latest that is whole.

    Raises:
        UserError: the named one is not whole, or there is none at all.
    """
    weights_only = getattr(args, "save_only_model", False)
    is_named = given == args.resume_from_checkpoint
    if not given:
        return None
    if str(given).lower() != "true":
        if _is_whole_checkpoint(given, weights_only):
            return given
        if is_named:
            raise UserError(f"{given!r} is no complete checkpoint of an adapter.")
    folder = args.output_dir
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = sorted(int(match[1]) for match in map(CHECKPOINT_NAME.fullmatch, names) if match)
    if not steps:
        raise UserError(f"--resume_from_checkpoint: there is no checkpoint in {folder!r}.")
    paths = [os.path.join(folder, f"{PREFIX_CHECKPOINT_DIR}-{step}") for step in steps[::-1]]
    whole = next((path for path in paths if _is_whole_checkpoint(path, weights_only)), None)
    if whole != paths[0]:
        then = f"resuming from {whole}" if whole else "starting anew"
        logger.warning("%s is incomplete; %s.", paths[0], then)
    return whole


def _check_same_kind_of_run(folder, zero_stage, ranks):
    """Refuse a whole checkpoint that this run would take up without its optimizer or random states.

    Args:
        folder: the checkpoint.
        zero_stage: this run's stage of ZeRO, None without DeepSpeed.
        ranks: how many it has.

    Raises:
        UserError: the checkpoint is of a run that differs in either.
    """
    names, run = set(os.listdir(folder)), _read_run(folder)
    by_deepspeed = "latest" in names
    there = run.get("zero_stage") if by_deepspeed else None
    if by_deepspeed and "zero_stage" not in run:  # an older checkpoint
        there = zero_stage or 0
    if {"latest", "optimizer.pt"} & names and there != zero_stage:
        was, now = (
            "without DeepSpeed" if stage is None else f"with DeepSpeed's ZeRO stage {stage}"
            for stage in (there, zero_stage)
        )
        raise UserError(
            f"{folder!r} was saved {was}, and this run is {now}: start it like that one, or anew in "
            "another --output_dir."
        )
    saved = _ranks(folder, names)
    if any(name.startswith("rng_state") for name in names) and saved != ranks:
        raise UserError(
            f"{folder!r} is of a run on {saved} rank(s), and this run has {ranks}: start as many, or anew "
            "in another --output_dir."
        )

"""What a checkpoint that training can go on from consists of."""

import json
import logging
import os
import re
import zipfile

from adapter_weights import _adapter_file, _file_digest, _is_whole_safetensors
from base_model import _read_run
from nodes import _of_all_ranks
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


def _ranks_here(folder, names):
    """Return the ranks whose states were saved to the checkpoint: nodes may have folders of their own."""
    return _read_run(folder).get("ranks_here") or range(_ranks(folder, names))


def _has_random_states(names, ranks, of):
    """Return whether the random states of `ranks`, of so many, are among the names of a checkpoint's files."""
    needed = {f"rng_state_{rank}.pth" for rank in ranks} if of > 1 else {"rng_state.pth"}
    return needed <= names


def _is_whole_deepspeed_state(folder, ranks):
    """Return whether DeepSpeed's part of the checkpoint is there, `latest` and the folder it names.

    Args:
        folder: the checkpoint.
        ranks: those that wrote to it, of which ZeRO writes an optimizer's file each.
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
    return not found or found.issuperset(ranks)


def _is_whole_checkpoint(folder, weights_only=False):
    """Return whether training can go on from `folder`, which a killed run may have left unfinished.

    Whichever release of transformers wrote it, and in whichever order, a whole checkpoint has the
    adapter and the trainer's state and, unless `weights_only`, the random states of all ranks and
    either DeepSpeed's `latest` (written when every rank is done) or the optimizer and the schedule.
    All of its files are complete, and those of DeepSpeed's folder. Where nodes have folders of their
    own, only the ranks of one left their states in it.
    """
    try:
        names = set(os.listdir(folder))
    except OSError:
        return False
    if not {"adapter_config.json", "trainer_state.json"} <= names or _adapter_file(folder) is None:
        return False
    ranks = _ranks_here(folder, names)
    if not weights_only:
        optimizer = "latest" in names or {"optimizer.pt", "scheduler.pt"} <= names
        if not optimizer or not _has_random_states(names, ranks, _ranks(folder, names)):
            return False
    if "latest" in names and not _is_whole_deepspeed_state(folder, ranks):
        return False
    digest = _read_run(folder).get("adapter_sha256")
    if digest and digest != _file_digest(_adapter_file(folder)):
        return False
    return all(_is_whole_file(os.path.join(folder, name)) for name in names)


def _choose_checkpoint(given, args):
    """Return the checkpoint to go on from, None to start anew: the same on all ranks, which all call.

    Args:
        given: what the script hands to `Trainer.train`: a folder, True or "true" for the latest in
            the output folder, or None.
        args: transformers.TrainingArguments. A folder that `resume_from_checkpoint` names there is
            taken at its word; any other gives way to the latest that is whole.

    Raises:
        UserError: the named one is not whole, there is none at all, or only some nodes have one.
    """
    weights_only = getattr(args, "save_only_model", False)

    def whole(path):
        return _of_all_ranks(_is_whole_checkpoint(path, weights_only))

    if given and str(given).lower() != "true":
        if given == args.resume_from_checkpoint:
            if not all(found := whole(given)):
                where = f" on the node of rank {found.index(False)}" if any(found) else ""
                raise UserError(f"{given!r} is no complete checkpoint of an adapter{where}.")
            return given
        given = os.path.relpath(given, args.output_dir)
    # A node that has lost its folder finds nothing to hand on.
    asked = next(filter(None, _of_all_ranks(given)), None)
    if asked is None:
        return None
    latest = _checkpoints_of_all_ranks(args.output_dir)
    if not latest:
        raise UserError(f"--resume_from_checkpoint: there is no checkpoint in {args.output_dir!r}.")
    first = [] if str(asked).lower() == "true" else [os.path.join(args.output_dir, asked)]
    on_some = None
    for path in [*first, *latest]:
        found = whole(path)
        if all(found):
            break
        if any(found):
            on_some = on_some or (path, found.index(True), found.index(False))
    else:
        path = None
    if path is None and on_some:
        raise UserError(
            "{!r} is whole on the node of rank {} and not on that of rank {}: copy what is missing there, "
            "or start anew in another --output_dir.".format(*on_some)
        )
    if path not in (latest[0], *first):
        then = f"resuming from {path}" if path else "starting anew"
        logger.warning("%s is incomplete; %s.", latest[0], then)
    return path


def _checkpoints_of_all_ranks(folder):
    """Return the paths of the checkpoints that any rank finds in `folder`, the latest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    mine = {int(match[1]) for match in map(CHECKPOINT_NAME.fullmatch, names) if match}
    steps = sorted(set().union(*_of_all_ranks(mine)), reverse=True)
    return [os.path.join(folder, f"{PREFIX_CHECKPOINT_DIR}-{step}") for step in steps]


def _check_same_kind_of_run(folder, zero_stage, ranks, rank=0):
    """Refuse a whole checkpoint that this run would take up without its optimizer or random states.

    Args:
        folder: the checkpoint.
        zero_stage: this run's stage of ZeRO, None without DeepSpeed.
        ranks: how many it has.
        rank: which of them this is.

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
    if not any(name.startswith("rng_state") for name in names):
        return
    if saved != ranks:
        raise UserError(
            f"{folder!r} is of a run on {saved} rank(s), and this run has {ranks}: start as many, or anew "
            "in another --output_dir."
        )
    if ranks > 1 and not _has_random_states(names, [rank], ranks):
        raise UserError(
            f"{folder!r} lacks what rank {rank} saved on another node: start the same ranks on each node, "
            "or gather all of its files there."
        )

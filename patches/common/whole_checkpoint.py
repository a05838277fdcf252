"""What a checkpoint that training can go on from consists of."""

import json
import os
import re
import zipfile

from adapter_weights import _adapter_file, _is_whole_safetensors
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

CHECKPOINT_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")
RANDOM_STATE = re.compile(r"rng_state_(\d+)\.pth")


def _is_whole_file(path):
    """Return whether a file of a checkpoint was written to its end; True for kinds unknown here."""
    if path.endswith((".bin", ".pt", ".pth")):
        return zipfile.is_zipfile(path)  # torch.save writes zip archives, their directory last
    if path.endswith(".safetensors"):
        return _is_whole_safetensors(path)
    if path.endswith(".json"):
        try:
            with open(path, encoding="utf-8") as file:
                json.load(file)
        except ValueError:
            return False
    return True


def _saved_ranks(names):
    """Return how many ranks' random states are among the names of a checkpoint's files.

    Returns:
        The number of ranks; 0 where there are none, or a rank's is missing between others'.
    """
    if "rng_state.pth" in names:
        return 1
    ranks = {int(match[1]) for match in map(RANDOM_STATE.fullmatch, names) if match}
    # The first of several ranks alone is one that the others did not follow.
    return len(ranks) if len(ranks) > 1 and ranks == set(range(len(ranks))) else 0


def _is_whole_deepspeed_state(folder, ranks):
    """Return whether DeepSpeed's part of the checkpoint is there, `latest` and the folder it names.

    Args:
        folder: the checkpoint.
        ranks: how many there were, of which ZeRO writes an optimizer's file each; 0 if unknown.
    """
    try:
        with open(os.path.join(folder, "latest"), encoding="utf-8") as file:
            tag = file.read().strip()
        states = os.path.join(folder, tag)
        names = [name for name in os.listdir(states) if tag and name.endswith(".pt")]
    except (OSError, ValueError):
        return False
    optimizers = [name for name in names if re.search(r"zero_pp_rank_\d+_.*optim_states", name)]
    return (
        any(name.endswith("model_states.pt") for name in names)
        and (not optimizers or ranks in (0, len(optimizers)))
        and all(_is_whole_file(os.path.join(states, name)) for name in names)
    )


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
    if not weights_only:
        optimizer = "latest" in names or {"optimizer.pt", "scheduler.pt"} <= names
        if not optimizer or not _saved_ranks(names):
            return False
    if "latest" in names and not _is_whole_deepspeed_state(folder, _saved_ranks(names)):
        return False
    return all(_is_whole_file(os.path.join(folder, name)) for name in names)


def _check_same_kind_of_run(folder, deepspeed, ranks):
    """Refuse a whole checkpoint that this run would take up without its optimizer or random states.

    Args:
        folder: the checkpoint.
        deepspeed: whether this run uses DeepSpeed.
        ranks: how many ranks it has.

    Raises:
        ValueError: the checkpoint is of a run that differs in either.
    """
    names = set(os.listdir(folder))
    anew = "or start anew in another --output_dir."
    if "latest" in names and not deepspeed:
        raise ValueError(
            f"{folder!r} was saved with DeepSpeed, which this run does not use: give --deepspeed, {anew}"
        )
    if "optimizer.pt" in names and "latest" not in names and deepspeed:
        raise ValueError(
            f"{folder!r} was saved without DeepSpeed, which this run uses: leave out --deepspeed, {anew}"
        )
    saved = _saved_ranks(names)
    if saved not in (0, ranks):
        raise ValueError(
            f"{folder!r} has random states for {saved} rank(s), and this run has {ranks}: start as many, "
            f"{anew}"
        )

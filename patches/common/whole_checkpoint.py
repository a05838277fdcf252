"""What a checkpoint that training can go on from consists of."""

import json
import os
import re
import zipfile

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

CHECKPOINT_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")


def _adapter_file(folder):
    """Return the path of the adapter's weights in `folder`, or None."""
    paths = [os.path.join(folder, name) for name in ADAPTER_FILES]
    return next((path for path in paths if os.path.isfile(path)), None)


def _is_whole_file(path):
    """Return whether a file of a checkpoint was written to its end; True for kinds unknown here."""
    if path.endswith((".bin", ".pt", ".pth")):
        return zipfile.is_zipfile(path)  # torch.save writes zip archives, their directory last
    if path.endswith(".json"):
        try:
            with open(path, encoding="utf-8") as file:
                json.load(file)
        except ValueError:
            return False
    return True


def _is_whole_checkpoint(folder, weights_only=False):
    """Return whether training can go on from `folder`, which a killed run may have left unfinished.

    Whichever release of transformers wrote it, and in whichever order, a whole checkpoint has the
    adapter and the trainer's state and, unless `weights_only`, the random states and either
    DeepSpeed's `latest` (written when every rank is done) or the optimizer and the schedule. All
    of its files are complete.
    """
    try:
        names = set(os.listdir(folder))
    except OSError:
        return False
    if not {"adapter_config.json", "trainer_state.json"} <= names or _adapter_file(folder) is None:
        return False
    if not weights_only:
        optimizer = "latest" in names or {"optimizer.pt", "scheduler.pt"} <= names
        if not optimizer or not any(name.startswith("rng_state") for name in names):
            return False
    return all(_is_whole_file(os.path.join(folder, name)) for name in names)

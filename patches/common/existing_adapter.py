"""An adapter to go on with: found, compared with the base model, and loaded to its last weight."""

import logging
import os

import huggingface_hub
import peft
from adapter_weights import ADAPTER_FILES, _put_adapter, _train_what_is_saved
from base_model import RUN_FILE, _base_difference, _kind_of_weights, _read_run
from user_error import UserError

logger = logging.getLogger(__name__)


def _adapter_folder(path, model_args):
    """Return the folder of the adapter at `path`, a folder or a hub name.

    Raises:
        UserError: there is no adapter.
    """
    if not os.path.isdir(path):
        try:
            path = huggingface_hub.snapshot_download(
                path,
                allow_patterns=["adapter_config.json", *ADAPTER_FILES, RUN_FILE],
                cache_dir=model_args.cache_dir,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"--adapter_name_or_path: {path!r} is no folder, nor an adapter on the hub: {error}"
            ) from error
    if not os.path.isfile(os.path.join(path, "adapter_config.json")):
        raise UserError(f"--adapter_name_or_path: {path!r} holds no adapter_config.json.")
    return path


def _wrap_for_adapter(model, folder):
    """Return `model` with an untrained adapter of the settings in `folder`."""
    config = peft.PeftConfig.from_pretrained(folder)
    # Older releases return the settings that all kinds of adapters have.
    config = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[config.peft_type].from_pretrained(folder)
    config.inference_mode = False
    return peft.get_peft_model(model, config)


def _check_base(here, folder):
    """Refuse a base model, described by `here`, with a smaller vocabulary than the adapter in `folder` was trained with.

    Other weights than it was trained on are told: some do so on purpose.

    Raises:
        UserError: as said.
    """
    record = _read_run(folder).get("base_model") or {}
    learnt, rows = record.get("vocabulary_size") or 0, here["vocabulary_size"]
    if learnt > rows:
        raise UserError(
            f"--adapter_name_or_path: {folder!r} was trained with {learnt} tokens, and the model has {rows}: "
            f"give the tokenizer it was trained with, --tokenizer_name {folder}."
        )
    if record and record.get("quantization") != here["quantization"]:
        logger.warning(
            "%s was trained on %s, and is put on %s: see --quantization.",
            folder,
            _kind_of_weights(record.get("quantization")),
            _kind_of_weights(here["quantization"]),
        )
    difference = _base_difference(here, record)
    if difference:
        logger.warning(
            "%s was trained on another base model (%s): %s differ from this one's.",
            folder,
            record.get("name_or_path"),
            difference,
        )


def _load_adapter(model, folder):
    """Return `model` with the adapter in `folder`, ready for more training.

    peft passes over weights that have no place in the model, and places that get no weight; here
    none of either is left.

    Raises:
        UserError: it cannot be read, or it is another model's.
    """
    try:
        model = _wrap_for_adapter(model, folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"--adapter_name_or_path: cannot load {folder!r}: {error}") from error
    _train_what_is_saved(model)  # in float32, so that no trained value is rounded
    try:
        _put_adapter(model, folder)
    except UserError as error:
        raise UserError(f"--adapter_name_or_path: {error}") from error
    return model

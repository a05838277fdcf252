"""A Trainer whose checkpoints hold the adapter and nothing of the frozen model under it."""

import contextlib
import functools
import inspect
import logging
import os
import shutil
import tempfile

import numpy as np
import torch
from adapter_config import _check_adapter_config
from adapter_weights import _gathered, _put_adapter
from evaluation_counts import _response_counts
from length_grouping import _EpochLengthGroupedSampler
from transformers import Trainer
from transformers.trainer_pt_utils import DistributedLengthGroupedSampler, LengthGroupedSampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from whole_checkpoint import (
    CHECKPOINT_NAME,
    _check_same_kind_of_run,
    _is_whole_checkpoint,
    _saved_ranks,
)

logger = logging.getLogger(__name__)

STAGING_PREFIX = ".saving-"


def _flush_files(folder):
    """Have the disk take all that was written to the files under `folder`."""
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(path, name)
            # Not every system flushes a file that is open for reading; a copied one may be read-only.
            with open(file, "rb+" if os.access(file, os.W_OK) else "rb") as opened:
                os.fsync(opened.fileno())


def _use_one_gpu(args):
    """Keep a single process to one GPU: models' own code cannot stand torch.nn.DataParallel."""
    if args.n_gpu > 1:
        logger.warning(
            "One of %d GPUs is used: start the script with torchrun --nproc_per_node %d, or with "
            "deepspeed, to use all.",
            args.n_gpu,
            args.n_gpu,
        )
        args._n_gpu = 1  # as the releases themselves do for models that are spread over GPUs


def _smoothed_next_token_loss(smoother, outputs, labels, shift_labels=True, **options):
    """Return the release's smoothed loss, each label compared with what comes before it.

    Releases shift labels for the models that they know to be causal, which a peft model's class, or
    one of remote code, is not; unshifted, a model learns to repeat what it reads.
    """
    return smoother(outputs, labels, shift_labels=True, **options)


class AdapterTrainer(Trainer):
    """A Trainer for a peft model, the same with every release from 4.28 on.

    Older releases save a peft model as if it were any other module, in full, and cannot resume
    from its adapter; later ones learnt both by and by, DeepSpeed's stages last. Nothing here looks
    at release numbers: saving and loading of the weights is replaced altogether, DeepSpeed's
    engine is told that frozen weights are neither in its checkpoints nor missing from them, and
    everything else is the release's own. Saving needs memory for the adapter only, and evaluation
    two numbers a row, however long the rows are.
    """

    def __init__(self, *args, **kwargs):
        if kwargs.get("args") is not None:
            _use_one_gpu(kwargs["args"])
        super().__init__(*args, **kwargs)
        # Called here, a batch at a time, and not in the release's loop, which keeps what it returns.
        self._predicted_ids, self.preprocess_logits_for_metrics = (
            self.preprocess_logits_for_metrics,
            None,
        )
        if self.label_smoother is not None:
            self.label_smoother = functools.partial(_smoothed_next_token_loss, self.label_smoother)

    def _get_train_sampler(self, *args, **kwargs):
        sampler = super()._get_train_sampler(*args, **kwargs)
        if type(sampler) in (LengthGroupedSampler, DistributedLengthGroupedSampler):
            return _EpochLengthGroupedSampler(self, sampler)
        return sampler

    def prediction_step(self, *args, **kwargs):
        """Evaluate one batch; its predictions and labels are counts, as `ResponseAccuracy` takes them.

        Returns:
            (loss, hits, counted): loss as the release returns it, and `_response_counts`.
        """
        loss, logits, labels = super().prediction_step(*args, **kwargs)
        if logits is None or labels is None or self._predicted_ids is None:
            return loss, logits, labels
        return loss, *_response_counts(self._predicted_ids(logits, labels), labels)

    def _uses_deepspeed(self):
        return bool(
            getattr(self, "is_deepspeed_enabled", False) or getattr(self.args, "deepspeed", None)
        )

    @contextlib.contextmanager
    def _engine_without_frozen_weights(self):
        """While this lasts, DeepSpeed's engines save and expect trainable weights only."""
        if not self._uses_deepspeed():
            yield
            return
        import deepspeed

        engine = deepspeed.DeepSpeedEngine
        # Patched on the class, since the engine is made, and may be loaded into, in the middle of
        # the releases' own training loop.
        settings = {
            "save_checkpoint": {"exclude_frozen_parameters": True},
            "load_checkpoint": {"load_module_strict": False},
        }
        originals = {name: getattr(engine, name) for name in settings}
        for name, extra in settings.items():
            takes = inspect.signature(originals[name]).parameters
            if not set(extra) <= set(takes):
                logger.warning("This DeepSpeed's checkpoints hold the frozen weights too.")
                continue
            setattr(engine, name, functools.partialmethod(originals[name], **extra))
        try:
            yield
        finally:
            for name, original in originals.items():
                setattr(engine, name, original)

    def train(self, resume_from_checkpoint=None, *args, **kwargs):
        """Train as `Trainer.train` does, from the last checkpoint that is whole.

        A run that was killed while saving leaves a folder with the highest step number and only
        part of its files, which every release would resume from. A checkpoint named by
        `--resume_from_checkpoint` is taken at its word, and an error if it is not whole; "true"
        there means the last one. Nothing is loaded from one of another adapter or kind of run.

        Raises:
            ValueError: the named checkpoint is not whole, or the one to go on from is of a run with
                other settings of the adapter, other ranks, or DeepSpeed in only one of the two.
        """
        checkpoint = resume_from_checkpoint
        if isinstance(checkpoint, str) and checkpoint.lower() == "true":
            checkpoint = True
        if isinstance(checkpoint, str) and checkpoint == self.args.resume_from_checkpoint:
            if not self._can_resume_from(checkpoint):
                raise ValueError(f"{checkpoint!r} is no complete checkpoint of an adapter.")
        elif checkpoint:
            checkpoint = self._last_whole_checkpoint(checkpoint)
        if isinstance(checkpoint, (str, os.PathLike)) and self._can_resume_from(checkpoint):
            _check_same_kind_of_run(checkpoint, self._uses_deepspeed(), self.args.world_size)
            _check_adapter_config(checkpoint, self.model)
        with self._engine_without_frozen_weights():
            return super().train(checkpoint, *args, **kwargs)

    def evaluation_loop(self, *args, ignore_keys=None, **kwargs):
        """Evaluate as the release does; a key/value cache is no output, whatever the model says."""
        # ChatGLM-6B's code returns one and does not list it among the keys to ignore; its layout
        # is not what the releases, gathering outputs from all ranks, take it for.
        if ignore_keys is None:
            known = getattr(self.model.config, "keys_to_ignore_at_inference", None) or []
            ignore_keys = [*known, "past_key_values"]
        return super().evaluation_loop(*args, ignore_keys=ignore_keys, **kwargs)

    def create_optimizer(self, *args, **kwargs):
        """Create the optimizer; one of its groups, that of weights without decay, is often empty."""
        optimizer = super().create_optimizer(*args, **kwargs)
        # LoRA trains no biases or norms. DeepSpeed drops empty groups itself, but after schedules
        # were made for all of them, which newer releases of torch take for an error.
        for name in ("param_groups", "params"):  # accelerate's stand-in for DeepSpeed's own: params
            groups = getattr(optimizer, name, None)
            if isinstance(groups, list) and all(isinstance(group, dict) for group in groups):
                groups[:] = [group for group in groups if group["params"]]
        return optimizer

    def _can_resume_from(self, folder):
        return _is_whole_checkpoint(folder, getattr(self.args, "save_only_model", False))

    def _has_all_ranks(self, folder):
        saved = _saved_ranks(os.listdir(folder))
        return saved == 0 or saved >= self.args.world_size

    def _last_whole_checkpoint(self, found):
        """Return the latest checkpoint in the output folder that is whole, None if all are not.

        Args:
            found: the one that was going to be used, or True for the latest. It is returned as it
                is if it is whole, or if there are none at all, which the release then reports.
                One of fewer ranks may be one that some were killed in: it is the last choice.
        """
        if found is not True and self._can_resume_from(found) and self._has_all_ranks(found):
            return found
        folder = self.args.output_dir
        names = os.listdir(folder) if os.path.isdir(folder) else []
        steps = sorted(
            int(match[1]) for match in map(CHECKPOINT_NAME.fullmatch, names) if match is not None
        )
        if not steps:
            return found
        paths = [os.path.join(folder, f"{PREFIX_CHECKPOINT_DIR}-{step}") for step in steps[::-1]]
        whole = [path for path in paths if self._can_resume_from(path)]
        whole = next(filter(self._has_all_ranks, whole), whole[0] if whole else None)
        if whole != paths[0]:
            then = f"resuming from {whole}" if whole else "starting anew"
            logger.warning("%s is incomplete; %s.", paths[0], then)
        return whole

    def _adapter_state(self):
        """Return what the adapter may consist of, {name: tensor on the CPU}; a call for all ranks."""
        state = self.model.state_dict(keep_vars=True)
        kept = {
            name: value
            for name, value in state.items()
            if value.requires_grad or "lora_" in name or "modules_to_save" in name
        }
        with _gathered(kept.values()):
            return {name: value.detach().cpu().clone() for name, value in kept.items()}

    def save_model(self, output_dir=None, _internal_call=False):
        """Save the adapter, the tokenizer and the training arguments; a call for all ranks."""
        state = self._adapter_state()
        if self.args.should_save:
            self._save(output_dir, state_dict=state)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save")

    def _save(self, output_dir=None, state_dict=None):
        """Write `output_dir` so that a kill leaves every file there either as it was or complete."""
        output_dir = self.args.output_dir if output_dir is None else output_dir
        os.makedirs(output_dir, exist_ok=True)
        logger.info("Saving the adapter to %s", output_dir)
        options = {}
        if "save_embedding_layers" in inspect.signature(self.model.save_pretrained).parameters:
            # The default asks the hub whether the vocabulary has grown, and then adds base weights.
            options["save_embedding_layers"] = False
        tokenizer = getattr(self, "processing_class", None)
        if tokenizer is None:
            tokenizer = getattr(self, "tokenizer", None)
        for name in os.listdir(output_dir):
            if name.startswith(STAGING_PREFIX):  # left by a killed run
                shutil.rmtree(os.path.join(output_dir, name))
        with tempfile.TemporaryDirectory(dir=output_dir, prefix=STAGING_PREFIX) as staging:
            self.model.save_pretrained(staging, state_dict=state_dict, **options)
            if tokenizer is not None:
                tokenizer.save_pretrained(staging)
            torch.save(self.args, os.path.join(staging, "training_args.bin"))
            _flush_files(staging)  # before a rename makes them count, or a power cut leaves none
            for name in sorted(os.listdir(staging)):
                old = os.path.join(output_dir, name)
                if os.path.isdir(old):  # of chat templates, where a tokenizer has several
                    shutil.rmtree(old)
                os.replace(os.path.join(staging, name), old)

    def _save_checkpoint(self, *args, **kwargs):
        """Save a checkpoint; one of the same step, left by an earlier run, goes first."""
        # Its files and the new ones would together look whole before the new ones all are.
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        old = os.path.join(self.args.output_dir, name)
        if self.args.should_save and os.path.isdir(old):
            shutil.rmtree(old)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        super()._save_checkpoint(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        logger.info("Loading the adapter from %s", resume_from_checkpoint)
        _put_adapter(self.model, resume_from_checkpoint)

    def _load_rng_state(self, checkpoint):
        """Restore the random states, with torch releases that load nothing but tensors by default."""
        trusted = getattr(torch.serialization, "safe_globals", contextlib.nullcontext)
        # What numpy's random state is pickled with, wherever this release of numpy keeps it.
        array = np.zeros(1, dtype=np.uint32)
        with trusted([array.__reduce__()[0], np.ndarray, np.dtype, type(array.dtype)]):
            super()._load_rng_state(checkpoint)

    def _load_best_model(self):
        best = self.state.best_model_checkpoint
        logger.info("Loading the best adapter from %s (score: %s).", best, self.state.best_metric)
        _put_adapter(self.model, best)

    def create_model_card(self, **kwargs):
        """Write the model card without asking the hub anything, unless the model goes there."""
        if not self.args.push_to_hub:
            # Releases look the base model's license up when none is given.
            kwargs.setdefault("license", "unknown")
        super().create_model_card(**kwargs)

"""A Trainer whose checkpoints hold the adapter and nothing of the frozen model under it."""

import contextlib
import inspect
import json
import logging
import os
import shutil
import tempfile

import numpy as np
import torch
from adapter_config import _check_adapter_config
from adapter_weights import _adapter_file, _file_digest, _gathered
from base_model import RUN_FILE, _check_same_base
from changed_base import _make_plain, _put_as_trained
from deepspeed_engine import _engines_without_frozen_weights
from eva import _initialise_from_data
from evaluation_counts import _response_accuracy
from head_on_labels import ALL, HeadOnLabels
from learning_checks import (
    _require_finite_loss,
    _require_finite_weights,
    _require_learnt,
    _watch_checkpointing,
)
from length_grouping import _EpochLengthGroupedSampler
from loraplus import _loraplus_optimizer
from nodes import _on_all_ranks, _save_where_all_can_read
from positions import check_longest
from trainer_settings import (
    _checkpoint_beside_ranks,
    _half_beside_float,
    _takes_loss_options,
    _use_one_gpu,
)
from transformers import Trainer
from transformers.trainer_pt_utils import DistributedLengthGroupedSampler, LengthGroupedSampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from user_error import UserError
from whole_checkpoint import _check_same_kind_of_run, _choose_checkpoint
from whole_files import _flush_files, _full_disk_told

logger = logging.getLogger(__name__)

STAGING_PREFIX = ".saving-"


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
        super().__init__(*args, compute_metrics=_response_accuracy, **kwargs)
        base = self.model.get_base_model()
        check_longest(self.args, base)
        # Releases ask the peft model, which takes and names anything, for these.
        if getattr(self, "model_accepts_loss_kwargs", False):
            self.model_accepts_loss_kwargs = _takes_loss_options(base)
        self.label_names = self.args.label_names or ["labels"]
        self.args.logging_nan_inf_filter = False  # which logs 0.0 for them
        self._checkpointing_watched = not self.args.gradient_checkpointing
        HeadOnLabels(self.model, self.label_smoother, ALL if self._loss_is_fused() else None)
        self.label_smoother = None  # that of the head on labels, from now on

    def _loss_is_fused(self):
        """Return whether kernels make the loss without logits, or compiled code wants one shape."""
        return any(getattr(self.args, n, False) for n in ("use_liger_kernel", "torch_compile"))

    def _get_train_sampler(self, *args, **kwargs):
        sampler = super()._get_train_sampler(*args, **kwargs)
        if type(sampler) in (LengthGroupedSampler, DistributedLengthGroupedSampler):
            return _EpochLengthGroupedSampler(self, sampler)
        return sampler

    def prediction_step(self, *args, **kwargs):
        """Evaluate one batch; its predictions and labels are counts, as the accuracy takes them.

        Returns:
            (loss, hits, counted): float, and int64 [rows, 1] twice, as `_response_counts` has them.
        """
        loss, counts, labels = super().prediction_step(*args, **kwargs)
        if counts is None or labels is None:
            return loss, counts, labels
        return loss, counts[:, :1], counts[:, 1:]

    def training_step(self, *args, **kwargs):
        """Train on one batch; a loss that is not finite ends the run, unless --allow_non_finite."""
        watch = contextlib.nullcontext()
        if not self._checkpointing_watched:
            self._checkpointing_watched, watch = True, _watch_checkpointing(self.model)
        with watch:
            loss = super().training_step(*args, **kwargs)
        if not getattr(self.args, "allow_non_finite", False):
            _require_finite_loss(loss, self.state.global_step + 1)
        return loss

    def compute_loss_context_manager(self):
        """Return the context of a forward pass: that of the release, and one precision for all."""
        context = contextlib.ExitStack()
        context.enter_context(super().compute_loss_context_manager())
        half = _half_beside_float(self.model)
        if half is not None:
            context.enter_context(torch.autocast(self.args.device.type, half))
        return context

    def _uses_deepspeed(self):
        return bool(
            getattr(self, "is_deepspeed_enabled", False) or getattr(self.args, "deepspeed", None)
        )

    def _deepspeed_config(self):
        """Return transformers' configuration of DeepSpeed; None without DeepSpeed."""
        if not self._uses_deepspeed():
            return None
        config = getattr(self.args, "hf_deepspeed_config", None)
        return config or self.accelerator.state.deepspeed_plugin.hf_ds_config

    def _zero_stage(self):
        """Return the stage of ZeRO, 0 to 3; None without DeepSpeed."""
        config = self._deepspeed_config()
        return None if config is None else config.get_value("zero_optimization.stage", 0)

    def _check_optimizer(self):
        """Raise UserError if DeepSpeed's configuration makes the optimizer that LoRA+ is to make."""
        asked = getattr(self.args, "loraplus_lr_ratio", None) is not None
        config = self._deepspeed_config()
        if asked and config is not None and config.get_value("optimizer"):
            raise UserError(
                "--loraplus_lr_ratio: DeepSpeed's configuration names an optimizer, which knows one learning rate "
                "only: take it out there, with zero_allow_untested_optimizer set."
            )

    def train(self, resume_from_checkpoint=None, *args, **kwargs):
        """Train as `Trainer.train` does, from the last checkpoint that is whole.

        A run that was killed while saving leaves a folder with the highest step number and only
        part of its files, which every release would resume from. A checkpoint named by
        `--resume_from_checkpoint` is taken at its word, and an error if it is not whole; "true"
        there means the last one. Nothing is loaded from one of another adapter or kind of run.

        Raises:
            UserError: the named checkpoint is not whole, or the one to go on from is of a run with
                other settings of the adapter, other ranks, or DeepSpeed in only one of the two.
        """
        self._check_optimizer()
        if self.args.world_size > 1 and not self._uses_deepspeed():
            _checkpoint_beside_ranks(self.args)
        self._ranks_here = _save_where_all_can_read(self.args, self._deepspeed_config())
        checkpoint = _choose_checkpoint(resume_from_checkpoint, self.args)
        if checkpoint:
            _on_all_ranks(self._check_kind_of_run, checkpoint)
        if getattr(self.model, "awaits_data", False):
            _initialise_from_data(self, checkpoint)
            self.model.awaits_data = False
        if checkpoint:
            _on_all_ranks(self._check_adapter, checkpoint)
            logger.info("Resuming from %s", checkpoint)
        before = self.state.global_step
        engines = _engines_without_frozen_weights() if self._uses_deepspeed() else None
        with engines or contextlib.nullcontext():
            result = super().train(checkpoint, *args, **kwargs)
        _require_learnt(self._adapter_state(), self.state.global_step - before)
        return result

    def _check_kind_of_run(self, folder):
        """Raise UserError if the whole checkpoint in `folder` is of other ranks, or of another ZeRO stage."""
        args = self.args
        _check_same_kind_of_run(folder, self._zero_stage(), args.world_size, args.process_index)

    def _check_adapter(self, folder):
        """Raise UserError if the checkpoint in `folder` has another adapter, or one of another base."""
        _check_adapter_config(folder, self.model)
        _check_same_base(folder, getattr(self.model, "base_model_record", None) or {})

    def create_optimizer(self, *args, **kwargs):
        """Create the optimizer; one of its groups, that of weights without decay, is often empty."""
        ratio = getattr(self.args, "loraplus_lr_ratio", None)
        if ratio is not None and self.optimizer is None:
            self.optimizer = _loraplus_optimizer(self, ratio)
        optimizer = super().create_optimizer(*args, **kwargs)
        # LoRA trains no biases or norms. DeepSpeed drops empty groups itself, but after schedules
        # were made for all of them, which newer releases of torch take for an error.
        for name in ("param_groups", "params"):  # accelerate's stand-in for DeepSpeed's own: params
            groups = getattr(optimizer, name, None)
            if isinstance(groups, list) and all(isinstance(group, dict) for group in groups):
                groups[:] = [group for group in groups if group["params"]]
        return optimizer

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
        if not getattr(self.args, "allow_non_finite", False):
            _require_finite_weights(state)
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
        staged = tempfile.TemporaryDirectory(dir=output_dir, prefix=STAGING_PREFIX)
        with staged as staging, _full_disk_told(output_dir):
            self.model.save_pretrained(staging, state_dict=state_dict, **options)
            _make_plain(staging, getattr(self.model, "initial_adapter", None))
            if tokenizer is not None:
                tokenizer.save_pretrained(staging)
            torch.save(self.args, os.path.join(staging, "training_args.bin"))
            self._save_run(staging)
            _flush_files(staging)  # before a rename makes them count, or a power cut leaves none
            for name in sorted(os.listdir(staging)):
                old = os.path.join(output_dir, name)
                if os.path.isdir(old):  # of chat templates, where a tokenizer has several
                    shutil.rmtree(old)
                os.replace(os.path.join(staging, name), old)

    def _save_run(self, folder):
        """Write what is to be known of the run and its base model to go on, generate or merge."""
        run = {
            "world_size": self.args.world_size,
            "ranks_here": getattr(self, "_ranks_here", None),
            "zero_stage": self._zero_stage(),
            "adapter_sha256": _file_digest(_adapter_file(folder)),  # its formats have no checksum
            "base_model": getattr(self.model, "base_model_record", None),
        }
        with open(os.path.join(folder, RUN_FILE), "w", encoding="utf-8") as file:
            json.dump(run, file)
        ends = getattr(self.model.get_base_model(), "generation_config", None)
        if ends is not None:
            # Not save_pretrained, which refuses what some published models say of sampling.
            ends.to_json_file(os.path.join(folder, "generation_config.json"))

    def _save_checkpoint(self, *args, **kwargs):
        """Save a checkpoint; one of the same step, left by an earlier run, goes first."""
        # Its files and the new ones would together look whole before the new ones all are.
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        old = os.path.join(self.args.output_dir, name)
        if self.args.should_save and os.path.isdir(old):
            shutil.rmtree(old)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        with _full_disk_told(self.args.output_dir):
            super()._save_checkpoint(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        logger.info("Loading the adapter from %s", resume_from_checkpoint)
        _put_as_trained(self.model, resume_from_checkpoint)

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
        _put_as_trained(self.model, best)

    def create_model_card(self, **kwargs):
        """Write the model card without asking the hub anything, unless the model goes there."""
        if not self.args.push_to_hub:
            # Releases look the base model's license up when none is given.
            kwargs.setdefault("license", "unknown")
        super().create_model_card(**kwargs)

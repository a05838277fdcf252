"""Ranks of several nodes: what all must have alike, and whether they share a folder."""

import hashlib
import logging
import os
import tempfile

import torch
from user_error import UserError

logger = logging.getLogger(__name__)


def _of_all_ranks(value):
    """Return what each rank has for `value`, a list in the order of ranks; a call for all of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def _on_all_ranks(check, *given):
    """Return what `check(*given)` returns; a UserError of any rank's is raised by all of them.

    One that ended alone would leave those of other nodes waiting for it. A call for all ranks.
    """
    result, error = None, None
    try:
        result = check(*given)
    except UserError as caught:
        error = caught
    told = _of_all_ranks(None if error is None else str(error))
    if not any(told):
        return result
    rank = next(rank for rank, line in enumerate(told) if line)
    raise UserError(told[rank] if all(told) else f"rank {rank}: {told[rank]}") from error


def _require_same(what, value):
    """Refuse to go on where ranks differ in `value`, text or bytes; a call for all ranks.

    Raises:
        UserError: says which rank has another `what`.
    """
    value = value.encode() if isinstance(value, str) else value
    found = _of_all_ranks(hashlib.sha256(value).hexdigest())
    others = [rank for rank, digest in enumerate(found) if digest != found[0]]
    if others:
        raise UserError(
            f"rank {others[0]} has {what} other than rank 0's: all nodes need the same script, data, "
            "model and packages."
        )


def _ranks_that_share(folder):
    """Return the ranks that find in `folder` what this one writes there; a call for all ranks.

    Raises:
        UserError: nothing can be written there.
    """

    def mark():
        try:
            os.makedirs(folder, exist_ok=True)
            return tempfile.NamedTemporaryFile(dir=folder, prefix=".rank-")
        except OSError as error:
            raise UserError(f"cannot write to {folder!r}: {error.strerror or error}.") from None

    with _on_all_ranks(mark) as file:
        names = _of_all_ranks(os.path.basename(file.name))
        found = [os.path.exists(os.path.join(folder, name)) for name in names]
        _of_all_ranks(None)  # nobody removes its own before all have looked
    return [rank for rank, is_found in enumerate(found) if is_found]


def _save_where_all_can_read(args, deepspeed_config):
    """Have each node save where nodes have output folders of their own, and one where they share it.

    Else a checkpoint is in pieces, or two nodes write the same files. A call for all ranks.

    Args:
        args: transformers.TrainingArguments, whose `save_on_each_node` is set; told if it changes.
        deepspeed_config: transformers' one for DeepSpeed, or None.

    Returns:
        The ranks whose states come to be in this node's folder, None where all nodes' do.

    Raises:
        UserError: some nodes share it, and others don't.
    """
    firsts = _of_all_ranks(args.local_process_index == 0)
    mains = {rank for rank, is_first in enumerate(firsts) if is_first}
    if len(mains) < 2:
        return None
    sharing = _ranks_that_share(args.output_dir)
    together = set(_of_all_ranks(len(mains.intersection(sharing))))
    if together not in ({1}, {len(mains)}):
        raise UserError(
            f"--output_dir: some nodes share {args.output_dir!r} and others don't: let all of them, or none."
        )
    each = together == {1}
    if args.save_on_each_node != each:
        how = "have one each, and each saves there" if each else "share it, and one saves there"
        logger.warning("--output_dir %s: the nodes %s (--save_on_each_node).", args.output_dir, how)
    args.save_on_each_node = each
    if deepspeed_config is not None:
        deepspeed_config.config.setdefault("checkpoint", {})["use_node_local_storage"] = each
    return sharing if each else None

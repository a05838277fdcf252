"""Rows that are longer than the model has positions for: told when model and data come together."""

import logging

import torch
from user_error import UserError

logger = logging.getLogger(__name__)

# What models' configurations call the most positions they have.
POSITION_LIMITS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def position_limit(model):
    """Return (the most positions a model has or None, whether it looks them up in a table)."""
    found = (getattr(model.config, name, None) for name in POSITION_LIMITS)
    limit = next((n for n in found if isinstance(n, int) and n > 0), None)
    words = model.get_input_embeddings()
    tables = [m for m in model.modules() if isinstance(m, torch.nn.Embedding) and m is not words]
    # OPT's table, for one, begins with two rows that stand for no position.
    is_table = limit is not None and any(0 <= m.num_embeddings - limit < 8 for m in tables)
    return limit, is_table


def check_positions(place, length, limit, is_table):
    """Refuse a row that is longer than the model's table of positions; tell of other models.

    Args:
        place: where the row stands, for the message.
        length: its number of tokens.
        limit, is_table: as `position_limit` returns them.

    Raises:
        UserError: the model would look up a position that it has not got.
    """
    if limit is None or length <= limit:
        return
    line = (
        f"{place}: {length} tokens, and the model has {limit} positions: lower --max_source_length or "
        "--max_target_length."
    )
    if is_table:
        raise UserError(line)
    logger.warning(line)


def note_longest(training_args, place, length):
    """Keep where the longest row of a split stands, until there is a model to compare it with."""
    training_args.longest_rows = [*getattr(training_args, "longest_rows", ()), (place, length)]


def check_longest(training_args, model):
    """Check the longest rows that were noted; rows of streams are, from now on, as they come."""
    training_args.positions = limit, is_table = position_limit(model)
    for place, length in vars(training_args).pop("longest_rows", ()):
        if is_table or training_args.process_index == 0:
            check_positions(place, length, limit, is_table)

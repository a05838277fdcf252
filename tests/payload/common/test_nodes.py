"""What ranks of several nodes agree on: each rank here is a node of its own."""

import types

import pytest
from nodes import _on_all_ranks, _ranks_that_share, _require_same, _save_where_all_can_read
from test_adapter_trainer import run_ranks
from user_error import UserError


def save_where(output_dir, local=0, asked=False):
    args = types.SimpleNamespace(
        local_process_index=local, output_dir=output_dir, save_on_each_node=asked
    )
    config = types.SimpleNamespace(config={})
    try:
        here = _save_where_all_can_read(args, config)
    except UserError as error:
        return str(error)
    return here, args.save_on_each_node, config.config


def rank_run(folder):
    """What a rank of the test below does."""
    import os

    import torch

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    own, shared = f"{folder}/{rank}", f"{folder}/shared"

    def fail(ranks):
        if rank in ranks:
            raise UserError("bad")
        return rank

    def told(call, *given):
        try:
            return call(*given)
        except UserError as error:
            return str(error)

    assert _on_all_ranks(fail, ()) == rank
    assert told(_on_all_ranks, fail, (0, 1, 2)) == "bad"
    assert told(_on_all_ranks, fail, (1, 2)) == "rank 1: bad"
    assert _require_same("rows", "a") is None
    assert told(_require_same, "rows", "b" if rank == 2 else "a").startswith(
        "rank 2 has rows other than rank 0's: "
    )
    assert _ranks_that_share(own) == [rank]
    assert _ranks_that_share(shared) == [0, 1, 2]
    assert os.listdir(own) == []
    nowhere = f"{__file__}/out" if rank == 1 else own
    assert told(_ranks_that_share, nowhere).startswith("rank 1: cannot write to ")

    local = {"checkpoint": {"use_node_local_storage": True}}
    for asked in (False, True):
        assert save_where(own, asked=asked) == ([rank], True, local)
        here, each, config = save_where(shared, asked=asked)
        assert here is None
        assert not each
        assert config == {"checkpoint": {"use_node_local_storage": False}}
    mixed = own if rank == 2 else shared
    assert "some nodes share" in save_where(mixed)
    # Two nodes: ranks 0 and 1 are of one.
    assert save_where(mixed, local=int(rank == 1)) == ([2] if rank == 2 else [0, 1], True, local)
    # One node.
    assert save_where(own, local=rank) == (None, False, {})
    print("DONE")


def test_ranks_agree(tmp_path):
    outputs = run_ranks(["-c", f"import test_nodes as t; t.rank_run({str(tmp_path)!r})"], 3)
    assert all("DONE" in output for output in outputs), "\n".join(o[-2000:] for o in outputs)


def test_one_process_agrees_with_itself(tmp_path):
    assert _on_all_ranks(lambda: 1) == 1
    assert _require_same("rows", "a") is None
    assert save_where(str(tmp_path), asked=True) == (None, True, {})
    with pytest.raises(UserError, match="^bad$"):
        _on_all_ranks(lambda: _raise(UserError("bad")))


def _raise(error):
    raise error

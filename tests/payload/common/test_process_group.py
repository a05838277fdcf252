"""DeepSpeed's view of the ranks, before anything is loaded."""

import sys
import types

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from process_group import join_process_group


@pytest.mark.parametrize("args", [types.SimpleNamespace(deepspeed=None), types.SimpleNamespace()])
def test_nothing_without_deepspeed(monkeypatch, args):
    monkeypatch.setitem(sys.modules, "deepspeed", None)  # an import would fail
    join_process_group(args)


def joined(folder):
    """Ranks as training arguments leave them on a CPU; for two ranks, started by test_prediction."""
    import deepspeed
    from conftest import make_training_args

    args = make_training_args(output_dir=folder, deepspeed={"zero_optimization": {"stage": 3}})
    assert args.world_size == 2
    assert torch.distributed.is_initialized()
    join_process_group(args)
    join_process_group(args)
    assert deepspeed.comm.get_world_size() == 2
    assert deepspeed.comm.get_rank() == args.process_index

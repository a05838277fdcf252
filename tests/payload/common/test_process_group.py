"""DeepSpeed's view of the ranks, before anything is loaded."""

import sys
import types

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from process_group import join_process_group
from test_adapter_trainer import run_ranks


@pytest.mark.parametrize("args", [types.SimpleNamespace(deepspeed=None), types.SimpleNamespace()])
def test_nothing_without_deepspeed(monkeypatch, args):
    monkeypatch.setitem(sys.modules, "deepspeed", None)  # an import would fail
    join_process_group(args)


def joined(folder):
    """Ranks as training arguments leave them on a CPU; for two ranks."""
    import deepspeed
    from conftest import make_training_args

    args = make_training_args(output_dir=folder, deepspeed={"zero_optimization": {"stage": 3}})
    assert args.world_size == 2
    assert torch.distributed.is_initialized()
    join_process_group(args)
    join_process_group(args)
    assert deepspeed.comm.get_world_size() == 2
    assert deepspeed.comm.get_rank() == args.process_index


def test_deepspeed_knows_all_ranks(tmp_path):
    pytest.importorskip("deepspeed")
    call = f"import test_process_group as t; t.joined({str(tmp_path)!r}); print('DONE')"
    outputs = run_ranks(["-c", call], 2)
    assert all("DONE" in output for output in outputs), "\n".join(o[-3000:] for o in outputs)

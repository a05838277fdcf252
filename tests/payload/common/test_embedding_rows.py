"""The rows of an embedding: never fewer, whatever a script sees of them."""

import inspect

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from adapter_weights import _gathered
from embedding_rows import embedding_rows, grow_embeddings

ROWS, WIDTH = 48, 8


def make_model():
    config = transformers.GPT2Config(
        vocab_size=ROWS, n_embd=WIDTH, n_layer=1, n_head=2, n_positions=16
    )
    return transformers.GPT2LMHeadModel(config)


@pytest.mark.parametrize(
    "given, rows",
    [
        ({"new_num_tokens": ROWS - 8}, ROWS),
        ({"new_num_tokens": ROWS}, ROWS),
        ({"new_num_tokens": ROWS + 3}, ROWS + 3),
        ({"new_num_tokens": ROWS + 3, "pad_to_multiple_of": 32}, 64),
        ({"new_num_tokens": ROWS - 8, "pad_to_multiple_of": 5}, 50),
        ({"pad_to_multiple_of": 32}, 64),
        ({}, ROWS),
    ],
)
def test_there_are_as_many_as_asked_for_and_no_fewer_than_before(given, rows):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    assert grow_embeddings(model, **given) is model.get_input_embeddings()
    assert embedding_rows(model) == model.config.vocab_size == rows
    torch.testing.assert_close(model.get_input_embeddings().weight[:ROWS], before)
    assert model.get_output_embeddings().weight.shape[0] == rows


def test_how_new_rows_begin_is_up_to_the_caller():
    if "mean_resizing" not in inspect.signature(make_model().resize_token_embeddings).parameters:
        pytest.skip("this release has one way only")
    model = make_model()
    torch.nn.init.constant_(model.get_input_embeddings().weight, 7.0)
    new = grow_embeddings(model, ROWS + 2, mean_resizing=False).weight[ROWS:]
    assert new.abs().max() < 1  # not the mean


def zero3_run(folder):
    """Partitioned while it is loaded, as upstream's script does; for two ranks."""
    from conftest import make_training_args

    if torch.distributed.get_rank() == 0:
        make_model().save_pretrained(folder)
    torch.distributed.barrier()
    config = {"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1}
    args = make_training_args(output_dir=str(folder), deepspeed=config)  # on while it is there
    model = transformers.GPT2LMHeadModel.from_pretrained(folder)
    weight = model.get_input_embeddings().weight
    assert weight.shape[0] == 0 and embedding_rows(model) == ROWS
    with _gathered([weight]):
        before = weight.detach().clone()
    assert grow_embeddings(model, ROWS - 8) is model.get_input_embeddings()
    assert embedding_rows(model) == ROWS
    grow_embeddings(model, ROWS + 8)
    assert embedding_rows(model) == ROWS + 8
    weight = model.get_input_embeddings().weight
    with _gathered([weight]):
        torch.testing.assert_close(weight[:ROWS], before)
    del args

"""The record of a base model tells it from others, whatever it is loaded as."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("transformers")
import base_model
from test_lora import VOCABULARY, make_model


def recorded(model):
    return json.loads(json.dumps(base_model._describe_base(model)))


def test_what_is_recorded():
    record = recorded(make_model())
    assert record["vocabulary_size"] == VOCABULARY
    assert record["revision"] is None and record["code_revision"] is None
    assert list(record["sample"]) == ["float32"]
    values = record["sample"]["float32"]
    assert values.keys() == dict(make_model().named_parameters()).keys()
    first = make_model().word_embeddings.weight.flatten()[:4].tolist()
    assert values["word_embeddings.weight"] == first


DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("there", DTYPES)
@pytest.mark.parametrize("here", DTYPES)
def test_the_same_weights_in_other_precisions(there, here):
    record = recorded(make_model().to(there))
    assert base_model._base_difference(recorded(make_model().to(here)), record) == ""


@pytest.mark.parametrize("there", DTYPES)
@pytest.mark.parametrize("here", DTYPES)
def test_one_other_weight_is_seen(there, here):
    record = recorded(make_model().to(there))
    model = make_model()
    with torch.no_grad():
        model.layers[1].dense.weight.mul_(1.05)
    said = base_model._base_difference(recorded(model.to(here)), record)
    assert said.startswith("1 of ") and said.endswith("such as 'layers.1.dense.weight'")


def test_a_larger_vocabulary_is_no_other_model():
    record = recorded(make_model())
    model = make_model()
    rows = model.word_embeddings.weight
    rows.data = torch.cat([rows.data, torch.ones(7, rows.shape[1])])
    assert base_model._base_difference(recorded(model), record) == ""
    assert recorded(model)["vocabulary_size"] == VOCABULARY + 7


def test_weights_of_other_names_are_not_compared():
    record = recorded(make_model())
    values = record["sample"]["float32"]
    values["renamed.weight"] = values.pop("layers.1.dense.weight")
    assert base_model._base_difference(recorded(make_model()), record) == ""
    assert base_model._base_difference(recorded(make_model()), {}) == ""


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null"])
def test_a_folder_without_a_record(tmp_path, text):
    if text is not None:
        (tmp_path / base_model.RUN_FILE).write_text(text)
    assert base_model._read_run(str(tmp_path)) == {}

"""The rivals of the benchmarks, and that the script learns what the recipe learns, to 1e-5."""

import types

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
from chatglm_6b_layout import build_prompt
from chatglm_encoding import encode_pair
from conftest import make_training_args
from prompt_response import PairCollator, _each_id_looked_up_once, encode_datasets
from test_lora import ToyTokenizer, add_lora, arguments

from benchmarks import corpus, oracle, recipe, rivals
from benchmarks.workers.equal import apart, unsettle
from tests.toy_chatglm import build, bundled_corpus

LIMITS = types.SimpleNamespace(max_source_length=1024, max_target_length=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("model") / "toy", hidden_size=32)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)


@pytest.fixture(scope="module")
def rows(tokenizer):
    short = list(corpus.rows(tokenizer, bundled_corpus(), 6))
    return datasets.Dataset.from_list(
        short + list(corpus.rows(tokenizer, bundled_corpus(), 2, "history"))
    )


@pytest.fixture
def encoded(rows, tokenizer, data_args, training_args):
    data_args.max_source_length, data_args.max_target_length = 1024, 128
    data_args.history_column = "history"
    raw = datasets.DatasetDict(train=rows)
    args = training_args(do_train=True)
    return encode_datasets(raw, encode_pair, tokenizer, data_args, args)["train"]


def test_the_recipe_pads_every_row_to_what_the_limits_allow(rows, tokenizer):
    found = recipe.encode(rows, tokenizer, LIMITS, build_prompt)
    assert len(found) == len(rows)
    assert {len(row[name]) for row in found for name in row} == {1024 + 128}


def step(model, batch):
    """The loss of a batch and the gradients it gives."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    gradients = [p.grad.flatten().clone() for p in model.parameters() if p.requires_grad]
    return {"loss": loss.detach(), "gradient": torch.cat(gradients)}


def test_losses_and_gradients_are_the_recipes(
    rows, encoded, tokenizer, folder, tmp_path, data_args
):
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    args = make_training_args(output_dir=str(tmp_path))
    model = add_lora(model, arguments(lora_rank=4, lora_dropout=0.0), args)
    unsettle(model)
    padded = recipe.encode(rows, tokenizer, LIMITS, build_prompt)
    collator = PairCollator(tokenizer, data_args)
    for start in (0, 4):
        one = step(model, recipe.collate([padded[i] for i in range(start, start + 4)]))
        other = step(model, collator([encoded[i] for i in range(start, start + 4)]))
        assert one["gradient"].abs().max() > 0
        assert apart(one["loss"], other["loss"]) < 1e-5
        assert apart(one["gradient"], other["gradient"]) < 1e-5


def test_the_oracle_has_as_many_tokens_and_no_padding(encoded):
    found = rivals.equal_lengths(encoded, 4)
    lengths = [len(row["input_ids"]) for row in found]
    assert lengths == found["length"][:]
    assert len(set(lengths[:4])) == len(set(lengths[4:])) == 1 and lengths[0] != lengths[4]
    assert sum(lengths) == pytest.approx(sum(encoded["length"][:]), abs=len(found) / 2)
    for row in found:  # the response still begins right after [gMASK]
        start = next(i for i, label in enumerate(row["labels"]) if label != -100)
        assert row["input_ids"][start:] == row["labels"][start:]


def test_rows_are_padded_to_what_the_limits_allow_or_are_as_long_as_said(encoded, tokenizer):
    padded = recipe.padded(encoded, tokenizer, LIMITS, None)
    assert {len(row[name]) for row in padded for name in row} == {1024 + 128}
    for row, whole in zip(encoded, padded, strict=True):
        length = len(row["labels"])
        assert whole["labels"] == row["labels"] + [-100] * (1152 - length)
        assert set(whole["input_ids"][length:]) == {tokenizer.pad_token_id}
    for row in rivals.exactly(30, 12)(encoded):
        assert len(row["input_ids"]) == row["length"] == 42
        assert row["labels"][:30] == [-100] * 30 and row["labels"][30:] == row["input_ids"][30:]


def test_the_bare_loop_loses_what_the_model_says(encoded, folder, tmp_path):
    model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    args = make_training_args(output_dir=str(tmp_path))
    model = add_lora(model, arguments(lora_rank=4, lora_dropout=0.0), args)
    rows = rivals.equal_lengths(encoded, 4)[:4]
    batch = {name: torch.tensor(rows[name]) for name in ("input_ids", "labels")}
    assert apart(model(**batch).loss, oracle.loss(model, *batch.values())) < 1e-5


def test_ids_looked_up_once_are_the_same_ids(tokenizer, monkeypatch):
    texts = [*bundled_corpus(), "", "[gMASK] <sop> \t\n", "unseen: ĿŁ 🙂", "<eop>"]
    plain = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    asked = []
    look_up = type(tokenizer)._convert_token_to_id
    monkeypatch.setattr(
        type(tokenizer), "_convert_token_to_id", lambda self, t: asked.append(t) or look_up(self, t)
    )
    with _each_id_looked_up_once(tokenizer):
        assert [tokenizer.encode(text, add_special_tokens=False) for text in texts] == plain
        assert tokenizer.convert_tokens_to_ids("<sop>") == tokenizer.bos_token_id
    assert "convert_tokens_to_ids" not in vars(tokenizer)
    assert len(set(asked)) < sum(map(len, plain)) / 2
    assert all(asked.count(token) == 1 for token in set(asked) - set(tokenizer.all_special_tokens))


class BytesTokenizer(ToyTokenizer):
    """Its tokens are bytes, as those of GLM-4's published tokenizer are."""

    def _tokenize(self, text, **kwargs):
        return [character.encode() for character in text]

    def _convert_token_to_id(self, token):
        return super()._convert_token_to_id(token.decode() if isinstance(token, bytes) else token)


def test_tokens_may_be_bytes():
    plain, tokenizer = ToyTokenizer(), BytesTokenizer()
    with _each_id_looked_up_once(tokenizer):
        for text in ("hello", "", "你好 hello"):
            expected = plain.encode(text, add_special_tokens=False)
            assert tokenizer.encode(text, add_special_tokens=False) == expected


def test_a_failure_leaves_the_tokenizer_as_it_was(tokenizer):
    with pytest.raises(ValueError, match="stop"), _each_id_looked_up_once(tokenizer):
        raise ValueError("stop")
    assert "convert_tokens_to_ids" not in vars(tokenizer)

"""tools/training/merge.py: one model of base and adapter, with the logits of the two together."""

import os
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")
import lora
from test_lora import arguments

from tests import toy_chatglm
from tools import __main__ as tools
from tools.errors import UserError
from tools.training import merge


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return toy_chatglm.build(tmp_path_factory.mktemp("toy") / "base")


@pytest.fixture
def adapter(base, training_args, tmp_path):
    """An adapter whose weights are not those it begins with."""
    model = transformers.AutoModel.from_pretrained(base, trust_remote_code=True)
    model = lora.add_lora(model, arguments(lora_rank=2), training_args())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(tmp_path / "adapter")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, trust_remote_code=True)
    tokenizer.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def logits(model, tokenizer):
    ids = tokenizer.build_inputs_with_special_tokens([20, 21, 22], [23, 24])
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids])).logits


def test_the_merged_model_needs_no_peft(base, adapter, tmp_path, capsys):
    args = [str(adapter), str(tmp_path / "merged"), "--trust_remote_code"]
    assert tools.main(["merge", *args]) == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        tmp_path / "merged", trust_remote_code=True
    )
    plain = transformers.AutoModel.from_pretrained(base, trust_remote_code=True)
    without = logits(plain, tokenizer)
    together = logits(peft.PeftModel.from_pretrained(plain, adapter), tokenizer)
    alone = transformers.AutoModel.from_pretrained(tmp_path / "merged", trust_remote_code=True)
    torch.testing.assert_close(logits(alone, tokenizer), together, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(without, together, atol=1e-2)
    assert sorted(os.listdir(tmp_path)) == ["adapter", "merged"]


def test_what_is_there_is_kept(adapter, tmp_path, capsys):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").write_text("mine")
    assert tools.main(["merge", str(adapter), str(tmp_path / "merged")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(tmp_path / "merged") == ["mine.txt"]


def test_errors_take_one_line(base, adapter, tmp_path, capsys):
    with pytest.raises(UserError, match="holds no adapter_config"):
        merge.merge(Path(base), tmp_path / "merged")
    assert (
        tools.main(["merge", str(adapter), str(tmp_path / "merged"), "--base", str(tmp_path)]) == 1
    )
    said = capsys.readouterr().err
    assert said.startswith("error: cannot merge") and said.count("\n") == 1
    shutil.rmtree(adapter)
    assert tools.main(["merge", str(adapter), str(tmp_path / "merged")]) == 1
    assert not (tmp_path / "merged").exists()

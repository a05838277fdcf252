"""Clones without their large files are seen before anything is loaded."""

import pytest

pytest.importorskip("transformers")
import git_lfs
from user_error import UserError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ice_text.model": POINTER, "model.safetensors": "x"}, "ice_text.model"),
        ({"model.safetensors": POINTER}, "model.safetensors"),
        ({"model-1.bin": "x", "model-2.bin": POINTER}, "model-2.bin"),
        ({"model.safetensors": POINTER, "pytorch_model.bin": POINTER}, "model.safetensors"),
        ({"model.safetensors": POINTER, "pytorch_model.bin": "x"}, None),
        ({"model.safetensors": "x", "pytorch_model.bin": POINTER}, None),
        ({"tokenizer.json": POINTER, "model.safetensors": "x"}, "tokenizer.json"),
        ({"config.json": "{}", "empty.txt": ""}, None),
        ({}, None),
    ],
)
def test_pointers_are_named(tmp_path, files, said):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_text(POINTER)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    if said is None:
        git_lfs._check_fetched(tmp_path)
        return
    with pytest.raises(UserError, match=rf"{said}' is a git-lfs pointer and not the file itself"):
        git_lfs._check_fetched(tmp_path)

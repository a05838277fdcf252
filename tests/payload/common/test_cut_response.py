"""A response is cut between characters, whatever its tokens are."""

import pytest

pytest.importorskip("transformers")
from cut_response import cut_at_character

from tests import tiny_models

TEXT = "a🙂é好b"  # one byte, four, two, three, one


@pytest.fixture(scope="module")
def by_bytes():
    """A tokenizer without merges of bytes: each is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe)


@pytest.fixture(scope="module")
def by_fallback():
    """A tokenizer as sentencepiece's: characters that it does not know are tokens of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "▁", "a", "b", *(f"<0x{byte:02X}>" for byte in range(256))]
    bpe = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>")


def whole_characters(text, most, before=0):
    """How many bytes of `text` to keep, `before` tokens not counted."""
    kept = 0
    for char in text:
        if before + kept + len(char.encode()) > most:
            break
        kept += len(char.encode())
    return before + kept


@pytest.mark.parametrize("text", [TEXT, "🙂" * 4, "a\ufffdb\ufffd\ufffd好\ufffd", "\ufffd" * 6])
@pytest.mark.parametrize("kind", ["by_bytes", "by_fallback"])
def test_only_whole_characters_are_kept(kind, text, request):
    tokenizer = request.getfixturevalue(kind)
    ids = tokenizer.encode(text, add_special_tokens=False)
    before = len(ids) - len(text.encode())  # the blank that begins a text
    for most in range(before, len(ids) + 2):
        kept = cut_at_character(tokenizer, ids, most)
        assert kept == ids[: whole_characters(text, most, before)], most


@pytest.mark.parametrize("most", [0, -1])
def test_no_room_keeps_nothing(by_bytes, most):
    assert cut_at_character(by_bytes, [1, 2, 3], most) == []


def test_merged_tokens_are_kept_as_far_as_they_go():
    tokenizer = tiny_models.make_tokenizer("gpt2")
    ids = tokenizer.encode("你好, hello there 🙂🙂", add_special_tokens=False)
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    for most in range(1, len(ids)):
        kept = cut_at_character(tokenizer, ids, most)
        said = tokenizer.decode(kept, clean_up_tokenization_spaces=False)
        assert text.startswith(said) and len(kept) > most - 4

"""Tokenizer of the toy ChatGLM: a sentencepiece model plus ChatGLM-6B's sequence layout.

A training sequence is ``prompt [gMASK] <sop> response <eop>``. Padding serves generation only: it
goes on the left and comes with a ``[1, seq, seq]`` boolean mask (True: hidden) and ``[2, seq]``
position ids per row, which the model takes as they are.
"""

import os
import re
import shutil
from typing import ClassVar

import numpy as np
import sentencepiece
from transformers import PreTrainedTokenizer
from transformers.utils import PaddingStrategy

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"  # how sentencepiece writes a blank inside a piece
# Characters sentencepiece must not see, and the pieces that stand for them.
_ESCAPES = {
    "\n": ["<n>"],
    "\t": ["<|tab|>"],
    _SPACE: [f"<0x{byte:02X}>" for byte in _SPACE.encode()],
}
_UNESCAPES = {"<n>": b"\n", "<|tab|>": b"\t"}
_ESCAPED = re.compile("([" + "".join(_ESCAPES) + "])")
# What `_pad` derives from the ids alone, and so never needs to be told.
_DERIVED = ("attention_mask", "position_ids")


class ChatGLMTokenizer(PreTrainedTokenizer):
    """Byte-fallback sentencepiece: every Unicode text round-trips through its ids."""

    vocab_files_names: ClassVar[dict] = {"vocab_file": "ice_text.model"}
    model_input_names: ClassVar[list] = ["input_ids", "attention_mask", "position_ids"]
    padding_side = "left"

    def __init__(
        self,
        vocab_file,
        do_lower_case=False,
        remove_space=False,
        bos_token="<sop>",
        eos_token="<eop>",
        end_token="</s>",
        mask_token="[MASK]",
        gmask_token="[gMASK]",
        padding_side="left",
        pad_token="<pad>",
        unk_token="<unk>",
        num_image_tokens=0,
        **kwargs,
    ):
        if num_image_tokens:
            raise ValueError("the toy ChatGLM has no image tokens: num_image_tokens is 0")
        # Before super().__init__: transformers 5 asks for the vocabulary in there.
        self.vocab_file = vocab_file
        self.do_lower_case = do_lower_case
        self.remove_space = remove_space
        self.sp_model = sentencepiece.SentencePieceProcessor(model_file=str(vocab_file))
        kwargs.setdefault("clean_up_tokenization_spaces", False)
        super().__init__(
            do_lower_case=do_lower_case,
            remove_space=remove_space,
            bos_token=bos_token,
            eos_token=eos_token,
            end_token=end_token,
            mask_token=mask_token,
            gmask_token=gmask_token,
            padding_side=padding_side,
            pad_token=pad_token,
            unk_token=unk_token,
            num_image_tokens=num_image_tokens,
            **kwargs,
        )
        self.end_token = end_token
        self.gmask_token = gmask_token
        if gmask_token not in self.all_special_tokens:
            # transformers 4 knows only the standard names; 5 takes any `*_token` as special.
            self.add_special_tokens({"additional_special_tokens": [gmask_token, end_token]})

    # -- vocabulary ------------------------------------------------------------------------

    @property
    def vocab_size(self):
        return self.sp_model.get_piece_size()

    @property
    def gmask_token_id(self):
        return self.convert_tokens_to_ids(self.gmask_token)

    @property
    def end_token_id(self):
        return self.convert_tokens_to_ids(self.end_token)

    def get_vocab(self):
        vocab = {self.sp_model.id_to_piece(i): i for i in range(self.vocab_size)}
        return {**vocab, **self.added_tokens_encoder}

    def _convert_token_to_id(self, token):
        return self.sp_model.piece_to_id(token)

    def _convert_id_to_token(self, index):
        # An embedding may have more rows than the tokenizer has pieces.
        return self.sp_model.id_to_piece(index) if index < self.vocab_size else self.unk_token

    def save_vocabulary(self, save_directory, filename_prefix=None):
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        target = os.path.join(save_directory, prefix + self.vocab_files_names["vocab_file"])
        if os.path.abspath(self.vocab_file) != os.path.abspath(target):
            shutil.copyfile(self.vocab_file, target)
        return (target,)

    # -- text to pieces and back -----------------------------------------------------------

    def _tokenize(self, text, **kwargs):
        if self.remove_space:
            text = " ".join(text.split())
        if self.do_lower_case:
            text = text.lower()
        pieces = []
        for part in _ESCAPED.split(text):
            pieces += _ESCAPES.get(part) or self.sp_model.encode(part, out_type=str)
        return pieces

    def convert_tokens_to_string(self, tokens):
        out = []
        for token in tokens:
            if byte := _BYTE.fullmatch(token):
                out.append(bytes([int(byte[1], 16)]))
            else:
                out.append(_UNESCAPES.get(token) or token.replace(_SPACE, " ").encode())
        return b"".join(out).decode(errors="replace")

    def _decode(self, token_ids, skip_special_tokens=False, **kwargs):
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        ids = [i for i in ids if i != self.pad_token_id]  # padding never shows, special or not
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids, skip_special_tokens))

    # -- sequence layout -------------------------------------------------------------------

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        ids = list(token_ids_0) + [self.gmask_token_id, self.bos_token_id]
        if token_ids_1 is not None:
            ids += list(token_ids_1) + [self.eos_token_id]
        return ids

    def pad(self, encoded_inputs, *args, **kwargs):
        """As the base class, except that masks and positions are made again from the ids."""

        def bare(row):
            return {key: value for key, value in row.items() if key not in _DERIVED}

        if isinstance(encoded_inputs, (list, tuple)):
            return super().pad([bare(row) for row in encoded_inputs], *args, **kwargs)
        return super().pad(bare(encoded_inputs), *args, **kwargs)

    def _pad(
        self,
        encoded_inputs,
        max_length=None,
        padding_strategy=PaddingStrategy.DO_NOT_PAD,
        pad_to_multiple_of=None,
        padding_side=None,
        return_attention_mask=None,
    ):
        if (padding_side or self.padding_side) != "left":
            raise ValueError("ChatGLM pads on the left")
        if padding_strategy == PaddingStrategy.DO_NOT_PAD:
            return encoded_inputs  # ids alone: the model derives the rest
        ids = list(encoded_inputs["input_ids"])
        width = max_length if padding_strategy == PaddingStrategy.MAX_LENGTH else len(ids)
        if pad_to_multiple_of:
            width = -(-width // pad_to_multiple_of) * pad_to_multiple_of
        extra = max(0, width - len(ids))
        ids = [self.pad_token_id] * extra + ids
        encoded_inputs["input_ids"] = ids
        if "special_tokens_mask" in encoded_inputs:
            old = list(encoded_inputs["special_tokens_mask"])
            encoded_inputs["special_tokens_mask"] = [1] * extra + old
        if "token_type_ids" in encoded_inputs:
            old = list(encoded_inputs["token_type_ids"])
            encoded_inputs["token_type_ids"] = [self.pad_token_type_id] * extra + old
        if return_attention_mask is not False:
            mask, positions = self._layout(ids)
            encoded_inputs["attention_mask"], encoded_inputs["position_ids"] = mask, positions
        return encoded_inputs

    def _layout(self, ids):
        """The ``[1, seq, seq]`` mask (True: hidden) and ``[2, seq]`` positions of padded ids."""
        start = next((i for i, token in enumerate(ids) if token != self.pad_token_id), len(ids))
        real = ids[start:]
        size = len(real)
        context = real.index(self.bos_token_id) if self.bos_token_id in real else size
        place, block = np.arange(size), np.maximum(np.arange(size) - context + 1, 0)
        for token in (self.gmask_token_id, self.mask_token_id):
            if token in real:
                place[context:] = real.index(token)
                break
        visible = np.tril(np.ones((size, size), dtype=bool))
        visible[:, :context] = True
        mask = np.pad(~visible[None], [(0, 0), (start, 0), (start, 0)], constant_values=True)
        positions = np.pad(np.stack([place, block]), [(0, 0), (start, 0)])
        return mask, positions.astype(np.int64)

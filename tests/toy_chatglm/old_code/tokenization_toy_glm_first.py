"""A toy ChatGLM-6B's tokenizer that does what its code does and newer releases object to.

The base's constructor comes before the vocabulary, `_pad` knows no side, and both have tokens whose
names are not the library's (end, gmask). The rest is tokenization_toy_chatglm's.
"""

import sentencepiece
from transformers import PreTrainedTokenizer
from transformers.utils import PaddingStrategy

from .tokenization_toy_chatglm import ChatGLMTokenizer as Newer


class SPTokenizer:
    def __init__(self, vocab_file, num_image_tokens=20000):
        if num_image_tokens:
            raise ValueError("the toy ChatGLM has no image tokens")
        self.sp_model = sentencepiece.SentencePieceProcessor(model_file=str(vocab_file))
        self.num_tokens = self.sp_model.get_piece_size()

    def __getitem__(self, key):
        if isinstance(key, int):
            return self.sp_model.id_to_piece(key)
        return self.sp_model.piece_to_id(key)


class ChatGLMTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "ice_text.model"}
    model_input_names = ["input_ids", "attention_mask", "position_ids"]

    def __init__(
        self,
        vocab_file,
        bos_token="<sop>",
        eos_token="<eop>",
        end_token="</s>",
        mask_token="[MASK]",
        gmask_token="[gMASK]",
        padding_side="left",
        pad_token="<pad>",
        unk_token="<unk>",
        num_image_tokens=20000,
        **kwargs,
    ):
        super().__init__(
            padding_side=padding_side,
            bos_token=bos_token,
            eos_token=eos_token,
            end_token=end_token,
            mask_token=mask_token,
            gmask_token=gmask_token,
            pad_token=pad_token,
            unk_token=unk_token,
            num_image_tokens=num_image_tokens,
            **kwargs,
        )
        self.do_lower_case = self.remove_space = False
        self.vocab_file = vocab_file
        self.end_token = end_token
        self.gmask_token = gmask_token
        self.sp_tokenizer = SPTokenizer(vocab_file, num_image_tokens=num_image_tokens)

    @property
    def vocab_size(self):
        return self.sp_tokenizer.num_tokens

    @property
    def sp_model(self):
        return self.sp_tokenizer.sp_model

    def get_vocab(self):
        vocab = {self._convert_id_to_token(i): i for i in range(self.vocab_size)}
        return {**vocab, **self.added_tokens_encoder}

    def _convert_token_to_id(self, token):
        return self.sp_tokenizer[token]

    def _convert_id_to_token(self, index):
        return self.sp_tokenizer[index]

    gmask_token_id = Newer.gmask_token_id
    save_vocabulary = Newer.save_vocabulary
    _tokenize = Newer._tokenize
    convert_tokens_to_string = Newer.convert_tokens_to_string
    _decode = Newer._decode
    build_inputs_with_special_tokens = Newer.build_inputs_with_special_tokens
    _layout = Newer._layout

    def _pad(
        self,
        encoded_inputs,
        max_length=None,
        padding_strategy=PaddingStrategy.DO_NOT_PAD,
        pad_to_multiple_of=None,
        return_attention_mask=None,
    ):
        if padding_strategy == PaddingStrategy.DO_NOT_PAD:
            return encoded_inputs
        ids = list(encoded_inputs["input_ids"])
        is_longest = padding_strategy == PaddingStrategy.LONGEST
        ids = [self.pad_token_id] * ((len(ids) if is_longest else max_length) - len(ids)) + ids
        encoded_inputs["input_ids"] = ids
        mask, positions = self._layout(ids)
        encoded_inputs["attention_mask"], encoded_inputs["position_ids"] = mask, positions
        return encoded_inputs

"""A toy ChatGLM2's tokenizer that does what its code does and newer releases object to.

The base's constructor comes before the vocabulary, special tokens are read-only properties, and
`_pad` knows no side.
"""

import shutil
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from transformers import PreTrainedTokenizer
from transformers.utils import PaddingStrategy


class SPTokenizer:
    special = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")

    def __init__(self, model_path):
        self.sp_model = SentencePieceProcessor(model_file=str(model_path))
        self.bos_id, self.eos_id = self.sp_model.bos_id(), self.sp_model.eos_id()
        self.pad_id = self.sp_model.unk_id()
        count = self.sp_model.get_piece_size()
        self.special_tokens = {token: count + i for i, token in enumerate(self.special)}
        self.index_special_tokens = {i: token for token, i in self.special_tokens.items()}
        self.n_words = count + len(self.special)

    def tokenize(self, text):
        return self.sp_model.encode(text, out_type=str)

    def encode(self, text):
        return self.sp_model.encode(text)

    def convert_token_to_id(self, token):
        return self.special_tokens.get(token, self.sp_model.piece_to_id(token))

    def convert_id_to_token(self, index):
        if index in (self.bos_id, self.eos_id, self.pad_id) or index >= self.n_words:
            return ""
        return self.index_special_tokens.get(index) or self.sp_model.id_to_piece(index)


class ChatGLMTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask", "position_ids"]

    def __init__(
        self, vocab_file, padding_side="left", clean_up_tokenization_spaces=False, **kwargs
    ):
        super().__init__(
            padding_side=padding_side,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            **kwargs,
        )
        self.set_vocabulary(vocab_file, SPTokenizer)

    def set_vocabulary(self, vocab_file, pieces):
        self.vocab_file = vocab_file
        self.tokenizer = pieces(vocab_file)
        ids = (self.tokenizer.bos_id, self.tokenizer.eos_id, self.tokenizer.pad_id)
        self.special_tokens = dict(zip(("<bos>", "<eos>", "<pad>"), ids))

    def get_command(self, token):
        return {**self.special_tokens, **self.tokenizer.special_tokens}[token]

    @property
    def unk_token(self):
        return "<unk>"

    @property
    def pad_token(self):
        return "<unk>"

    @property
    def pad_token_id(self):
        return self.get_command("<pad>")

    @property
    def eos_token(self):
        return "</s>"

    @property
    def eos_token_id(self):
        return self.get_command("<eos>")

    @property
    def vocab_size(self):
        return self.tokenizer.n_words

    def get_vocab(self):
        vocab = {self._convert_id_to_token(i): i for i in range(self.vocab_size)}
        return {**vocab, **self.added_tokens_encoder}

    def _tokenize(self, text, **kwargs):
        return self.tokenizer.tokenize(text)

    def _convert_token_to_id(self, token):
        return self.tokenizer.convert_token_to_id(token)

    def _convert_id_to_token(self, index):
        return self.tokenizer.convert_id_to_token(index)

    def convert_tokens_to_string(self, tokens):
        return self.tokenizer.sp_model.decode(tokens)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        target = str(Path(save_directory, self.vocab_files_names["vocab_file"]))
        shutil.copyfile(self.vocab_file, target)
        return (target,)

    def get_prefix_tokens(self):
        return [self.get_command("[gMASK]"), self.get_command("sop")]

    def get_ends(self):
        return [self.eos_token_id]

    def build_prompt(self, query, history=None):
        rounds = [*(history or []), (query, "")]
        texts = [f"[Round {i}]\n\n问：{q}\n\n答：{a}" for i, (q, a) in enumerate(rounds, start=1)]
        return "\n\n".join(texts)

    def build_chat_input(self, query, history):
        return self([self.build_prompt(query, history)], return_tensors="pt")

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        ids = self.get_prefix_tokens() + list(token_ids_0)
        return ids if token_ids_1 is None else [*ids, *token_ids_1, self.get_command("<eos>")]

    def _pad(
        self,
        encoded_inputs,
        max_length=None,
        padding_strategy=PaddingStrategy.DO_NOT_PAD,
        pad_to_multiple_of=None,
        return_attention_mask=None,
    ):
        ids = list(encoded_inputs["input_ids"])
        mask = list(encoded_inputs.get("attention_mask", [1] * len(ids)))
        positions = list(encoded_inputs.get("position_ids", range(len(ids))))
        if padding_strategy == PaddingStrategy.MAX_LENGTH:
            short = max(0, max_length - len(ids))
            ids = [self.pad_token_id] * short + ids
            mask, positions = [0] * short + mask, [0] * short + positions
        columns = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        encoded_inputs.update(columns)
        return encoded_inputs

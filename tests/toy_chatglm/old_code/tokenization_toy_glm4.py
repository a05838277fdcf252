"""A toy GLM-4's tokenizer: tokens are bytes, special ones are added, chats have a template.

A line of the vocabulary's file is a token in base64 and its rank. Newer releases hand
`convert_tokens_to_string` special tokens, too, at which it says what came before them once more.
"""

import base64
import shutil
from pathlib import Path

from transformers import PreTrainedTokenizer

from .tokenization_toy_glm2 import ChatGLMTokenizer as ChatGLM2Tokenizer


class ChatGLM4Tokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask", "position_ids"]

    def __init__(
        self, vocab_file, padding_side="left", clean_up_tokenization_spaces=False, **kwargs
    ):
        self.vocab_file = vocab_file
        lines = Path(vocab_file).read_text(encoding="utf-8").splitlines()
        pairs = [line.split() for line in lines]
        self.mergeable_ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
        self.decoder = {rank: token for token, rank in self.mergeable_ranks.items()}
        self.longest = max(map(len, self.mergeable_ranks))
        super().__init__(
            padding_side=padding_side,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            **kwargs,
        )

    @property
    def vocab_size(self):
        return len(self.decoder)

    def get_vocab(self):
        vocab = {self._convert_id_to_token(i): i for i in range(self.vocab_size)}
        return {**vocab, **self.added_tokens_encoder}

    def _tokenize(self, text, **kwargs):
        raw, tokens = text.encode(), []
        while raw:
            size = next(n for n in range(self.longest, 0, -1) if raw[:n] in self.mergeable_ranks)
            tokens.append(raw[:size])
            raw = raw[size:]
        return tokens

    def _convert_token_to_id(self, token):
        return self.mergeable_ranks[token]

    def _convert_id_to_token(self, index):
        return self.decoder.get(index, "")

    def convert_tokens_to_string(self, tokens):
        text, held = "", b""
        for token in tokens:
            if isinstance(token, str):
                text += held.decode("utf-8", errors="replace")
            else:
                held += token
        return text + held.decode("utf-8", errors="replace")

    def save_vocabulary(self, save_directory, filename_prefix=None):
        target = str(Path(save_directory, self.vocab_files_names["vocab_file"]))
        shutil.copyfile(self.vocab_file, target)
        return (target,)

    def get_prefix_tokens(self):
        return self.convert_tokens_to_ids(["[gMASK]", "<sop>"])

    def get_ends(self):
        return self.convert_tokens_to_ids(["<|endoftext|>", "<|user|>", "<|observation|>"])

    def build_single_message(self, role, metadata, message, tokenize=True):
        if not tokenize:
            return f"<|{role}|>{metadata}\n{message}"
        pieces = self._tokenize(f"{metadata}\n") + self._tokenize(message)
        return self.convert_tokens_to_ids([f"<|{role}|>", *pieces])

    def build_chat_input(self, query, history):
        roles = ("user", "assistant")
        texts = [*(text for pair in history for text in pair), query]
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
        return self.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_tensors="pt",
            return_dict=True,
        )

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        ids = self.get_prefix_tokens() + list(token_ids_0)
        if token_ids_1 is None:
            return ids
        return [*ids, *token_ids_1, self.convert_tokens_to_ids("<eos>")]  # it has none

    _pad = ChatGLM2Tokenizer._pad

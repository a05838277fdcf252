"""Tiny tokenizers with the methods of ChatGLM2's, ChatGLM3's and GLM-4's published ones.

A byte is a token. The first two put a token for a space before every text that they are given, as
sentencepiece does; GLM-4's tokens are Python's bytes. All pad on the left only, with a mask and
positions.
"""

from typing import ClassVar

from transformers import PreTrainedTokenizer

ROLES = ("system", "user", "assistant", "observation")


class ByteTokenizer(PreTrainedTokenizer):
    """`encode` spells a text by the byte; subclasses say how tokens are named and dialogues built."""

    model_input_names: ClassVar[list] = ["input_ids", "attention_mask", "position_ids"]
    vocab_files_names: ClassVar[dict] = {}
    start: ClassVar[list] = []  # what stands before every text
    special: ClassVar[list] = []
    named: ClassVar[dict] = {"unk_token": "<unk>", "pad_token": "<unk>", "eos_token": "</s>"}

    def __init__(self, **kwargs):
        self.tokens = [self.name_byte(byte) for byte in range(256)] + self.start + self.special
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        super().__init__(**{"padding_side": "left", **self.named, **kwargs})

    @staticmethod
    def name_byte(byte):
        return f"<0x{byte:02X}>"

    @property
    def vocab_size(self):
        return len(self.ids)

    def get_vocab(self):
        return {str(token): number for token, number in self.ids.items()}

    def _tokenize(self, text, **kwargs):
        return [*self.start, *map(self.name_byte, text.encode())] if text else []

    def _convert_token_to_id(self, token):
        return self.ids[token]

    def _convert_id_to_token(self, index):
        return self.tokens[index]

    def convert_tokens_to_string(self, tokens):
        spelt = bytes(self.ids[token] for token in tokens if self.ids[token] < 256)
        return spelt.decode("utf-8", errors="replace")

    def spell(self, text):
        """The ids of a text, none of it special."""
        return [self.ids[token] for token in self._tokenize(text)]

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        tail = [] if token_ids_1 is None else [*token_ids_1, self.eos_token_id]
        return [*self.get_prefix_tokens(), *token_ids_0, *tail]

    def _pad(self, encoded_inputs, max_length=None, **kwargs):
        assert self.padding_side == "left"
        ids = encoded_inputs["input_ids"]
        missing = 0 if max_length is None else max_length - len(ids)
        encoded_inputs["attention_mask"] = [0] * missing + [1] * len(ids)
        encoded_inputs["position_ids"] = [0] * missing + list(range(len(ids)))
        encoded_inputs["input_ids"] = [self.pad_token_id] * missing + ids
        return encoded_inputs


class ChatGLM2Tokenizer(ByteTokenizer):
    start: ClassVar[list] = ["▁"]
    special: ClassVar[list] = ["<unk>", "</s>", "[gMASK]", "sop"]

    def get_command(self, token):
        return self.ids[{"<eos>": "</s>", "<pad>": "<unk>"}.get(token, token)]

    def get_prefix_tokens(self):
        return [self.get_command("[gMASK]"), self.get_command("sop")]

    def build_prompt(self, query, history=None):
        rounds = [*(history or []), (query, "")]
        texts = [f"[Round {n}]\n\n问：{q}\n\n答：{a}" for n, (q, a) in enumerate(rounds, 1)]
        return "\n\n".join(texts)


class ChatGLM3Tokenizer(ByteTokenizer):
    start: ClassVar[list] = ["▁"]
    special: ClassVar[list] = [
        *["<unk>", "</s>", "[gMASK]", "sop"],
        *[f"<|{role}|>" for role in ROLES],
    ]
    get_command = ChatGLM2Tokenizer.get_command
    get_prefix_tokens = ChatGLM2Tokenizer.get_prefix_tokens

    def build_single_message(self, role, metadata, message):
        assert role in ROLES
        said = [self.spell(text) for text in (f"{metadata}\n", message)]
        return [self.get_command(f"<|{role}|>"), *said[0], *said[1]]


class GLM4Tokenizer(ByteTokenizer):
    special: ClassVar[list] = [
        *["<|endoftext|>", "[gMASK]", "<sop>"],
        *[f"<|{role}|>" for role in ROLES],
    ]
    named: ClassVar[dict] = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}

    @staticmethod
    def name_byte(byte):
        return bytes([byte])

    def get_prefix_tokens(self):
        return [self.convert_tokens_to_ids("[gMASK]"), self.convert_tokens_to_ids("<sop>")]

    def build_single_message(self, role, metadata, message, tokenize=True):
        assert role in ROLES
        if not tokenize:
            return f"<|{role}|>{metadata}\n{message}"
        role_id = self.convert_tokens_to_ids(f"<|{role}|>")
        return [role_id, *self.spell(f"{metadata}\n"), *self.spell(message)]

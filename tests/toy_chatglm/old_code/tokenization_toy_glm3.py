"""A toy ChatGLM3's tokenizer: ChatGLM2's with roles, which sets its vocabulary first.

`build_chat_input` asks for `batch_encode_plus`, which 5.x has no more.
"""

from .tokenization_toy_glm2 import ChatGLMTokenizer as ChatGLM2Tokenizer
from .tokenization_toy_glm2 import SPTokenizer as ChatGLM2Pieces

ROLES = ("system", "user", "assistant", "observation")


class SPTokenizer(ChatGLM2Pieces):
    special = (*ChatGLM2Pieces.special, *(f"<|{role}|>" for role in ROLES))

    def __init__(self, model_path):
        super().__init__(model_path)


class ChatGLMTokenizer(ChatGLM2Tokenizer):
    def __init__(self, vocab_file, **kwargs):
        self.set_vocabulary(vocab_file, SPTokenizer)
        super().__init__(vocab_file, **kwargs)

    def set_vocabulary(self, vocab_file, pieces):
        super().set_vocabulary(vocab_file, SPTokenizer)

    def get_ends(self):
        commands = [self.get_command(f"<|{role}|>") for role in ("user", "observation")]
        return [self.eos_token_id, *commands]

    def build_single_message(self, role, metadata, message):
        first = [self.get_command(f"<|{role}|>"), *self.tokenizer.encode(f"{metadata}\n")]
        return first + self.tokenizer.encode(message)

    def build_chat_input(self, query, history=None, role="user"):
        ids = []
        for asked, answered in history or []:
            ids += self.build_single_message("user", "", asked)
            ids += self.build_single_message("assistant", "", answered)
        ids += self.build_single_message(role, "", query)
        ids.append(self.get_command("<|assistant|>"))
        return self.batch_encode_plus([ids], return_tensors="pt", is_split_into_words=True)

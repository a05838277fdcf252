"""How ChatGLM3-6B and GLM-4-9B read a dialogue: a role's token, a line break, what it says."""

from dialogue_layout import DialogueLayout


class ChatGLM3Layout(DialogueLayout):
    r"""`[gMASK] sop`, then for each message `<|role|>`, `"\n"` and its text, each encoded by itself.

    That is what the official tuning recipes write, by the tokenizer's own `build_single_message`.
    The model answers after `<|assistant|>`: the line break is learnt with the answer. What ends an
    answer is the next role's token; the last one ends in `</s>`, GLM-4's in `<|user|>`.
    """

    def __init__(self, tokenizer):
        super().__init__(tokenizer)
        self.assistant, *self.lead = self._message("assistant", "")
        user, observation = (self._message(role, "")[0] for role in ("user", "observation"))
        self.stops = [tokenizer.eos_token_id, user, observation]
        # GLM-4's tokenizer has no commands, ChatGLM3's way to name special tokens.
        self.end = [tokenizer.eos_token_id if hasattr(tokenizer, "get_command") else user]

    def _message(self, role, text):
        return self.tokenizer.build_single_message(role, "", text)

    def _context(self, messages):
        ids = list(self.tokenizer.get_prefix_tokens())
        is_answer = [False] * len(ids)
        for message in messages:
            new = self._message(message["role"], message["content"])
            ids += new
            is_answer += [message["role"] == "assistant"] * len(new)
        ids.append(self.assistant)
        # Learnt is what comes after a token of an answer, its role's included: not the role
        # itself, but the one after the answer.
        labels = [i if learnt else -100 for i, learnt in zip(ids, [False, *is_answer])]
        return labels, ids

    def _answer(self, text):
        return self._message("assistant", text)[1 + len(self.lead) :]

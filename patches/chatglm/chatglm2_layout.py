"""How ChatGLM2-6B reads a dialogue: rounds as one text, numbered from 1, then the answer."""

from dialogue_layout import DialogueLayout, _rounds
from user_error import UserError


class ChatGLM2Layout(DialogueLayout):
    r"""`[gMASK] sop [Round 1]\n\n问：…\n\n答：` and the answer, then `</s>`, which is learnt too.

    That is what the official tuning recipe writes, by the tokenizer's own `build_prompt`. Within
    the text nothing ends an answer but the next round's number, so only the last one is learnt.
    """

    def encode_pair(self, messages, limits):
        """As other layouts'.

        Raises:
            UserError: also for --learn all.
        """
        if limits.learn == "all":
            raise UserError(
                "--learn all: in ChatGLM2-6B's format earlier answers have no end that could be "
                "learnt; give --learn last."
            )
        return super().encode_pair(messages, limits)

    def _context(self, messages):
        history = _rounds(messages[:-1], "ChatGLM2-6B")
        text = self.tokenizer.build_prompt(messages[-1]["content"], history)
        # As with add_special_tokens=True, which not every release asks the tokenizer about.
        ids = [*self.tokenizer.get_prefix_tokens(), *self._answer(text)]
        return [-100] * len(ids), ids

    def _answer(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

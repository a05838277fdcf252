"""What the layouts of ChatGLM2, ChatGLM3 and GLM-4 have in common: prompt, answer, end."""

from cut_response import cut_at_character
from fit_dialogue import fit_dialogue
from user_error import UserError


def _rounds(messages, model):
    """Return a dialogue of user and assistant as [(question, answer)], without an open question.

    Raises:
        UserError: a system's message, for which the format of `model` has no place.
    """
    if messages and messages[0]["role"] == "system":
        raise UserError(f"{model}'s format has no place for a system message.")
    texts = [message["content"] for message in messages]
    return list(zip(texts[::2], texts[1::2]))


class DialogueLayout:
    """How the model of one tokenizer reads a dialogue: what is asked, `lead`, the answer, `end`.

    A layout says:
        lead, end: the ids before and after every answer, which are learnt with it;
        stops: the ids that end an answer;
        _context(messages): (labels, ids) of a dialogue up to where `lead` begins; the labels are
            those that learn earlier answers, too, -100 where nothing is learnt;
        _answer(text): the ids of an answer's text.
    """

    def __init__(self, tokenizer):
        self.tokenizer, self.lead = tokenizer, []
        self.end = self.stops = [tokenizer.eos_token_id]

    def encode_prompt(self, messages, limits):
        """Return the ids that the model sees before it answers; see `fit_dialogue` for the limit."""
        return fit_dialogue(self._context, messages, limits.max_source_length)[1]

    def encode_pair(self, messages, limits):
        """Return the features of a row; of an answer too long the first tokens, and its end."""
        *asked, answer = messages
        ids, most = self._answer(answer["content"]), limits.max_target_length
        if not ids:
            raise UserError(f"the response {answer['content']!r} encodes to no tokens.")
        labels, context, length = fit_dialogue(self._context, asked, limits.max_source_length)
        around = len(self.lead) + len(self.end)
        kept = cut_at_character(self.tokenizer, ids, most - around)
        if not kept:
            raise UserError(
                f"--max_target_length {most} leaves no room for the response: what the format puts "
                f"around it takes {around} tokens, and its first character more than are left."
            )
        target = [*self.lead, *kept, *self.end]
        if limits.learn == "last":
            labels = [-100] * len(context)
        return {
            "input_ids": context + target,
            "labels": labels + target,
            "source_length": length,
            "target_length": len(ids) + around,
        }

"""How ChatGLM-6B reads a dialogue: its prompt template and its token layout."""

from cut_response import cut_at_character
from dialogue_layout import _rounds
from user_error import UserError


def build_prompt(prompt, history=None):
    """Return the text that ChatGLM-6B sees for `prompt` after the rounds in `history`.

    The template is that of the `chat` method in the model's published code: numbered rounds, the
    last one open, and the bare prompt where there are no earlier rounds.

    Args:
        prompt: the question now asked.
        history: earlier rounds, oldest first, as (question, answer) pairs; None or empty for none.
    """
    if not history:
        return prompt
    rounds = [
        f"[Round {number}]\n问：{question}\n答：{answer}\n"
        for number, (question, answer) in enumerate(history)
    ]
    return "".join(rounds) + f"[Round {len(rounds)}]\n问：{prompt}\n答："


class ChatGLM6BLayout:
    """`prompt… [gMASK] <sop> response… <eop>`.

    The model attends to everything before `<sop>` in both directions, so exactly that part is no
    target. As in the official recipe a prompt that is too long keeps its beginning: at most the
    first `max_source_length - 1` tokens, and the response at most its first
    `max_target_length - 2`. Unlike there, the oldest rounds go first.
    """

    def __init__(self, tokenizer):
        self.tokenizer, self.lead, self.stops = tokenizer, [], [tokenizer.eos_token_id]

    def _context(self, messages, limits):
        """Return what comes before `[gMASK] <sop>`, and the --max_source_length to hold it whole."""
        history, prompt = _rounds(messages[:-1], "ChatGLM-6B"), messages[-1]["content"]
        most, needed = limits.max_source_length - 1, None
        while True:
            ids = self.tokenizer.encode(build_prompt(prompt, history), add_special_tokens=False)
            needed = needed or len(ids) + 1
            if len(ids) <= most or not history:
                return ids[:most], needed
            history.pop(0)

    def encode_prompt(self, messages, limits):
        """Return the ids that the model sees before it answers, up to `<sop>`."""
        context, _ = self._context(messages, limits)
        return self.tokenizer.build_inputs_with_special_tokens(context)

    def _lay_out(self, context, response):
        """Return the ids of both as the tokenizer puts them together; UserError for another's."""
        # Other models' tokenizers no longer have this method in transformers 5.
        build = getattr(self.tokenizer, "build_inputs_with_special_tokens", lambda *_: [])
        ids, place = build(context, response), len(context) + 1
        # Not searched for: a prompt may spell `<sop>` itself. Others' start token is missing here
        # or comes first (as Llama's <s> does).
        start = ids[place : place + 1]
        if ids[: len(context)] != context or start != [self.tokenizer.bos_token_id]:
            raise UserError(
                f"{type(self.tokenizer).__name__} does not put [gMASK] <sop> between prompt and "
                "response as ChatGLM-6B's tokenizer does; its model cannot be tuned with this script."
            )
        return ids

    def encode_pair(self, messages, limits):
        """Return the features of a row; the labels are the ids from `<sop>` on."""
        if limits.learn == "all":
            raise UserError(
                "--learn all: ChatGLM-6B reads all that comes before an answer in both directions, "
                "so earlier answers would see what they are to learn; give --learn last."
            )
        *asked, answer = messages
        ids = self.tokenizer.encode(answer["content"], add_special_tokens=False)
        if not ids:
            raise UserError(f"the response {answer['content']!r} encodes to no tokens.")
        context, source_length = self._context(asked, limits)
        kept = cut_at_character(self.tokenizer, ids, limits.max_target_length - 2)
        if not kept:
            raise UserError(
                f"--max_target_length {limits.max_target_length} leaves no room for the response: "
                "its first character alone takes more tokens."
            )
        input_ids, place = self._lay_out(context, kept), len(context) + 1
        return {
            "input_ids": input_ids,
            "labels": [-100] * place + input_ids[place:],
            "source_length": source_length,
            "target_length": len(ids) + 2,
        }

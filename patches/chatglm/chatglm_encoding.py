"""How ChatGLM-6B reads a dialogue: its prompt template and its token layout."""

from cut_response import cut_at_character
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


def _pairs(messages):
    """Return the rounds of a dialogue of user and assistant, [(question, answer)].

    Raises:
        UserError: a system message, for which ChatGLM-6B's format has no place.
    """
    if messages and messages[0]["role"] == "system":
        raise UserError("ChatGLM-6B's format has no place for a system message.")
    texts = [message["content"] for message in messages]
    return list(zip(texts[::2], texts[1::2]))


def _context_ids(tokenizer, messages, limits):
    """Return what comes before `[gMASK] <sop>`, and the --max_source_length that holds all of it.

    What is too long loses its oldest rounds first, and then its end, as the official recipe has
    it: of what comes before `[gMASK] <sop>` at most the first `max_source_length - 1` tokens.
    """
    history, prompt = _pairs(messages[:-1]), messages[-1]["content"]
    most, needed = limits.max_source_length - 1, None
    while True:
        ids = tokenizer.encode(build_prompt(prompt, history), add_special_tokens=False)
        needed = needed or len(ids) + 1
        if len(ids) <= most or not history:
            return ids[:most], needed
        history.pop(0)


def encode_prompt(tokenizer, messages, limits):
    """Return the ids that the model sees before it answers, `prompt… [gMASK] <sop>`.

    Args:
        tokenizer: ChatGLM-6B's.
        messages: the dialogue, user and assistant in turn; the last one is the question now asked.
        limits: has `max_source_length`, see `_context_ids`.
    """
    return tokenizer.build_inputs_with_special_tokens(_context_ids(tokenizer, messages, limits)[0])


def stop_ids(tokenizer):
    """Return the ids that end an answer."""
    return [tokenizer.eos_token_id]


def lead_ids(tokenizer):
    """Return the ids that stand before every answer: none."""
    return []


def encode_pair(tokenizer, messages, limits):
    """Encode one row the way ChatGLM-6B's own tuning recipe does.

    The layout is `prompt… [gMASK] <sop> response… <eop>`; the prompt keeps at most its first
    `max_source_length - 1` tokens, see `_context_ids`, and the response its first
    `max_target_length - 2`, without part of a character at its end. The model attends to
    everything before `<sop>` in both directions, so exactly that part is no target.

    Args:
        tokenizer: ChatGLM-6B's.
        messages: the dialogue, user and assistant in turn; the last one is the answer to learn.
        limits: has `max_source_length`, `max_target_length` and `learn`.

    Returns:
        {"input_ids": [int] * n, "labels": [int] * n} with n <= max_source_length +
        max_target_length; labels are -100 before `<sop>` and the input ids from it on. The model
        itself shifts labels by one. Also "source_length" and "target_length", the limits that
        would have held the row whole.

    Raises:
        UserError: the tokenizer has another layout, the response has no tokens, or there is no
            place for what is asked.
    """
    if limits.learn == "all":
        raise UserError(
            "--learn all: ChatGLM-6B reads all that comes before an answer in both directions, so "
            "earlier answers would see what they are to learn; give --learn last."
        )
    response = messages[-1]["content"]
    response_ids = tokenizer.encode(response, add_special_tokens=False)
    if not response_ids:
        raise UserError(f"the response {response!r} encodes to no tokens.")
    context, source_length = _context_ids(tokenizer, messages[:-1], limits)
    kept = cut_at_character(tokenizer, response_ids, limits.max_target_length - 2)
    if not kept:
        raise UserError(
            f"--max_target_length {limits.max_target_length} leaves no room for the response: its "
            "first character alone takes more tokens."
        )
    # Other models' tokenizers no longer have this method in transformers 5.
    build = getattr(tokenizer, "build_inputs_with_special_tokens", lambda *_: [])
    input_ids = build(context, kept)
    # Not searched for: a prompt may spell `<sop>` itself. Others' start token is missing here or
    # comes first (as Llama's <s> does).
    context_length = len(context) + 1
    start = input_ids[context_length : context_length + 1]
    if input_ids[: len(context)] != context or start != [tokenizer.bos_token_id]:
        raise UserError(
            f"{type(tokenizer).__name__} does not put [gMASK] <sop> between prompt and response as "
            "ChatGLM-6B's tokenizer does; its model cannot be tuned with this script."
        )
    return {
        "input_ids": input_ids,
        "labels": [-100] * context_length + input_ids[context_length:],
        "source_length": source_length,
        "target_length": len(response_ids) + 2,
    }

"""How ChatGLM-6B reads a dialogue: its prompt template and its token layout."""


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


def _context_ids(tokenizer, prompt, history, limits):
    """Return the tokens that come before `[gMASK] <sop>`, at most `max_source_length - 1`."""
    ids = tokenizer.encode(build_prompt(prompt, history), add_special_tokens=False)
    return ids[: limits.max_source_length - 1]


def encode_prompt(tokenizer, prompt, history, limits):
    """Return the ids that the model sees before it answers, `prompt… [gMASK] <sop>`.

    Args:
        tokenizer: ChatGLM-6B's.
        prompt, history: as for `build_prompt`.
        limits: has `max_source_length`; of a prompt that is too long the first tokens are kept.
    """
    return tokenizer.build_inputs_with_special_tokens(
        _context_ids(tokenizer, prompt, history, limits)
    )


def stop_ids(tokenizer):
    """Return the ids that end an answer."""
    return [tokenizer.eos_token_id]


def encode_pair(tokenizer, prompt, history, response, limits):
    """Encode one row the way ChatGLM-6B's own tuning recipe does.

    The layout is `prompt… [gMASK] <sop> response… <eop>`; the prompt keeps at most its first
    `max_source_length - 1` tokens and the response its first `max_target_length - 2`. The model
    attends to everything before `<sop>` in both directions, so exactly that part is no target.

    Returns:
        {"input_ids": [int] * n, "labels": [int] * n} with n <= max_source_length +
        max_target_length; labels are -100 before `<sop>` and the input ids from it on. The model
        itself shifts labels by one.

    Raises:
        ValueError: the tokenizer has another layout, or the response has no tokens.
    """
    response_ids = tokenizer.encode(response, add_special_tokens=False)
    if not response_ids:
        raise ValueError(f"the response {response!r} encodes to no tokens.")
    context = _context_ids(tokenizer, prompt, history, limits)
    # Other models' tokenizers no longer have this method in transformers 5.
    build = getattr(tokenizer, "build_inputs_with_special_tokens", lambda *_: [])
    input_ids = build(context, response_ids[: limits.max_target_length - 2])
    # Not searched for: a prompt may spell `<sop>` itself. Others' start token is missing here or
    # comes first (as Llama's <s> does).
    context_length = len(context) + 1
    start = input_ids[context_length : context_length + 1]
    if input_ids[: len(context)] != context or start != [tokenizer.bos_token_id]:
        raise ValueError(
            f"{type(tokenizer).__name__} does not put [gMASK] <sop> between prompt and response as "
            "ChatGLM-6B's tokenizer does; its model cannot be tuned with this script."
        )
    return {
        "input_ids": input_ids,
        "labels": [-100] * context_length + input_ids[context_length:],
    }

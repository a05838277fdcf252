"""How other causal language models read a dialogue: their chat template, or a plain format."""

# Rendered as an answer to see what a chat template puts after one.
ANSWER_PLACEHOLDER = "the-answer"


def _has_template(tokenizer):
    # Releases before chat templates have neither the method nor the attribute.
    return bool(getattr(tokenizer, "chat_template", None)) and hasattr(
        tokenizer, "apply_chat_template"
    )


def _render(tokenizer, messages, is_open):
    """Return a dialogue as its chat template writes it; open, it ends where an answer begins."""
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_open)


def _leading_ids(tokenizer):
    """Return the special tokens that the tokenizer itself puts before a text, such as `<s>`."""
    whole, bare = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    starts = (i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[: next(starts, 0)]


def _encode_dialogue(tokenizer, prompt, history):
    """Return the ids of `prompt` after the rounds in `history`, whatever their number."""
    if not _has_template(tokenizer):
        rounds = [
            f"### User:\n{question}\n\n### Assistant:\n{answer}\n\n" for question, answer in history
        ]
        text = "".join(rounds) + f"### User:\n{prompt}\n\n### Assistant:\n"
        return _leading_ids(tokenizer) + tokenizer.encode(text, add_special_tokens=False)
    messages = []
    for question, answer in history:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": prompt})
    # Templates write the special tokens themselves, the first one included.
    return tokenizer.encode(_render(tokenizer, messages, True), add_special_tokens=False)


def encode_prompt(tokenizer, prompt, history, limits):
    """Return the ids that the model sees before it answers, special tokens included.

    With a chat template, the dialogue as it writes it, up to where an answer begins. Without one,
    the special tokens that the tokenizer puts before any text, and then this plain format, each
    earlier round in full and the last one open:

        ### User:
        {question}

        ### Assistant:
        {answer}

        ### User:
        {prompt}

        ### Assistant:

    What is too long loses its oldest rounds, then `prompt` loses its end, until the whole fits.
    Tokens are not simply cut off: the last ones tell the model that it is to answer.

    Args:
        tokenizer: the model's.
        prompt: the question now asked.
        history: earlier rounds, oldest first, as (question, answer) pairs.
        limits: has `max_source_length`, the most ids to return.

    Raises:
        ValueError: the limit leaves no room for any text of the prompt.
    """
    most = limits.max_source_length
    history = list(history or [])
    ids = _encode_dialogue(tokenizer, prompt, history)
    while len(ids) > most and history:
        history.pop(0)
        ids = _encode_dialogue(tokenizer, prompt, history)
    if len(ids) <= most:
        return ids
    # The longest beginning that fits, by bisection: how many tokens the text takes in its place
    # nobody knows without encoding the whole.
    kept, fitting, cut = [], 0, len(prompt)
    while cut - fitting > 1:
        middle = (fitting + cut) // 2
        ids = _encode_dialogue(tokenizer, prompt[:middle], [])
        if len(ids) <= most:
            kept, fitting = ids, middle
        else:
            cut = middle
    if not kept:
        least = len(_encode_dialogue(tokenizer, prompt[:1], []))
        raise ValueError(
            f"--max_source_length {most} leaves no room for the prompt: with what the format puts "
            f"around it, its first character alone takes {least} tokens."
        )
    return kept


def _end_id(tokenizer):
    """Return the id that ends an answer.

    It is the first special token that the chat template puts after an answer (`<|im_end|>`, say).
    Some put none there, and what follows an answer begins the next question; then, and without a
    template, it is the tokenizer's end-of-text token.

    Raises:
        ValueError: there is none.
    """
    if _has_template(tokenizer):
        messages = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": ANSWER_PLACEHOLDER},
        ]
        _, found, after = _render(tokenizer, messages, False).rpartition(ANSWER_PLACEHOLDER)
        if not found:
            raise ValueError(
                f"the chat template of {type(tokenizer).__name__} leaves out an answer that ends "
                "a dialogue."
            )
        special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        for token in tokenizer.encode(after, add_special_tokens=False):
            if token in special:
                return token
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"{type(tokenizer).__name__} has no end-of-text token to end an answer with: set its "
            "eos_token."
        )
    return tokenizer.eos_token_id


def stop_ids(tokenizer):
    """Return the ids that end an answer: what `encode_pair` teaches, and the end of the text."""
    return [i for i in dict.fromkeys([_end_id(tokenizer), tokenizer.eos_token_id]) if i is not None]


def encode_pair(tokenizer, prompt, history, response, limits):
    """Encode one row: the ids of `encode_prompt`, the response, the token that ends an answer.

    The three are put together as ids, so that what is learnt is what prediction asks for, even
    where a chat template writes a dialogue that is over otherwise than one that is still open.

    Args:
        tokenizer, prompt, history: as for `encode_prompt`.
        response: the answer to learn; it and its end take at most `limits.max_target_length`
            tokens, and of one that is longer the first are kept.
        limits: has `max_source_length` and `max_target_length`.

    Returns:
        {"input_ids", "attention_mask", "labels"}, each [int] * n; the mask is 1 throughout, for
        padding to be told from text where both are the same token, and labels are -100 up to the
        response and the input ids from there on. The model itself shifts labels by one.

    Raises:
        ValueError: as `encode_prompt`, or the response has no tokens, or there is no token to end
            it with.
    """
    context = encode_prompt(tokenizer, prompt, history, limits)
    answer = tokenizer.encode(response, add_special_tokens=False)[: limits.max_target_length - 1]
    if not answer:
        raise ValueError(f"the response {response!r} encodes to no tokens.")
    answer.append(_end_id(tokenizer))
    return {
        "input_ids": context + answer,
        "attention_mask": [1] * len(context + answer),
        "labels": [-100] * len(context) + answer,
    }

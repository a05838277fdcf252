"""What of a dialogue is kept that is too long for the model to read whole."""

from user_error import UserError


def fit_dialogue(encode, messages, most):
    """Return what `encode` makes of a dialogue, shortened until it takes at most `most` tokens.

    What is too long loses its oldest rounds, never a system's message; then the last question
    loses its end. Tokens are not simply cut off: the last ones tell the model that it is to answer.

    Args:
        encode: `encode(messages)` returns a tuple whose last item is the dialogue's ids.
        messages: {"role", "content"} each: a system's, if any, then user's and assistant's in
            turn, the user's last.
        most: the limit, --max_source_length.

    Returns:
        The tuple, and as one item more how many ids the whole dialogue takes.

    Raises:
        UserError: the limit leaves no room for any text of the question.
    """
    found = encode(messages)
    length, first = len(found[-1]), int(messages[0]["role"] == "system")
    while len(found[-1]) > most and len(messages) > first + 1:
        messages = messages[:first] + messages[first + 2 :]
        found = encode(messages)
    if len(found[-1]) <= most:
        return *found, length

    def shortened(end):
        *others, last = messages
        return encode([*others, {**last, "content": last["content"][:end]}])

    # The longest beginning that fits, by bisection: how many tokens the text takes in its place
    # nobody knows without encoding the whole.
    best, fitting, cut = None, 0, len(messages[-1]["content"])
    while cut - fitting > 1:
        middle = (fitting + cut) // 2
        tried = shortened(middle)
        if len(tried[-1]) <= most:
            best, fitting = tried, middle
        else:
            cut = middle
    if best is None:
        raise UserError(
            f"--max_source_length {most} leaves no room for the prompt: with what the format puts "
            f"around it, its first character alone takes {len(shortened(1)[-1])} tokens."
        )
    return *best, length

"""Where a response that is too long is cut: never inside a character."""


def cut_at_character(tokenizer, ids, most):
    """Return the first of `ids`, at most `most`, that together spell whole characters.

    Tokens may be single bytes, of which one character takes up to four; what is left of a
    character that the limit cuts would decode to U+FFFD, and goes too. A U+FFFD that the text
    itself has stays.

    Args:
        tokenizer: what `ids` are of.
        ids: the tokens of a whole text.
        most: how many to keep at most.
    """
    if len(ids) <= most:
        return ids

    def spelt(some):
        return tokenizer.decode(some, clean_up_tokenization_spaces=False) if some else ""

    for end in range(most, max(most - 4, -1), -1):
        kept = spelt(ids[:end])
        if not kept.endswith("\ufffd"):
            return ids[:end]
        # The parts of a cut character have more of them than the whole text.
        if kept.count("\ufffd") + spelt(ids[end:]).count("\ufffd") == spelt(ids).count("\ufffd"):
            return ids[:end]
    return ids[: max(most, 0)]

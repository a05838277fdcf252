"""The first tokens of a response, whole characters only."""


def cut_at_character(tokenizer, ids, most):
    """Return at most `most` of `ids`, without part of a character at the end."""
    if len(ids) <= most:
        return ids
    kept = ids[:most]
    while kept and tokenizer.decode(kept).endswith("\ufffd"):
        kept = kept[:-1]
    return kept or ids[:most]

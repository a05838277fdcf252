"""Which layout a dialogue has: those of ChatGLM-6B, ChatGLM2, ChatGLM3 and GLM-4, by the tokenizer."""

from chatglm2_layout import ChatGLM2Layout
from chatglm3_layout import ChatGLM3Layout
from chatglm_6b_layout import ChatGLM6BLayout


def _layout(tokenizer):
    """Return the layout that the tokenizer's own methods build; ChatGLM-6B's has none of them."""
    if hasattr(tokenizer, "build_single_message"):
        return ChatGLM3Layout(tokenizer)
    if hasattr(tokenizer, "build_prompt"):
        return ChatGLM2Layout(tokenizer)
    return ChatGLM6BLayout(tokenizer)


def encode_prompt(tokenizer, messages, limits):
    """Return the ids that the model sees before it answers.

    Args:
        tokenizer: the published one of any of the models.
        messages: {"role", "content"} each: a system's, if any, then user's and assistant's in
            turn, the last one the question now asked.
        limits: has `max_source_length`, the most ids to return. What is too long loses its oldest
            rounds, and then the question's end.

    Raises:
        UserError: a system's message where the layout has no place for one, or no room.
    """
    return _layout(tokenizer).encode_prompt(messages, limits)


def stop_ids(tokenizer):
    """Return the ids that end an answer."""
    return _layout(tokenizer).stops


def lead_ids(tokenizer):
    """Return the ids that stand before every answer, which are learnt too."""
    return _layout(tokenizer).lead


def encode_pair(tokenizer, messages, limits):
    """Encode one row the way the model's own tuning recipe does.

    Args:
        tokenizer, messages: as for `encode_prompt`, and then the assistant's answer to learn.
        limits: has `max_source_length`; `max_target_length`, the most ids to learn of the answer
            with what the layout puts around it: of one that is longer the first are kept, without
            part of a character; and `learn`: "last", or "all" to learn earlier answers too.

    Returns:
        {"input_ids": [int] * n, "labels": [int] * n} with n <= max_source_length +
        max_target_length; labels are -100 where nothing is learnt and the input ids elsewhere: the
        model itself shifts labels by one. No mask: padding on the right is seen by no token before
        it. And {"source_length", "target_length"}, int: what the two limits would have to be to
        cut nothing.

    Raises:
        UserError: as `encode_prompt`; or the answer has no tokens, or no room; or earlier ones
            cannot be learnt; or the tokenizer is none of these models'.
    """
    return _layout(tokenizer).encode_pair(messages, limits)

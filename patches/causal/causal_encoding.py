"""How other causal language models read a dialogue: their chat template, or a plain format.

What is learnt is what the template writes. It is asked twice for every row: for the dialogue that
waits for its answer (open) and for the one that has it (closed). The prompt is the open text; all
that the closed text has beyond it is learnt, up to the token that ends the answer.
"""

import itertools
import re

from cut_response import cut_at_character
from dialogue_form import (
    _common_length,
    _encode,
    _encode_after,
    _form,
    _form_of,
    _prompt_text,
    _refusal,
    _render,
    _template,
)
from fit_dialogue import fit_dialogue
from user_error import UserError


def _fit(tokenizer, messages, most):
    """Return (messages, their text, its ids, the number of ids uncut), cut to `most` ids."""

    def encoded(messages):
        text = _prompt_text(tokenizer, messages)
        return messages, text, _encode(tokenizer, text)

    return fit_dialogue(encoded, messages, most)


def _loosely(text):
    """Return a text without the blanks around it and around its tags, as templates trim it."""
    return re.sub(r"\s*(<[^<>]*>)\s*", r"\1", text.strip())


def _require_answer(tokenizer, form, answer, written):
    """Raise UserError unless `written`, what follows the prompt, brings the whole answer, once.

    Trimming is the template's right. An answer may bring the tag that the prompt ends with,
    `<think>`, which then must not be there twice.
    """
    if written == form.lead + answer and "<" not in answer:
        return  # as nearly always, and sooner told
    answer, found = _loosely(answer), _loosely(written)
    tag = re.search(r"<[^<>]*>$", form.opened.rstrip())
    is_whole = found.endswith(answer)
    if tag and answer.startswith(tag[0]):
        if is_whole:
            raise _refusal(tokenizer, f"itself writes the {tag[0]} that the response begins with")
        is_whole = _loosely(form.opened + written).endswith(answer)
    if not is_whole:
        raise _refusal(tokenizer, "leaves out or changes a part of the response")


def _target_ids(tokenizer, form, text, closed, answer):
    """Return what is learnt: the ids of the closed dialogue after `text`, the prompt's."""
    if not (closed.startswith(text) and closed.endswith(form.after)):
        raise _refusal(tokenizer, "writes this dialogue otherwise once it is answered")
    written = closed[len(text) : len(closed) - len(form.after)]
    _require_answer(tokenizer, form, answer, written)
    ids = _encode_after(tokenizer, form.opened, written + form.end)
    return ids if form.end else ids + form.end_ids


def _cut_target(tokenizer, form, ids, most):
    """Return `ids`, or so many of the first and of the end that they are at most `most`."""
    if len(ids) <= most:
        return ids
    end = form.end_ids
    kept = cut_at_character(tokenizer, ids[: -len(end)], most - len(end))
    if len(kept) <= form.lead_length:
        around = form.lead_length + len(end)
        raise UserError(
            f"--max_target_length {most} leaves no room for the response: what the format puts "
            f"around it takes {around} tokens, and its first character more than are left."
        )
    return kept + end


def _inner_answers(tokenizer, form, asked, text):
    """Return where in the prompt's text earlier answers stand, (start, stop) each, with their ends.

    Answers that are only marks show what the template writes between them; that is found again in
    `text`, whatever it has made of the answers themselves.
    """
    lead, end = form.inner_lead, form.inner_end
    said = "".join(m["content"] for m in asked)
    mark = next(m for m in map("(answer {})".format, itertools.count()) if m not in said)
    marked = [{**m, "content": mark} if m["role"] == "assistant" else m for m in asked]
    *before, last = _prompt_text(tokenizer, marked).split(mark)
    pieces = [re.escape(piece.removesuffix(lead)) for piece in before] + [re.escape(last)]
    found = [re.fullmatch(some.join(pieces), text, re.DOTALL) for some in ("(.*?)", "(.*)")]
    spans = [[m.span(i + 1) for i in range(len(before))] for m in found if m]
    is_as_known = all(piece.endswith(lead) for piece in before) and all(
        piece.startswith(end) for piece in [*before[1:], last]
    )
    if not is_as_known or len(spans) < 2 or spans[0] != spans[1]:
        raise _refusal(tokenizer, "does not show where the earlier answers begin and end")
    return [(start, stop + len(end)) for start, stop in spans[0]]


def _count_before(tokenizer, known, beginning, ids):
    """Return how many of `ids` it takes to spell their text's beginning, which comes after `known`."""
    before = _encode_after(tokenizer, known, beginning) if known else _encode(tokenizer, beginning)
    same = count = _common_length(ids, before)
    # A token that reaches over the edge belongs to the beginning.
    missing = len(tokenizer.decode(before[same:]))
    while count < len(ids) and len(tokenizer.decode(ids[same:count])) < missing:
        count += 1
    return count


def _inner_labels(tokenizer, form, asked, text, ids):
    """Return the labels of a prompt: its earlier answers, as the template writes them by now."""
    labels = [-100] * len(ids)
    if not any(m["role"] == "assistant" for m in asked):
        return labels
    place = count = 0
    for span in _inner_answers(tokenizer, form, asked, text):
        known, rest = form.inner_end if place else "", ids[count:]
        counts = [_count_before(tokenizer, known, text[place:cut], rest) for cut in span]
        start, stop = (count + more for more in counts)
        labels[start:stop] = ids[start:stop]
        if form.inner_end:  # no token reaches over a special one
            place, count = span[1], stop
    return labels


def encode_prompt(tokenizer, messages, limits):
    """Return the ids that the model sees before it answers, special tokens included.

    With a chat template, the dialogue as it writes it, up to where an answer begins; if it ends
    with something that an answered one does not have (a `<think>`), up to there. Without one, the
    special tokens that the tokenizer puts before any text, and then this plain format, each
    earlier round in full and the last one open:

        ### System:
        {content}

        ### User:
        {content}

        ### Assistant:
        {content}

        ### User:
        {content}

        ### Assistant:

    What is too long loses its oldest rounds, then the last question loses its end, until the whole
    fits. Tokens are not simply cut off: the last ones tell the model that it is to answer.

    Args:
        tokenizer: the model's.
        messages: {"role", "content"} each: a system's, if any, then user's and assistant's in
            turn, the user's last.
        limits: has `max_source_length`, the most ids to return.

    Raises:
        UserError: the limit leaves no room for any text of the question, or the chat template
            refuses the dialogue, or leaves out a part of it.
    """
    return _fit(tokenizer, messages, limits.max_source_length)[2]


def stop_ids(tokenizer):
    """Return the ids that end an answer: the first that `encode_pair` teaches, and end of text."""
    end = _form(tokenizer, str(_template(tokenizer)), False).end_ids[0]
    return [i for i in dict.fromkeys([end, tokenizer.eos_token_id]) if i is not None]


def lead_ids(tokenizer):
    """Return the ids that the chat template puts between prompt and answer, which are learnt too."""
    form = _form(tokenizer, str(_template(tokenizer)), False)
    return _encode_after(tokenizer, form.opened, form.lead) if form.lead else []


def encode_pair(tokenizer, messages, limits):
    """Encode one row: the ids of `encode_prompt`, and what the template writes after them.

    The two are encoded apart, so that the model learns to go on from just what prediction gives
    it. That is how the template's whole text is encoded too, except where a token would reach over
    from the prompt into the answer (of two line breaks, say, one on each side).

    An answer ends with the special tokens that the template puts after it; where it puts none,
    with the one that begins the next turn; without any, with the tokenizer's end-of-text token.

    Args:
        tokenizer: the model's.
        messages: as for `encode_prompt`, and then the assistant's answer to learn.
        limits: has `max_source_length`; `max_target_length`, the most ids to learn of the answer
            with all that the template writes around it: of one that is longer the first are kept,
            and its end; and `learn`: "last", or "all" to learn earlier answers too, as the
            template writes them at this point of the dialogue.

    Returns:
        {"input_ids", "attention_mask", "labels"}, each [int] * n; the mask is 1 throughout, for
        padding to be told from text where both are the same token, and labels are -100 where
        nothing is learnt and the input ids elsewhere: the model itself shifts labels by one. And
        {"source_length", "target_length"}, int: what the two limits would have to be to cut
        nothing.

    Raises:
        UserError: as `encode_prompt`, or the answer is blank, has no room, or is not what the
            chat template writes.
    """
    *asked, answer = messages
    if not answer["content"].strip():
        raise UserError(f"the response {answer['content']!r} encodes to no tokens.")
    form = _form_of(tokenizer, messages)
    for _ in range(2):
        kept, text, prompt, length = _fit(tokenizer, asked, limits.max_source_length)
        closed = _render(tokenizer, [*kept, answer], False)
        if closed.startswith(text):
            break  # else once more: some templates write the date, and it may be midnight
    whole = _target_ids(tokenizer, form, text, closed, answer["content"])
    target = _cut_target(tokenizer, form, whole, limits.max_target_length)
    labels = [-100] * len(prompt)
    if limits.learn == "all":
        labels = _inner_labels(tokenizer, form, kept, text, prompt)
    return {
        "input_ids": prompt + target,
        "attention_mask": [1] * len(prompt + target),
        "labels": labels + target,
        "source_length": length,
        "target_length": len(whole),
    }

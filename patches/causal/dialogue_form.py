"""What a tokenizer's chat template writes around an answer, or the plain format without one."""

import collections
import functools
import itertools
import re

from user_error import UserError

# Stand for texts, to see what a template puts around them: here no user's text is near.
SYSTEM, QUESTION, ANSWER = "(system)", "(question)", "(answer)"

_Form = collections.namedtuple(
    "_Form", "opened dropped lead lead_length after end end_ids inner_lead inner_end"
)


def _template(tokenizer):
    # Releases before chat templates have neither the method nor the attribute.
    has_method = hasattr(tokenizer, "apply_chat_template")
    return getattr(tokenizer, "chat_template", None) if has_method else None


def _refusal(tokenizer, what):
    return UserError(f"the chat template of {type(tokenizer).__name__} {what}.")


def _render(tokenizer, messages, is_open):
    """Return a dialogue as text; open, it ends where an answer begins.

    Raises:
        UserError: the chat template refuses it, whatever its code raises.
    """
    if not _template(tokenizer):
        rounds = [f"### {m['role'].title()}:\n{m['content']}\n\n" for m in messages]
        return "".join(rounds) + ("### Assistant:\n" if is_open else "")
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=is_open
        )
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise _refusal(tokenizer, f"refuses this dialogue: {said}") from error


def _encode(tokenizer, text):
    """Return the ids of a dialogue's beginning."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if _template(tokenizer):
        return ids  # templates write the special tokens themselves, the first one included
    # The special tokens that the tokenizer itself puts before a text, such as `<s>`.
    whole, bare = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    starts = (i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[: next(starts, 0)] + ids


@functools.lru_cache(maxsize=64)
def _known_ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def _encode_after(tokenizer, before, text):
    """Return the ids of `text` as what comes after `before`, which is encoded already.

    Some tokenizers put a space before any text that they are given, so it is not given alone; but
    no token reaches over where the two meet, since the model is to go on from there.
    """
    for other in (before, "a") if _template(tokenizer) else ():
        known = _known_ids(tokenizer, other)
        ids = tokenizer.encode(other + text, add_special_tokens=False)
        if ids[: len(known)] == known:
            return ids[len(known) :]
    return tokenizer.encode(text, add_special_tokens=False)


def _special_tokens(tokenizer):
    """Return {text: id} of what the tokenizer never splits; blanks among it end nothing."""
    named = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids)
    known = {**tokenizer.get_added_vocab(), **dict(named)}
    return {text: i for text, i in known.items() if text.replace("▁", " ").strip()}


def _pattern(texts):
    return "|".join(re.escape(t) for t in sorted(texts, key=lambda t: (-len(t), t))) or "(?!)"


def _common_length(one, other):
    if one[: len(other)] == other:
        return len(other)
    pairs = enumerate(zip(one, other))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _agreement(one, other, special):
    """Return how far two texts agree; of two tokens or tags not the part they have in common."""
    length = _common_length(one, other)
    for text in (one, other):
        for found in re.finditer(f"{_pattern(special)}|<[^<>]*>", text):
            if found.start() < length < found.end():
                length = found.start()
    return length


def _ending(after, special, most):
    """Return the beginning of `after` up to its first special tokens, at most `most`; "" if none."""
    found = re.match(f"(?s:.*?)(?:{_pattern(special)}){{1,{most or 1}}}", after)
    return found[0] if found else ""


def _placeholders(has_system, *contents):
    roles = itertools.chain(["system"] * has_system, itertools.cycle(["user", "assistant"]))
    contents = [*[SYSTEM] * has_system, *contents]
    return [{"role": role, "content": content} for role, content in zip(roles, contents)]


@functools.lru_cache(maxsize=16)
def _form(tokenizer, template, has_system):
    """Return what the template puts around an answer, seen from dialogues of placeholders.

    Args:
        template: a text that changes with it, for the cache.
        has_system: whether the dialogues begin with a system's message.

    Returns:
        opened: from a question's end to that of the prompt;
        dropped: what an open dialogue goes on with that a closed one does not;
        lead: from the prompt's end to the answer (an empty think block, say), and lead_length;
        after: from the answer to the dialogue's end;
        end: as much of that as is learnt, or what begins the next turn;
        end_ids: the special tokens in it, or the tokenizer's end-of-text token;
        inner_lead, inner_end: lead and end of an answer that a question follows; None, where the
        template leaves it out.

    Raises:
        UserError: a text is left out or written twice, or there is no token to end an answer.
    """
    dialogue = functools.partial(_placeholders, has_system)
    asked = _render(tokenizer, dialogue(QUESTION), True)
    closed = _render(tokenizer, dialogue(QUESTION, ANSWER), False)
    again = _render(tokenizer, dialogue(QUESTION, ANSWER, QUESTION), True)
    for text, who in ((QUESTION, "user"), *[(SYSTEM, "system")] * has_system):
        if text not in asked:
            raise _refusal(tokenizer, f"leaves out what the {who} says")
    if closed.count(ANSWER) != 1:
        raise _refusal(tokenizer, "leaves out an answer that ends a dialogue, or repeats it")
    special = _special_tokens(tokenizer)
    start, question_end = _agreement(asked, closed, special), asked.rindex(QUESTION) + len(QUESTION)
    if start < question_end:
        raise _refusal(tokenizer, "writes a question otherwise once it is answered")
    opened, (before, after) = asked[question_end:start], closed.split(ANSWER)
    inner, _, following = again.partition(ANSWER)
    following = following.partition(QUESTION)[0]
    end, turn = _ending(after, special, len(special)), _ending(following, special, 1)
    if not end and turn.strip() in special:
        end = turn
    end_ids = [special[text] for text in re.findall(_pattern(special), end)]
    if not end and tokenizer.eos_token_id is None:
        raise UserError(
            f"{type(tokenizer).__name__} has no end-of-text token to end an answer with: set its "
            "eos_token."
        )
    return _Form(
        opened=opened,
        dropped=asked[start:],
        lead=before[start:],
        lead_length=len(_encode_after(tokenizer, opened, before[start:])),
        after=after,
        end=end,
        end_ids=end_ids or [tokenizer.eos_token_id],
        inner_lead=inner[_agreement(asked, inner, special) :] if ANSWER in again else None,
        inner_end=_ending(following, special, len(end_ids)) if end else "",
    )


def _form_of(tokenizer, messages):
    return _form(tokenizer, str(_template(tokenizer)), messages[0]["role"] == "system")


def _prompt_text(tokenizer, messages):
    """Return the text that the model sees before it answers, the beginning of the closed one."""
    form, text = _form_of(tokenizer, messages), _render(tokenizer, messages, True)
    if not text.endswith(form.opened + form.dropped):
        raise _refusal(tokenizer, "asks for the answer of this dialogue otherwise than of others")
    for message in messages:
        if message["role"] == "assistant":
            if form.inner_lead is None:
                raise _refusal(tokenizer, "leaves out earlier answers")
        elif message["content"].strip() not in text:
            raise _refusal(tokenizer, f"leaves out or changes what the {message['role']} says")
    return text[: len(text) - len(form.dropped)]

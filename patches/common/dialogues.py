"""What a row of the data says, as the messages of a dialogue."""

from json_rows import NotText, RepeatedKeys, parse_json, show_value
from user_error import UserError

# What other people's data calls who speaks: OpenAI's names, and ShareGPT's.
SPEAKERS = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


def _bad_value(expected, found):
    """Return the error for a cell that holds something else than `expected`."""
    kinds = {
        dict: "an object ",
        RepeatedKeys: "an object ",
        list: "a list ",
        bool: "true or false ",
        NotText: "",
    }
    kind = kinds.get(type(found), f"{type(found).__name__} ")
    return UserError(f"expected {expected}, found {kind}{show_value(found)}.")


def _read_text(value):
    """Return `value` as it is if it is text, "" for a missing one.

    Whole numbers, which data sets with types have, are what they are written as.
    """
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = ascii(value[error.start])[1:-1]
            raise UserError(f"half a character, {half} without its other half.") from None
        return value
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _bad_value("text", value)
    return str(value)


def _unless_blank(text):
    """Return `text`, "" if it is white space alone."""
    return "" if text.isspace() else text


def _read_list(value, expected):
    """Return a cell's list, out of its JSON text where it is one; [] where there is none."""
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = parse_json(value)
        except ValueError as error:
            raise UserError(f"expected JSON, found text {value!r:.80}: {error}") from None
    if value is None:
        return []
    lists = list(value.values()) if type(value) is dict else []
    if all(isinstance(v, list) for v in lists) and len(set(map(len, lists))) == 1:
        # Some releases of datasets turn a list of objects into an object of lists.
        value = [dict(zip(value, items)) for items in zip(*lists)]
    if not isinstance(value, (list, tuple)):
        raise _bad_value(expected, value)
    return value


def _read_message(value):
    """Return {"role", "content"} of a message in OpenAI's form or ShareGPT's (`from`, `value`)."""
    if not isinstance(value, dict):
        raise _bad_value("a message with a role and a content", value)
    if isinstance(value, RepeatedKeys):
        raise UserError(f"a message has {sorted(value.repeated)[0]!r} twice.")
    who, what = ("role", "content") if "role" in value else ("from", "value")
    role = value.get(who)
    if not isinstance(role, str) or role not in SPEAKERS:
        known = ", ".join(SPEAKERS)
        raise UserError(f"expected a message by one of {known}, found {who} {show_value(role)}.")
    if value.get(what) is None:
        raise UserError(f"the {SPEAKERS[role]}'s message has no {what}.")
    return {"role": SPEAKERS[role], "content": _read_text(value[what])}


def _check_turns(messages):
    """Raise UserError unless user and assistant take turns, the user first, after any system."""
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    for number, message in enumerate(turns):
        expected = ("user", "assistant")[number % 2]
        if message["role"] != expected:
            place = len(messages) - len(turns) + number + 1
            raise UserError(
                f"message {place} is the {message['role']}'s where the {expected}'s turn is: user and "
                "assistant must take turns, after at most one system message."
            )


def _read_messages(value):
    """Return a cell's dialogue, [] for none."""
    messages = [_read_message(item) for item in _read_list(value, "a list of messages")]
    _check_turns(messages)
    return messages


def _read_history(value):
    """Return the earlier rounds, out of pairs of texts or messages, as messages; [] for none."""
    items = _read_list(value, "a list of [prompt, response] pairs")
    if any(isinstance(item, dict) for item in items):
        messages = _read_messages(items)
        if messages and messages[-1]["role"] != "assistant":
            raise UserError("the last round of the history has no answer.")
        return messages
    messages = []
    for pair in items:
        # A text of two letters would unpack as well.
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or None in pair:
            raise _bad_value("a [prompt, response] pair", pair)
        for role, text in zip(("user", "assistant"), pair):
            messages.append({"role": role, "content": _read_text(text)})
    return messages


def _read_cell(row, name, read):
    """Return what `read` makes of a row's cell; an error says in which column."""
    try:
        if type(row) is RepeatedKeys and name in row.repeated:
            raise UserError("it stands more than once.")
        return read(row.get(name))
    except UserError as error:
        raise UserError(f"column {name!r}: {error}") from None


def read_dialogue(row, columns, answered=True):
    """Return what one row of the data says.

    Args:
        row: {column: value}, with more columns than are needed or with fewer.
        columns: {"prompt": list of names, "response": name, "history": name or None,
            "messages": name or None}; a messages column takes the place of the others.
        answered: whether the last message must be an answer, where there is a messages column.

    Returns:
        (history, prompt, response): what comes before the prompt, a list of {"role", "content"},
        at most one "system" and then "user" and "assistant" in turn; two texts as they stand in
        the data, "" for blank or missing ones.

    Raises:
        UserError: a value of another kind; says in which column.
    """
    if columns["messages"]:
        messages = _read_cell(row, columns["messages"], _read_messages)
        prompt = response = ""
        if messages and messages[-1]["role"] == "assistant":
            response = messages.pop()["content"]
        elif messages and answered:
            raise UserError(f"column {columns['messages']!r}: the last message is no answer.")
        if messages and messages[-1]["role"] == "user":
            prompt = messages.pop()["content"]
        return messages, _unless_blank(prompt), _unless_blank(response)
    texts = [_unless_blank(_read_cell(row, name, _read_text)) for name in columns["prompt"]]
    prompt = texts[0] if len(texts) == 1 else "\n".join(filter(None, texts))
    response = _unless_blank(_read_cell(row, columns["response"], _read_text))
    history = columns["history"] and _read_cell(row, columns["history"], _read_history)
    return history or [], prompt, response


def as_messages(history, prompt, response=None):
    """Return a dialogue's messages, up to the question or, where it is given, the answer."""
    asked = [*history, {"role": "user", "content": prompt}]
    return asked if response is None else [*asked, {"role": "assistant", "content": response}]


def used_columns(columns):
    """Return the names of the columns that `read_dialogue` looks at."""
    if columns["messages"]:
        return [columns["messages"]]
    history = [columns["history"]] if columns["history"] else []
    return [*columns["prompt"], columns["response"], *history]

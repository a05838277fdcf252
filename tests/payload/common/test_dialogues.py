"""What a row says, whatever form its cells have."""

import json

import dialogues
import pytest
from json_rows import NotText, RepeatedKeys, parse_json

COLUMNS = {"prompt": ["p"], "response": "r", "history": "h", "messages": None}
MESSAGES = {"prompt": ["p"], "response": "r", "history": None, "messages": "m"}


def message(role, content):
    return {"role": role, "content": content}


def user(content):
    return message("user", content)


def assistant(content):
    return message("assistant", content)


def read(row, columns=COLUMNS, **more):
    return dialogues.read_dialogue(row, columns, **more)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (" a \n", " a \n"),
        ("1.50", "1.50"),
        (7, "7"),
        ("\0", "\0"),
        ("\ufeff", "\ufeff"),
        ("", ""),
        (" \t\r\n\u3000\u2028", ""),
        (None, ""),
    ],
)
def test_texts(value, text):
    assert read({"p": value, "r": "x"}) == ([], text, "x")
    assert read({"p": "x", "r": value}) == ([], "x", text)


BAD_TEXTS = [
    (True, "expected text, found true or false True."),
    (1.5, "expected text, found float 1.5."),
    ({"x": "1"}, "expected text, found an object {'x': '1'}."),
    (RepeatedKeys([("x", 1), ("x", 2)]), "expected text, found an object {'x': 2}."),
    (["a"], "expected text, found a list ['a']."),
    (NotText("NaN"), "expected text, found NaN."),
    ("a\ud83d", r"half a character, \ud83d without its other half."),
]


@pytest.mark.parametrize(("value", "said"), BAD_TEXTS)
@pytest.mark.parametrize("column", ["p", "r"])
def test_what_is_no_text(column, value, said):
    with pytest.raises(ValueError) as error:
        read({"p": "a", "r": "b", column: value})
    assert str(error.value) == f"column {column!r}: {said}"


def test_only_used_columns_count():
    row = RepeatedKeys([("p", "a"), ("r", "b"), ("x", NotText("NaN")), ("x", "\ud83d")])
    assert read(row) == ([], "a", "b")
    assert read({}) == ([], "", "")
    for column in "prh":
        row = RepeatedKeys([("p", "a"), ("r", "b"), ("h", ""), (column, "")])
        with pytest.raises(ValueError, match=f"column '{column}': it stands more than once."):
            read(row)


@pytest.mark.parametrize(
    ("cells", "prompt"),
    [(("a", "b"), "a\nb"), (("a", " "), "a"), ((None, " b"), " b"), (("", ""), ""), (("a\n", "b"), "a\n\nb")],
)  # fmt: skip
def test_several_prompt_columns(cells, prompt):
    row = {"q": cells[0], "i": cells[1], "r": "x"}
    assert read(row, {**COLUMNS, "prompt": ["q", "i"]}) == ([], prompt, "x")


ROUND = [user("q"), assistant(" a ")]


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ([["q", " a "]], ROUND),
        ([("q", " a ")], ROUND),
        ([["q", " a "], ["", " "]], [*ROUND, user(""), assistant(" ")]),
        ([["q", "1.50"]], [user("q"), assistant("1.50")]),
        (ROUND, ROUND),
        ([{"from": "human", "value": "q"}, {"from": "gpt", "value": " a "}], ROUND),
        ([message("system", "s"), *ROUND], [message("system", "s"), *ROUND]),
        ({"role": ["user", "assistant"], "content": ["q", " a "]}, ROUND),
        ('[["q", " a "]]', ROUND),
        ('[["q", 1.50]]', [user("q"), assistant("1.50")]),
        (json.dumps(ROUND), ROUND),
        ([], []),
        ("[]", []),
        ("", []),
        (" \n", []),
        ("null", []),
        (None, []),
        ({"role": [], "content": []}, []),
    ],
)
def test_histories(value, messages):
    assert read({"p": "x", "r": "y", "h": value}) == (messages, "x", "y")


DEEP = "[" * 100_000 + "]" * 100_000
PAIR = r"expected a [prompt, response] pair, found "


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["ab"], PAIR + "str 'ab'."),
        ([["a"]], PAIR + "a list ['a']."),
        ([["a", "b", "c"]], PAIR),
        ([["a", None]], PAIR),
        ([["a", "b"], None], PAIR),
        ([["a", True]], "expected text, found true or false True."),
        ([["a", ["b"]]], "expected text, found a list ['b']."),
        ([["a", "\udc00"]], "half a character"),
        ('[["a", "\\ud83d"]]', "half a character"),
        ('[["a", NaN]]', "expected text, found NaN."),
        ("none", "expected JSON, found text 'none': Expecting value"),
        ('[["a", "b"]', "expected JSON, found text"),
        (DEEP, "expected JSON, found text '[[["),
        ('"[]"', "expected a list of [prompt, response] pairs, found str '[]'."),
        (7, "expected a list of [prompt, response] pairs, found int 7."),
        ({}, "expected a list of [prompt, response] pairs, found an object {}."),
        ({"role": ["user", "assistant"], "content": ["q"]}, "expected a list of"),
        (RepeatedKeys([("a", []), ("a", [])]), "expected a list of"),
        ([user("q")], "the last round of the history has no answer."),
        ([ROUND[0], ["q", "a"]], "expected a message with a role and a content, found a list"),
    ],
)
def test_wrong_histories(value, said):
    with pytest.raises(ValueError) as error:
        read({"p": "x", "r": "y", "h": value})
    assert str(error.value).startswith(f"column 'h': {said}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([user("q"), assistant("a")], ([], "q", "a")),
        ([user(" q "), assistant(" a ")], ([], " q ", " a ")),
        ([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], ([], "q", "a")),
        ([message("system", "s"), *ROUND, user("q"), assistant("a")],
         ([message("system", "s"), *ROUND], "q", "a")),
        ([{**user("q"), "id": 3, "weight": None}, assistant("a")], ([], "q", "a")),
        ([user(" "), assistant("a")], ([], "", "a")),
        ([user("q"), assistant("\n")], ([], "q", "")),
        ([], ([], "", "")),
        ("", ([], "", "")),
        (None, ([], "", "")),
        (json.dumps([user("q"), assistant("a")]), ([], "q", "a")),
    ],
)  # fmt: skip
def test_messages(value, found):
    assert read({"m": value, "p": "other", "r": True}, MESSAGES) == found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([user("q")], "the last message is no answer."),
        ([message("system", "s")], "the last message is no answer."),
        ([assistant("a")], "message 1 is the assistant's where the user's turn is"),
        ([user("a"), user("b"), assistant("c")], "message 2 is the user's where the assistant's"),
        ([message("system", "s"), assistant("a")], "message 2 is the assistant's"),
        ([*ROUND, message("system", "s"), *ROUND], "message 3 is the system's"),
        ([message("system", "s")] * 2 + ROUND, "message 2 is the system's"),
        ([message("tool", "x")], "expected a message by one of system, user, human, assistant, gpt, found role 'tool'."),
        ([{"from": "bing", "value": "x"}], "expected a message by one of"),
        ([{"text": "x"}], "expected a message by one of"),
        ([{"role": ["user"], "content": "x"}], "expected a message by one of"),
        ([{"role": "user", "value": "x"}], "the user's message has no content."),
        ([user("q"), {"role": "assistant", "content": None}], "the assistant's message has no content."),
        ([user("q"), assistant(["a"])], "expected text, found a list ['a']."),
        ([user("q"), assistant(False)], "expected text, found true or false False."),
        (["q", "a"], "expected a message with a role and a content, found str 'q'."),
        (user("q"), "expected a list of messages, found an object"),
        ([RepeatedKeys([("role", "user"), ("content", "a"), ("content", "b")])], "a message has 'content' twice."),
        ("[{]", "expected JSON, found text '[{]'"),
    ],
)  # fmt: skip
def test_wrong_messages(value, said):
    with pytest.raises(ValueError) as error:
        read({"m": value}, MESSAGES)
    assert str(error.value).startswith(f"column 'm': {said}")


def test_a_question_to_answer():
    assert read({"m": [user("q")]}, MESSAGES, answered=False) == ([], "q", "")
    known = [*ROUND, user("q"), assistant("a")]
    assert read({"m": known}, MESSAGES, answered=False) == (ROUND, "q", "a")


@pytest.mark.parametrize("column", ["p", "h", "m"])
def test_a_value_as_deep_as_it_can_be_read(column):
    """Showing it must not go deeper than reading it did."""
    for depth in range(850, 1000, 3):
        try:
            value = parse_json("[" * depth + "]" * depth)
        except ValueError:
            break
        with pytest.raises(ValueError, match="expected"):
            read({column: value}, MESSAGES if column == "m" else COLUMNS)
    else:
        pytest.fail("nothing was too deep")


def test_as_messages():
    assert dialogues.as_messages(ROUND, "q") == [*ROUND, user("q")]
    assert dialogues.as_messages([], "q", "a") == [user("q"), assistant("a")]


def test_used_columns():
    assert dialogues.used_columns(COLUMNS) == ["p", "r", "h"]
    assert dialogues.used_columns({**COLUMNS, "history": None}) == ["p", "r"]
    assert dialogues.used_columns(MESSAGES) == ["m"]

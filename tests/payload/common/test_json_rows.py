"""JSON files, object by object; numbers stay as they are spelled."""

import io
import json
import tracemalloc

import json_rows
import pytest
from json_rows import JSON_CHUNK, RepeatedKeys, parse_json, show_value


def rows(text):
    data = text if isinstance(text, bytes) else text.encode()
    return list(json_rows.json_rows(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("\ufeff", []),
        (" \r\n\t\n", []),
        ("[]", []),
        ("[ ]\n[\n]\n", []),
        ('{"a":1}\n{"a":2}\n', [1, 2]),
        ('{"a":1}\n{"a":2}', [1, 2]),
        ('\ufeff{"a":1}\r\n\r\n\r\n{"a":2}\r\n', [1, 4]),
        ('{"a":1}{"a":2} {"a":3}', [1, 1, 1]),
        ('\n\n{\n  "a": 1\n}\n\n{\n  "a": 2\n}\n', [3, 7]),
        ('[{"a":1},{"a":2}]', [1, 1]),
        ('[\n  {\n    "a": 1\n  },\n\n  {"a": 2}\n]\n', [2, 6]),
        ('[{"a":1}]\n{"a":2}\n[{"a":3}]', [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, JSON_CHUNK])
def test_layouts(monkeypatch, text, lines, chunk):
    monkeypatch.setattr(json_rows, "JSON_CHUNK", chunk)
    assert rows(text) == [(line, {"a": str(n)}) for n, line in enumerate(lines, start=1)]


@pytest.mark.parametrize(
    "number", ["0", "-0", "1.50", "1e5", "1E+05", "-0.10", "123456789012345678901234567890"]
)
def test_numbers_are_what_spells_them(number):
    assert rows(f'{{"a": {number}, "b": [{number}]}}') == [(1, {"a": number, "b": [number]})]


@pytest.mark.parametrize("chunk", range(1, 24))
def test_borders_of_chunks_leave_no_trace(monkeypatch, chunk):
    """They come inside characters, escapes, numbers and words of every kind."""
    row = {"é€😀": '\u2028😀é\\"', "n": [True, False, None, {"x": "-Inf"}], "e": "😀"}
    text = json.dumps(row).replace('"-Inf"', '-Infinity, "y": 12.50e+10, "z": -7') + "\n"
    text += json.dumps(row, ensure_ascii=False, indent=1).replace('"-Inf"', "-12.50e-10") + "\n"
    whole = repr(rows(text))
    assert "12.50e+10" in whole
    assert "-Infinity" in whole
    monkeypatch.setattr(json_rows, "JSON_CHUNK", chunk)
    assert repr(rows(text)) == whole


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: not JSON: "),
        ('{"a": 1}\n\n\n{"a": }\n', "line 4: not JSON: Expecting value: '}"),
        ('{"a": 1}\r\n{"a": "x}\r\n{"a": 2}\r\n', "line 2: not JSON: "),
        ('[\n{"a": 1},\n{"a": 1\n "b": 2}\n]', "line 4: not JSON: Expecting ',' delimiter"),
        ('{\n"a": "x\ny"}', "line 2: not JSON: Invalid control character"),
        ('{"a": "x\0y"}', "line 1: not JSON: Invalid control character"),
        ('[{"a": 1}\n', "line 2: not JSON: an array that is not closed."),
        ('[{"a": 1}\n{"a": 2}]', "line 2: not JSON: an array that is not closed."),
        ('[{"a": 1},\n]', "line 2: not JSON: Expecting value"),
        ('{"a": 1},\n{"a": 2}', "line 1: not JSON: Expecting value"),
        ("prompt,response\na,b\n", "line 1: not JSON: Expecting value: 'prompt,"),
        ('{"a": tru', "line 1: not JSON: Expecting value"),
        ('{"a": "\\u12', "line 1: not JSON: "),
        ('\n{"a": ' + DEEP + "}", "line 2: nested too deep."),
        ("\n" + DEEP, "line 2: nested too deep."),
        ('{"a": ' + "[" * 100_000, "line 1: nested too deep."),
    ],
)
@pytest.mark.parametrize("chunk", [5, JSON_CHUNK])
def test_errors_name_the_line(monkeypatch, text, said, chunk):
    monkeypatch.setattr(json_rows, "JSON_CHUNK", chunk)
    with pytest.raises(ValueError) as error:
        rows(text)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_rows_before_an_error_come_first():
    found = json_rows.json_rows(io.BytesIO(b'{"a": 1}\n{"a": 2}\n{a'))
    assert [next(found), next(found)] == [(1, {"a": "1"}), (2, {"a": "2"})]
    with pytest.raises(ValueError, match="line 3"):
        next(found)


@pytest.mark.parametrize("data", [b'{"a": "\xff"}', b'{"a": 1}\n{"b": "\xe4\xbd', b"\xff\xfe{\0"])
def test_what_is_not_utf8(data):
    with pytest.raises(UnicodeDecodeError):
        rows(data)


def test_an_array_on_one_line_is_not_held_whole():
    class File:
        """200 MB that are made while they are read."""

        blocks = iter([b"[", *[b'{"a": "' + b"x" * (1 << 20) + b'"},'] * 200, b'{"a": "b"}]'])

        def read(self, size):
            return next(self.blocks, b"")

    tracemalloc.start()
    number = sum(1 for _ in json_rows.json_rows(File()))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 201
    assert most < 20 << 20


def test_a_value_of_many_chunks():
    value = "é😀" * JSON_CHUNK
    assert rows(json.dumps([{"a": value}, {"a": "b"}], ensure_ascii=False)) == [
        (1, {"a": value}),
        (1, {"a": "b"}),
    ]


def test_repeated_keys():
    [(_, row)] = rows('{"a": 1, "b": 2, "a": 3, "c": {"d": 1, "d": 2}}')
    assert type(row) is RepeatedKeys and row.repeated == {"a"}
    assert row["c"].repeated == {"d"}
    [(_, row)] = rows('{"a": 1, "b": 2}')
    assert type(row) is dict
    many = ", ".join(f'"{n}": 1' for n in range(100_000))  # not compared each with each
    [(_, row)] = rows(f'{{{many}, "7": 1}}')
    assert row.repeated == {"7"}


def test_words_that_are_not_json_are_no_text():
    [(_, row)] = rows('{"a": NaN, "b": [-Infinity]}')
    assert not isinstance(row["a"], (str, float))
    assert repr(row) == "{'a': NaN, 'b': [-Infinity]}"


def test_parse_json():
    assert parse_json(' [["a", 1.50], null] ') == [["a", "1.50"], None]
    for text, said in (
        ("[", "Expecting value"),
        ("[] []", "Extra data"),
        (DEEP, "nested too deep"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_json(text)


def test_show_value():
    assert show_value({"a": ["1"]}) == "{'a': ['1']}"
    assert show_value("x" * 200) == "'" + "x" * 79
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert show_value(deep) == "one that is nested too deep"

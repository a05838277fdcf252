"""csv files: every cell is the text that stands in it."""

import io

import csv_rows
import pytest
from json_rows import RepeatedKeys


def rows(text):
    return list(csv_rows.csv_rows(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "cell",
    ["010", "1.50", "1e5", "NA", "null", "None", "nan", "True", "2023-05-01", " a ", "\t", "0"]
    + ['"a, b"', '"a ""b"" c"', '"a\nb"', '"a\r\nb\rc"', '" "', '"\n"', 'a"b', "a'b", "#a", "\\n"]
    + ["\u2028\x0b\x0c\x1c\x85", "\ufeff", "😀\u202e"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_cells(cell, end):
    text = cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
    [(_, row)] = rows(f"a,b{end}{cell},1{end}")
    assert row == {"a": text, "b": "1"}
    [(_, row)] = rows(f"a,b{end}2,{cell}")  # nothing after the last row
    assert row == {"a": "2", "b": text}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n\r\n\n", []),
        ("a,b\n", []),
        ("\n\na,b\n\n1,2\n\n\n3,4\n", [(5, {"a": "1", "b": "2"}), (8, {"a": "3", "b": "4"})]),
        ('a,b\n"1\n1",2\n3,4\n', [(2, {"a": "1\n1", "b": "2"}), (4, {"a": "3", "b": "4"})]),
        ('"a","b, c"\n1,2\n', [(2, {"a": "1", "b, c": "2"})]),
        ('"a\nb"\n1\n', [(3, {"a\nb": "1"})]),
        ("a,b,c\n1\n,2\n,,\n", [(2, {"a": "1"}), (3, {"a": "", "b": "2"}), (4, dict.fromkeys("abc", ""))]),
        ('a\n""\n', [(2, {"a": ""})]),
        ("a,,\n1,2,\n", [(2, {"a": "1", "": ""})]),
    ],
)  # fmt: skip
def test_layouts(text, found):
    assert rows(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n\n1,2,3\n", "line 4: 3 cells under 2 columns"),
        ('a,b\n"1\n1",2\n1,2,3\n', "line 4: 3 cells under 2 columns"),
        ('a,b\n1,2\n1,"2\n3,4\n', "line 3: not csv: unexpected end of data"),
        ('a,b\n1,2\n1,"2"3\n', "line 3: not csv: "),
        ('a,b\n"1\n1",2\n\n"1"1,2\n', "line 5: not csv: "),
    ],
)
def test_errors_name_the_line(text, said):
    with pytest.raises(ValueError) as error:
        rows(text)
    assert str(error.value).startswith(said)


def test_a_nul_byte_is_no_text():
    [(_, first), (_, second)] = rows("a,b\n1,2\0\n3,4\n")
    assert first["a"] == "1" and not isinstance(first["b"], str)
    assert repr(first["b"]) == "a NUL byte"
    assert second == {"a": "3", "b": "4"}


def test_columns_of_one_name():
    [(_, row)] = rows("a,b,a\n1,2,3\n")
    assert type(row) is RepeatedKeys and row.repeated == {"a"}


def test_a_cell_of_ten_megabytes():
    cell = "x" * (10 << 20)
    assert rows(f'a,b\n"{cell}",1\n') == [(2, {"a": cell, "b": "1"})]

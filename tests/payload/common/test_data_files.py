"""Files of rows: which are meant, what is read of them, what is said about the others."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

datasets = pytest.importorskip("datasets")
import data_files
from data_files import ROW_COLUMNS, find_files, read_rows

COLUMNS = {"prompt": ["prompt"], "response": "response", "history": None, "messages": None}
HISTORY = {**COLUMNS, "history": "history"}
GOOD = '{"prompt": "a", "response": "b"}\n'


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def texts(rows):
    return [(row["prompt"], row["response"]) for row in rows]


def read(*files, columns=COLUMNS, **more):
    return read_rows(list(files), columns, "train_file", **more)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a.jsonl", ["a.jsonl"]),
        (" a.jsonl , b.csv,", ["a.jsonl", "b.csv"]),
        ("*.jsonl", ["a.jsonl", "c d.jsonl", "é[1].jsonl"]),
        ("c d.jsonl", ["c d.jsonl"]),
        ("é[1].jsonl", ["é[1].jsonl"]),
        ("x,y.csv", ["x,y.csv"]),
        ("a.jsonl,a.jsonl", ["a.jsonl", "a.jsonl"]),
        ("a.*", ["a.jsonl"]),  # not the folder a.folder
        ("more", ["more/1.csv", "more/deep/2.json.gz"]),
        ("more/**/*.gz", ["more/deep/2.json.gz"]),
        ("./more/../a.jsonl", ["./more/../a.jsonl"]),
        ("~/a.jsonl,~/b.*", ["HOME/a.jsonl", "HOME/b.csv"]),
        ("file:///x/a.jsonl,b.csv", ["file:///x/a.jsonl", "b.csv"]),
    ],
)
def test_find_files(tmp_path, monkeypatch, caplog, given, found):
    for name in ("a.jsonl", "b.csv", "c d.jsonl", "é[1].jsonl", "x,y.csv", "more/1.csv", "a.folder/x",
                 "more/README.md", "more/deep/2.json.gz", "more/.hidden.csv",
                 "more/.ipynb_checkpoints/1.csv"):  # fmt: skip
        write(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_files(given, "train_file") == [f.replace("HOME", str(tmp_path)) for f in found]
    told = ["more: 1 other files are not read, such as more/README.md."]
    assert [r.message for r in caplog.records] == (told if given == "more" else [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "--train_file must not be empty."),
        (" , ", "--train_file must not be empty."),
        ("none.csv", "--train_file: there is no file 'none.csv'."),
        ("a.csv,none.csv", "--train_file: there is no file 'none.csv'."),
        ("folder/*", "--train_file: there is no file 'folder/*'."),
        ("folder", "--train_file: there is no data file in folder 'folder'."),
        ("x" * 5000, "--train_file: there is no file 'xxx"),
        ("a\0b.csv", "--train_file: there is no file 'a"),
    ],
)
def test_files_that_are_not_there(given, said):
    write("a.csv", "")
    write("folder/sub/notes.md", "")
    with pytest.raises(ValueError) as error:
        find_files(given, "train_file")
    assert str(error.value).startswith(said)


def test_a_folder_that_may_not_be_read(monkeypatch):
    """Made up, since these tests may run as root, who may read everything."""
    write("folder/a.csv", "")

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ValueError) as error:
        find_files("folder", "train_file")
    assert str(error.value) == "folder cannot be read: Permission denied."


LAYOUTS = {
    "a.jsonl": GOOD + '\r\n{"response": "010", "prompt": 1.50, "x": [1]}',
    "a.json": '[\n {"prompt": "a",\n  "response": "b"},\n {"prompt": 1.50, "response": "010"}\n]',
    "a.csv": 'prompt,x,response\r\na,,b\r\n"1.50",NA,010\r\n',
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("streaming", [False, True])
def test_kinds_of_files(name, packed, mark, streaming):
    file = write(name + packed, mark + LAYOUTS[name])
    rows = read(file, streaming=streaming)
    assert isinstance(rows, datasets.IterableDataset if streaming else datasets.Dataset)
    assert texts(rows) == [("a", "b"), ("1.50", "010")]
    assert list(rows.features) == list(ROW_COLUMNS)
    lines = {"a.jsonl": (1, 3), "a.json": (2, 4), "a.csv": (2, 3)}[name]
    assert [row["place"] for row in rows] == [
        f"{file}, row {n} (line {line})" for n, line in enumerate(lines, start=1)
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_files_of_all_kinds_together(streaming):
    files = [write(name, content) for name, content in LAYOUTS.items()]
    rows = read(*files, "file://" + os.path.abspath("a.csv"), files[0], streaming=streaming)
    assert texts(rows) == [("a", "b"), ("1.50", "010")] * 5


def test_histories_come_out():
    file = write(
        "a.jsonl",
        '{"prompt": "a", "response": "b", "history": [["😀", " "]]}\n'
        + GOOD
        + '{"prompt": "a", "response": "b", "history": "[]"}\n',
    )
    first, *others = read(file, columns=HISTORY)["history"]
    assert json.loads(first) == [
        {"role": "user", "content": "😀"},
        {"role": "assistant", "content": " "},
    ]
    assert others == ["", ""]


# Name, content, what is said after the file's name.
WRONG = [
    ("a.jsonl", "", " is empty."),
    ("a.jsonl", "\ufeff\r\n", " is empty."),
    ("a.json", "[]", " is empty."),
    ("a.csv", "\ufeff", " is empty."),
    ("a.csv", "prompt,response\n", " is empty."),
    ("a.json.gz", "[]", " is empty."),
    ("a.jsonl", GOOD + "\n\n{", ", line 4: not JSON: "),
    ("a.jsonl.gz", GOOD + "\n\n{", ", line 4: not JSON: "),
    ("a.csv", 'prompt,response\n"a\na",b\na,b,c\n', ", line 4: 3 cells under 2 columns"),
    ("a.csv", 'prompt,response\n\na,"b\n', ", line 3: not csv: unexpected end of data."),
    ("a.csv", 'prompt,response\n"a\n",b\n\na,b\0\n',
     ", row 2 (line 5), column 'response': expected text, found a NUL byte."),
    ("a.csv", 'prompt,response\na,b\n'.encode("utf-16"), ", line 1: not UTF-8 (byte 0xff at position 1)"),
    ("a.jsonl", GOOD.encode() + b'{"prompt": "\xb0\xa1"}', ", line 2: not UTF-8 (byte 0xb0 at position 13)"),
    ("a.jsonl.gz", GOOD.encode() + b'{"prompt": "\xb0\xa1"}', ", line 2: not UTF-8 (byte 0xb0"),
    ("a.csv", b"prompt,response\na,\xb0\xa1\n", ", line 2: not UTF-8 (byte 0xb0 at position 3)"),
    ("a.jsonl", GOOD.encode() + "{\"prompt\": \"é".encode()[:-1], ", line 2: not UTF-8 (byte 0xc3"),
    ("a.jsonl", '["a", "b"]', ", row 1 (line 1): expected an object with columns, found 'a'."),
    ("a.json", '[\n[]]', ", row 1 (line 2): expected an object with columns, found []."),
    ("a.json", 'NaN', ", row 1 (line 1): expected an object with columns, found NaN."),
    ("a.json", '{"prompt": ' + "[" * 10**5, ", line 1: nested too deep."),
    ("a.jsonl", GOOD + '\n{"prompt": true}', ", row 2 (line 3), column 'prompt': expected text, found true or"),
    ("a.json", '[\n{"prompt":\n"a"},\n\n{"response": {}}\n]', ", row 2 (line 5), column 'response': expected text"),
    ("a.jsonl", '{"prompt": "a", "prompt": "b"}', ", row 1 (line 1), column 'prompt': it stands more than once."),
    ("a.csv", "prompt,response,prompt\na,b,c\n", ", row 1 (line 2), column 'prompt': it stands more"),
    ("a.jsonl", '{"prompt": "\\ud83d", "response": "b"}', ", row 1 (line 1), column 'prompt': half a character"),
    ("a.jsonl", '{"prompt": "a", "answer": "b"}', " has no column 'response'; its columns are: prompt, answer."),
    ("a.csv", '"prompt";"response"\n"a";"b"\n', ", line 1: not csv: "),
    ("a.csv", "prompt;response\na;b\n", " has no column 'prompt'; its columns are: prompt;response."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), WRONG)
@pytest.mark.parametrize("streaming", [False, True])
def test_errors_name_the_place(name, content, said, streaming):
    good, file = write("good.jsonl", GOOD), write(name, content)
    with pytest.raises(ValueError) as error:
        list(read(good, file, streaming=streaming))
    assert str(error.value).startswith(file + said)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(monkeypatch):
    Path("a.jsonl.gz").write_bytes(gzip.compress(GOOD.encode() * 99)[:-9])
    with pytest.raises(ValueError, match=r"^a.jsonl.gz is no whole gzip file: "):
        read("a.jsonl.gz")
    Path("b.jsonl.gz").write_text(GOOD)
    with pytest.raises(ValueError, match=r"^b.jsonl.gz is no whole gzip file: Not a gzip"):
        read("b.jsonl.gz")
    broken = bytearray(gzip.compress(os.urandom(5000)))
    broken[2000] ^= 0xFF
    Path("c.csv.gz").write_bytes(broken)
    with pytest.raises(ValueError, match=r"^c.csv.gz"):
        read("c.csv.gz")
    with pytest.raises(ValueError, match=r"^gone.csv cannot be read: No such file or directory\.$"):
        read("gone.csv")
    with pytest.raises(ValueError, match=r"^file:///gone.csv cannot be read: No such file"):
        read("file:///gone.csv")
    with pytest.raises(ValueError, match=r"^nowhere://a.csv cannot be read: Protocol not known"):
        read("nowhere://a.csv")


def test_only_used_columns_count():
    """Others may be missing or of any type, in any row."""
    write("a.jsonl", GOOD + '{"x": true, "prompt": "a", "response": "b", "y": {"z": [NaN]}}\n')
    write("b.json", '[{"prompt": "a", "y": "\\ud83d", "response": "b"}]')
    write("c.csv", "x,prompt,x,response\n\0,a,2023-01-01,b\n")
    assert texts(read("a.jsonl", "b.json", "c.csv")) == [("a", "b")] * 4


def test_a_column_may_be_missing_in_rows_but_not_in_a_file():
    write("a.jsonl", GOOD + '{"prompt": "a"}\n' + GOOD)
    write("b.jsonl", '{"prompt": "a"}\n')
    assert texts(read("a.jsonl")) == [("a", "b"), ("a", ""), ("a", "b")]
    with pytest.raises(ValueError, match="^b.jsonl has no column 'response'"):
        read("a.jsonl", "b.jsonl")
    assert texts(read("b.jsonl", answered=False)) == [("a", "")]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_history_may_be_missing_in_files_but_not_in_all(streaming):
    write("a.jsonl", GOOD)
    write("b.csv", 'prompt,response,history\na,b,"[[""c"", ""d""]]"\n')
    rows = read("a.jsonl", "b.csv", columns=HISTORY, streaming=streaming)
    assert [bool(row["history"]) for row in rows] == [False, True]
    with pytest.raises(ValueError) as error:
        read("a.jsonl", columns=HISTORY, streaming=streaming)
    assert str(error.value) == (
        "--train_file has no column 'history'; its columns are: prompt, response."
    )


def test_a_long_stream_without_a_history_is_told(caplog):
    write("a.jsonl", GOOD * 1000)
    assert len(list(read("a.jsonl", columns=HISTORY, streaming=True))) == 1000
    assert [r.message for r in caplog.records] == [
        "--train_file, in its first 1000 rows, has no column 'history'; its columns are: prompt, response."
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_columns_that_are_not_used_are_told_in_one_line(caplog, monkeypatch, streaming):
    write("a.jsonl", GOOD + '{"prompt": "a", "response": "b", "id": 1, "x\\ny": 2}\n')
    write("b.csv", "response,source,prompt\na,b,c\n")
    for _ in range(2):  # found in the cache, it is told again
        read("a.jsonl", "b.csv", streaming=streaming)
    line = "--train_file: columns that are not used: 'id', 'x\\ny', 'source'."
    assert [r.message for r in caplog.records] == [line, line]
    caplog.clear()
    monkeypatch.setenv("RANK", "1")
    read("a.jsonl", "b.csv", streaming=streaming)
    write("c.jsonl", GOOD)
    monkeypatch.setenv("RANK", "0")
    read("c.jsonl", streaming=streaming)
    assert not caplog.records


def test_names_of_files_of_any_kind():
    name = os.fsdecode(b"\xff, \xe4\xbd\xa0 [a]*.jsonl")
    Path(name).write_text(GOOD)
    [row] = read(name)
    assert row["place"] == "\\xff, 你 [a]*.jsonl, row 1 (line 1)"


# The cache.


def cached():
    return sorted(Path(datasets.config.HF_DATASETS_CACHE, "run_clm_lora").glob("*.arrow"))


def test_what_is_read_once_is_not_read_again(monkeypatch):
    write("a.jsonl", GOOD)
    first = read("a.jsonl")
    monkeypatch.setattr(data_files, "_raw_rows", None)
    second = read("a.jsonl")
    assert texts(second) == texts(first)
    assert second._fingerprint == first._fingerprint


def test_the_cache_sees_a_changed_file():
    write("a.jsonl", GOOD)
    before = os.stat("a.jsonl")
    read("a.jsonl")
    write("a.jsonl", GOOD.replace("b", "c"))
    os.utime("a.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert texts(read("a.jsonl")) == [("a", "c")]
    assert texts(read("a.jsonl", columns={**COLUMNS, "prompt": ["response"]})) == [("c", "c")]
    assert len(cached()) == 3


def test_a_cache_of_ones_own(tmp_path):
    write("a.jsonl", GOOD)
    read("a.jsonl", cache_dir=str(tmp_path / "mine"))
    assert len(list(Path("mine").rglob("*.arrow"))) == 1
    assert not cached()


def test_a_cache_that_cannot_be_written(monkeypatch):
    write("a.jsonl", GOOD)
    write("file", "")
    with pytest.raises(ValueError, match=r"^cannot write the cache file/run_clm_lora: "):
        read("a.jsonl", cache_dir="file")
    read("a.jsonl")

    def locked(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(data_files.filelock, "FileLock", locked)
    assert texts(read("a.jsonl")) == [("a", "b")]  # what is there needs no lock
    write("b.jsonl", GOOD)
    with pytest.raises(ValueError, match=r"^cannot write the cache .*: Permission denied\.$"):
        read("b.jsonl")


def test_a_file_that_is_refused_leaves_nothing_behind():
    write("a.jsonl", GOOD * 3000 + "{")
    with pytest.raises(ValueError, match="line 3001"):
        read("a.jsonl")
    assert not cached()
    folder = Path(datasets.config.HF_DATASETS_CACHE, "run_clm_lora")
    assert not list(folder.glob("*.draft"))


READER = """
import resource, sys
payload, file = sys.argv[1:]
sys.path.insert(0, payload)
from data_files import read_rows
columns = {"prompt": ["prompt"], "response": "response", "history": None, "messages": None}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("ready", flush=True)
sys.stdin.readline()
rows = len(read_rows([file], columns, "train_file", cache_dir="shared"))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


class Reader:
    """A process that reads a file into the cache `shared`; imports are done, it waits for `go`."""

    def __init__(self, file):
        payload = Path(data_files.__file__).parent
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, payload, file], stdin=pipe, stdout=pipe, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self):
        """Return (rows read, kilobytes more than before)."""
        return tuple(map(int, self.process.communicate()[0].split()))


def test_processes_that_fill_the_cache_at_once():
    """The first of them is killed while it writes and the others wait."""
    write("a.jsonl", GOOD * 300_000)
    killed, *others = (Reader("a.jsonl") for _ in range(3))
    folder = Path("shared", "run_clm_lora")
    killed.go()
    while not list(folder.glob("*.draft")):
        assert killed.process.poll() is None
        time.sleep(0.001)
    for other in others:
        other.go()
    assert not list(folder.glob("*.arrow"))
    killed.process.kill()
    assert killed.result() == ()
    assert [other.result()[0] for other in others] == [300_000] * 2
    assert len(list(folder.glob("*.arrow"))) == 1
    assert not list(folder.glob("*.draft"))


def test_memory_stays_flat():
    """A file of 100 MB, all on one line, is read in much less."""
    row = json.dumps({"prompt": "a" * 10_000, "response": "b"})
    write("a.json", "[" + ", ".join([row] * 10_000) + "]")
    reader = Reader("a.json")
    reader.go()
    rows, more = reader.result()
    assert rows == 10_000
    assert more < 80 << 10


# Parts of a split.


@pytest.mark.parametrize("number", [1, 10, 100])
def test_a_split_cut_in_two(number):
    write("a.jsonl", "".join(GOOD.replace('"a"', f'"{n}"') for n in range(number)))
    rows = read("a.jsonl")
    held_out = data_files.cut_split(rows, "train[:5%]")
    rest = data_files.cut_split(rows, "train[5%:]")
    assert len(held_out) == (5 if number == 100 else 0)
    assert [*held_out["prompt"], *rest["prompt"]] == [str(n) for n in range(number)]
    assert data_files.cut_split(rows, "train") is rows


def test_a_stream_is_not_cut():
    write("a.jsonl", GOOD)
    stream = read("a.jsonl", streaming=True)
    assert data_files.cut_split(stream, "train") is stream
    with pytest.raises(ValueError, match="give --validation_file"):
        data_files.cut_split(stream, "train[:5%]")

"""One line for a user's mistake, a traceback for a bug."""

import json
import multiprocessing
import os

import pytest

pytest.importorskip("datasets")
pytest.importorskip("transformers")
import data_files
import transformers
import user_errors
from data_arguments import PromptResponseArguments
from test_adapter_trainer import run_ranks
from user_error import UserError
from user_errors import run_main


def code_of(main):
    with pytest.raises(SystemExit) as ended:
        run_main(main)
    return ended.value.code


def said(capsys, main):
    """The one line that running `main` prints, after the progress bars of others."""
    assert code_of(main) == 1
    *bars, line, rest = capsys.readouterr().err.split("\n")
    assert line.startswith("error: ") and rest == ""
    assert not any("error: " in bar for bar in bars)
    return line.removeprefix("error: ")


def unpack(pair):
    first, second = pair
    return first, second


def test_what_main_returns_is_returned():
    assert run_main(lambda: 3) == 3


@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_what_the_script_states(capsys, kind):
    def main():
        raise kind("so\n  it  is\n")

    assert said(capsys, main) == "so it is"


def test_an_assertion_of_the_script(capsys, tmp_path):
    script = tmp_path / "script.py"  # pytest would rewrite an assert of its own
    script.write_text("def main():\n    assert 'txt' in ['csv'], 'a csv file, please'")
    exec(compile(script.read_text(), script, "exec"), names := {})
    assert said(capsys, names["main"]) == "a csv file, please"


def test_what_is_stated_below_a_librarys_loop(capsys):
    def main():
        list(map(state, [0]))

    assert said(capsys, main) == "row 0"


def test_what_a_worker_process_states(capsys):
    """As `Dataset.map` with several processes passes it on."""

    def main():
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.map(state, [0])

    assert said(capsys, main) == "row 0"


def state(row):
    raise UserError(f"row {row}")


def convert(text):
    return int(text)


def bug_in_worker():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(json.loads, ["{"])


def no_message():
    raise AssertionError


def other_kind():
    raise TypeError("broken")


@pytest.mark.parametrize(
    "bug",
    [
        lambda: convert("x"),
        lambda: unpack((1, 2, 3)),
        lambda: json.loads("{"),
        lambda: [].index(0),
        lambda: os.listdir("/no/such/folder"),
        lambda: {}["key"],
        no_message,
        other_kind,
        bug_in_worker,
    ],
)
def test_bugs_keep_their_traceback(capsys, bug):
    with pytest.raises(Exception) as error:
        run_main(bug)
    assert not isinstance(error.value, SystemExit)
    assert capsys.readouterr().err == ""


def test_an_interrupt():
    def main():
        raise KeyboardInterrupt

    assert code_of(main) == 130


def test_other_exits_are_left_alone():
    def main():
        raise SystemExit(2)

    assert code_of(main) == 2


def test_other_ranks_say_who_they_are(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert code_of(lambda: state(1)) == 1
    assert capsys.readouterr().err == "error on rank 3: row 1\n"


def test_the_traceback_is_logged(caplog):
    caplog.set_level("DEBUG")
    assert code_of(lambda: state(1)) == 1
    assert "Traceback (most recent call last)" in caplog.text
    assert 'raise UserError(f"row {row}")' in caplog.text


# -- libraries ---------------------------------------------------------------------------------------


def load_model(tmp_path):
    transformers.AutoConfig.from_pretrained(str(tmp_path / "no-model"))


def load_broken_config(tmp_path):
    (tmp_path / "config.json").write_text("{", "utf-8")
    transformers.AutoConfig.from_pretrained(str(tmp_path))


def parse(*line):
    parser = transformers.HfArgumentParser((PromptResponseArguments,))
    return parser.parse_args_into_dataclasses(list(line))


def unknown_model_type(_):
    transformers.CONFIG_MAPPING["none-such"]


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        (load_model, "no-model"),
        (load_broken_config, "config"),
        (lambda _: parse("--none", "1"), "--none"),
        (lambda _: parse("--num_beams", "0"), "--num_beams must be at least 1, not 0."),
        (unknown_model_type, "--model_type"),
    ],
)
def test_what_a_library_refuses_to_load(capsys, tmp_path, main, expected):
    assert expected in said(capsys, lambda: main(tmp_path))


def test_the_models_own_code_is_no_library(capsys, tmp_path):
    """A file that is missing there is the user's matter, anything else is not."""
    remote = {"__name__": "transformers_modules.toy"}
    exec("def build(error):\n    raise error", remote)
    library = {"__name__": "transformers.auto", "build": remote["build"]}
    exec("def from_pretrained(error):\n    build(error)", library)
    load = library["from_pretrained"]
    assert said(capsys, lambda: load(OSError("no vocabulary"))) == "no vocabulary"
    with pytest.raises(ValueError, match="broken"):
        run_main(lambda: load(ValueError("broken")))
    absent = ModuleNotFoundError("No module named 'absent'", name="absent.part")
    needs = "the model's own code needs the package absent: pip install absent"
    assert said(capsys, lambda: load(absent)) == needs
    for name in ("torch.gone", "transformers_modules.gone"):  # which no pip mends
        with pytest.raises(ModuleNotFoundError):
            run_main(lambda name=name: load(ModuleNotFoundError(name, name=name)))


# -- data files --------------------------------------------------------------------------------------


GOOD = '{"prompt": "a", "response": "b"}\n'
# In the script the reader and main() stand in one file.
MAIN = """
def main():
    loaded = arguments.load_files("json", data_files=files, split="train", **options)
    return list(loaded)
"""


def loading(path, **options):
    options = {"cache_dir": str(path.parent), **options}
    names = {"arguments": PromptResponseArguments(), "options": options}
    names["files"] = {"train": str(path)}
    exec(compile(MAIN, data_files.__file__, "exec"), names)
    return names["main"]


@pytest.mark.parametrize("streaming", [False, True])
def test_what_a_data_file_says_wrong(capsys, tmp_path, streaming):
    """Read when it is loaded, or long after, out of the libraries' own loops."""
    path = tmp_path / "t.jsonl"
    path.write_text(GOOD + '{"prompt": true, "response": "b"}\n', "utf-8")
    assert said(capsys, loading(path, streaming=streaming)) == (
        f"{path}, row 2 (line 2), column 'prompt': expected text, found true or false True."
    )


def test_what_a_library_finds_wrong_with_a_file(capsys, tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"not so")
    assert "arquet" in said(capsys, loading(path))


def test_long_messages_are_cut():
    assert user_errors._one_line("a\n" * 1000, most=10) == "a a a a a…"


RANK = """
import atexit, threading, time, torch.distributed, user_errors
torch.distributed.init_process_group("gloo")
atexit.register(print, "REGISTERED", end="")
def upload():
    time.sleep(1)
    print("UPLOADED", end="")
threading.Thread(target=upload).start()
user_errors.run_main(lambda: print("WORK", end=""))
print("the interpreter's own way out")
"""


def test_ranks_leave_together():
    """What registered for the end is called, and nothing that is printed gets lost."""
    said = "WORKUPLOADEDREGISTERED"
    assert [output[-len(said) :] for output in run_ranks(["-c", RANK], 2)] == [said] * 2


# Both begin together, and the first lives until the other has ended, as under a launcher.
TELL = """
import atexit, os, pathlib, time, user_errors
from user_error import UserError
rank, place = os.environ["RANK"], pathlib.Path(PLACE)
def wait(name):
    while not (place / name).exists():
        time.sleep(0.02)
def main():
    (place / rank).touch()
    wait("1" if rank == "0" else "0")
    raise UserError("one of us" if os.environ["RANK"] == WHO else "each of us")
atexit.register(wait, "end") if rank == "0" else atexit.register((place / "end").touch)
user_errors.run_main(main)
"""


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("none", ["error: each of us\n", ""]),
        ("1", ["error: each of us\n", "error on rank 1: one of us\n"]),
    ],
)
def test_what_all_ranks_of_a_node_find_wrong_is_told_once(who, said, tmp_path):
    program = TELL.replace("WHO", repr(who)).replace("PLACE", repr(str(tmp_path)))
    assert run_ranks(["-c", program], 2) == said


@pytest.mark.parametrize("text", user_errors.GONE)
def test_a_rank_whose_peer_has_ended_says_so(capsys, text):
    def main():
        raise RuntimeError(f"[pair.cc:553] {text} [127.0.0.1]:10124.")

    assert said(capsys, main) == "another rank ended first, and says why."

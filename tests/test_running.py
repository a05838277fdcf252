"""tools/running.py and tools/git_variables.py: streams, signals and variables as they are found."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.miniature import build_repo
from tools import git_variables

ROOT = Path(__file__).resolve().parents[1]
# A program that prints what no ASCII holds, and leaves a note that it was done.
SPEAKER = """
import sys
from tools import running
from tools.errors import UserError

def main():
    print("größer → 更大" * int(sys.argv[1]))
    if len(sys.argv) > 2:
        raise UserError("größer")
    print(open(sys.argv[0] and "/dev/null").read(), end="")
    return 0

sys.exit(running.run(main))
"""
# Says that it is ready, then works until it is stopped, and cleans up.
WORKER = """
import sys, time
from tools import running

def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.2)  # the second signal comes here
        print("clean", flush=True)

sys.exit(running.run(main))
"""


def shell(line: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PY": sys.executable, "SPEAKER": SPEAKER, **more}
    options = {"capture_output": True, "text": True, "errors": "replace", "cwd": ROOT}
    return subprocess.run(["bash", "-c", line], env=env, **options)


@pytest.mark.parametrize("many", [1, 10_000])  # what a buffer holds, and what it does not
@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        (">/dev/full", 1, "error: standard output cannot be written (No space left on device)\n"),
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("2>/dev/full >/dev/null", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 1, ""),
        (">/dev/null", 0, ""),
    ],
)
def test_output_that_goes_nowhere(where: str, status: int, said: str, many: int) -> None:
    if "true" in where and many == 1:
        where = "| (exec <&-; sleep 0.5); exit ${PIPESTATUS[0]}"
    ran = shell(f'"$PY" -c "$SPEAKER" {many} {where}')
    assert (ran.returncode, ran.stderr) == (status, said)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_an_error_that_cannot_be_told_is_an_error(where: str) -> None:
    assert shell(f'"$PY" -c "$SPEAKER" 1 fail {where}').returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "ascii:strict", "cp437"])
def test_a_terminal_of_another_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "speaker.py").write_text(SPEAKER, encoding="utf-8")
    known = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    ran = shell(f'"$PY" {tmp_path}/speaker.py 1 fail', **known)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    assert ran.stdout and re.fullmatch("error: gr.*er\n", ran.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_cleans_up(number: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen([sys.executable, "-c", WORKER], env=env, text=True, **pipes)
    assert run.stdout.readline() == "ready\n"
    run.send_signal(number)
    if number != signal.SIGINT:
        time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
    out, err = run.communicate()
    assert (out, run.returncode) == ("clean\n", 128 + number)
    assert err == "interrupted: outputs are whole, the old ones or the new\n"


def test_a_hangup_that_the_caller_ignores() -> None:
    """As under nohup."""
    line = "import os, signal, sys; from tools import running; sys.exit(running.run("
    line += "lambda: os.kill(os.getpid(), signal.SIGHUP) or 7))"
    assert shell(f"trap '' HUP; exec \"$PY\" -c '{line}'").returncode == 7


# --- the variables meant for git


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Clean an environment with these variables of git's; what is left of them."""

    def clean(**given: str) -> dict[str, str]:
        for name in [n for n in os.environ if n.startswith("GIT_")]:
            monkeypatch.delenv(name)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        git_variables.clean()
        left = {n: v for n, v in os.environ.items() if n.startswith("GIT_")}
        for name in left:  # so that it is taken back, too
            monkeypatch.setenv(name, left[name])
        return left

    return clean


def test_what_belongs_to_another_repository_goes(only) -> None:
    local = subprocess.run(
        ["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    changing = ["GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_DEFAULT_HASH"]
    changing += ["GIT_QUARANTINE_PATH", "GIT_TRACE", "GIT_TEMPLATE_DIR", "GIT_PROTOCOL"]
    assert "GIT_DIR" in local and only(**dict.fromkeys([*local, *changing], "x")) == {}


def test_what_says_who_one_is_and_how_hosts_are_reached_stays(only) -> None:
    names = [
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSL_CAINFO",
        "GIT_SSL_NO_VERIFY",
        "GIT_PROXY_COMMAND",
    ]
    names += ["GIT_HTTP_PROXY_AUTHMETHOD", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "GIT_AUTHOR_NAME"]
    given = dict.fromkeys(names, "x")
    assert only(**given) == given


@pytest.mark.parametrize("count", ["x", "-1", "", " 1", "1e3", "9" * 30, "\u0661"])
def test_a_broken_count_of_settings(only, count: str) -> None:
    assert only(GIT_CONFIG_COUNT=count, GIT_CONFIG_KEY_0="a.b", GIT_CONFIG_VALUE_0="x") == {}


def test_settings_in_order_stay(only) -> None:
    given = {
        "GIT_CONFIG_COUNT": "5",
        "GIT_CONFIG_PARAMETERS": "'http.proxy'='http://h:1' 'x=' 'a.b'",
    }
    for number, (key, value) in enumerate([("http.https://h/.proxy", "p"), ("a", "x"), ("", "")]):
        given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    given["GIT_CONFIG_KEY_3"] = "no.value"
    assert only(**given) == git_variables.numbered(
        [("http.https://h/.proxy", "p"), ("http.proxy", "http://h:1"), ("a.b", "true")]
    )


@pytest.mark.parametrize("text", ["x", "'a", "'a'", "'=b'", "\\", "'a.b\n'", "a'b"])
def test_broken_parameters_go(only, text: str) -> None:
    assert only(GIT_CONFIG_PARAMETERS=text) == {}


HOSTILE = {
    "GIT_DIR": "/nowhere",
    "GIT_WORK_TREE": "/nowhere",
    "GIT_COMMON_DIR": "/nowhere",
    "GIT_NAMESPACE": "x",
    "GIT_ICASE_PATHSPECS": "x",
    "GIT_SHALLOW_FILE": "/x",
    "GIT_QUARANTINE_PATH": "/x",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_PARAMETERS": "x",
    "GIT_PYTHON_REFRESH": "bogus",
}


def test_a_regenerate_from_within_another_repositorys_hook(tmp_path: Path) -> None:
    repo = build_repo(tmp_path / "repo").as_uri()
    env = {**os.environ, **HOSTILE, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "tools", "regenerate", "--repo", repo, "--ref", "v5.1.0"]
    ran = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")

"""The command line, end to end, on the miniature upstream: real git, real files, real processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.miniature import build_repo
from tools.upstream import cache

ROOT = Path(__file__).resolve().parents[1]
SCRIPT, LOCK, SHEET = "run_clm_lora.py", "run_clm_lora.lock.json", "run_clm_lora.review.md"
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{role}_NAME": "t" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "t@example.org" for role in ("AUTHOR", "COMMITTER")},
}
PATH = "examples/pytorch/language-modeling/run_clm.py"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_repo(tmp_path_factory.mktemp("miniature") / "repo").as_uri()


@pytest.fixture
def tool(upstream: str, tmp_path: Path):
    """Run ``python -m tools``, with a cache and an output folder of the test's own."""
    env = {**os.environ, **GIT, "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "200"}

    def run(command: str, *arguments: str, repo: str | None = upstream, code: int = 0) -> str:
        options = ["--repo", repo] if repo else []
        if "--out" not in arguments:
            options += ["--out", str(tmp_path / "out")]
        ran = subprocess.run(
            [sys.executable, "-m", "tools", command, *options, *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        if code == 1 and command == "regenerate":
            assert re.fullmatch(r"(error: [^\n]+\n)+", ran.stderr), ran.stderr
        return ran.stdout + ran.stderr

    run.out = tmp_path / "out"
    run.env = env
    return run


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def git(repo: str, *arguments: str, env: dict[str, str]) -> str:
    folder = repo.removeprefix("file://")
    ran = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_regenerate_writes_script_lock_and_sheet(tool) -> None:
    told = tool("regenerate", "--ref", "v4.28.0")
    assert "wrote" in told
    files = content(tool.out)
    assert sorted(files) == [LOCK, SHEET, SCRIPT][0:1] + sorted([SHEET, SCRIPT])
    compile(files[SCRIPT], SCRIPT, "exec")
    lock = json.loads(files[LOCK])
    assert lock["upstream"]["ref"] == "v4.28.0"
    assert lock["upstream"]["path"] == PATH
    assert lock["upstream"]["commit"] in files[SCRIPT].decode()
    for entry in lock["patches"]:
        assert f". {entry['name']}\n" in files[SHEET].decode()
    for data in files.values():  # nothing of this machine
        assert str(tool.out.parent).encode() not in data
    again = tool("regenerate")
    assert again.count("unchanged") == 3
    assert content(tool.out) == files


def test_two_folders_and_two_ways_give_the_same_bytes(tool, tmp_path: Path, upstream: str) -> None:
    tool("regenerate", "--ref", "v5.1.0")
    folder = upstream.removeprefix("file://")
    tool("regenerate", "--ref", "v5.1.0", "--out", str(tmp_path / "other"), repo=folder)
    assert content(tool.out) == content(tmp_path / "other")


def test_the_second_run_needs_no_repository(tool, tmp_path: Path, upstream: str) -> None:
    gone = tmp_path / "gone"
    repo = build_repo(gone).as_uri()
    tool("regenerate", "--ref", "v4.46.0", repo=repo)
    first = content(tool.out)
    gone.rename(tmp_path / "away")
    tool("regenerate", "--ref", "v4.46.0", repo=repo)
    assert content(tool.out) == first


def test_every_tag_regenerates_and_checks(tool) -> None:
    for ref in ("v4.28.0", "v4.30.0", "v4.33.0", "v4.46.0", "v4.54.0", "v5.1.0"):
        tool("regenerate", "--ref", ref)
        assert "up to date" in tool("check")
    (tool.out / SCRIPT).unlink()  # not tracked: lock and sheet are enough
    assert "up to date" in tool("check")


@pytest.mark.parametrize("name", [LOCK, SHEET, SCRIPT])
def test_check_shows_what_drifted(tool, name: str) -> None:
    tool("regenerate", "--ref", "v4.28.0")
    file = tool.out / name
    file.write_text(file.read_text().replace("lora", "lo-ra", 1))
    told = tool("check", code=1)
    assert "lo-ra" in told
    assert "make regenerate" in told


def test_check_without_a_lock(tool) -> None:
    assert "no lock of" in tool("check", code=1)


def test_diff_is_upstream_against_generated(tool) -> None:
    told = tool("diff", "--ref", "v5.1.0")
    assert told.startswith("--- upstream v5.1.0")
    assert "\n+class AdapterTrainer(Trainer):\n" in told
    assert not tool.out.exists()


def test_sweep_tells_each_patchs_outcome(tool) -> None:
    told = tool("sweep")
    assert "6 of 6 regenerate" in told
    assert "v4.0.0" not in told
    told = tool("sweep", "--refs", "v4.28.0", "v4.0.0", code=1)
    assert "1 of 2 regenerate" in told
    assert "has no file" in told


def test_a_file_of_ones_own(tool, tmp_path: Path, upstream: str) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(git(upstream, "show", f"v4.28.0:{PATH}", env=tool.env) + "\n")
    tool("regenerate", "--upstream-file", str(mine), repo=None)
    assert json.loads((tool.out / LOCK).read_text())["upstream"]["commit"] == ""
    assert "UPSTREAM_FILE" in tool("check", repo=None, code=1)
    tool("check", "--upstream-file", str(mine), repo=None)
    told = tool("regenerate", "--upstream-file", str(tool.out / SCRIPT), repo=None, code=1)
    assert "made by these patches already" in told


@pytest.mark.parametrize("name", ["-my own.py", "we\"ird's $(touch x)`y`.py"])
def test_the_header_says_how_a_file_is_taken_again(
    tool, tmp_path: Path, upstream: str, name: str
) -> None:
    mine = tmp_path / name
    mine.write_text(git(upstream, "show", f"v4.28.0:{PATH}", env=tool.env) + "\n")
    tool("regenerate", f"--upstream-file={mine}", repo=None)
    (line,) = re.findall(r"# Rebuild: (make .*)", (tool.out / SCRIPT).read_text())
    assert shlex.split(line) == ["make", "regenerate", f"UPSTREAM_FILE={name}", "SERIES=chatglm"]


def test_a_file_name_of_two_lines_is_refused(tool, tmp_path: Path) -> None:
    (tmp_path / "a\nimport b.py").write_text("x = 1\n")
    told = tool(
        "regenerate", "--upstream-file", str(tmp_path / "a\nimport b.py"), repo=None, code=1
    )
    assert "control characters" in told


def forge(tool) -> None:
    """Alter every file of the cache, and its header with it."""
    for entry in (tool.out.parent / "cache" / "run-clm-lora" / "files").iterdir():
        head, _, body = entry.read_bytes().partition(b"\n")
        body = body.replace(b"import math\n", b"import math  # mine\n", 1)
        header = {**json.loads(head), "blob": cache.blob_id(body)}
        entry.write_bytes(json.dumps(header, sort_keys=True).encode() + b"\n" + body)
        assert b"# mine" in body


def test_the_lock_pins_upstreams_text_whatever_the_cache_says(tool, tmp_path: Path) -> None:
    repo = build_repo(tmp_path / "mine").as_uri()
    tool("regenerate", "--ref", "v4.28.0", repo=repo)
    before = content(tool.out)
    forge(tool)
    assert "up to date" in tool("check", repo=repo)  # fetched again
    forge(tool)
    tool("regenerate", repo=repo)
    assert content(tool.out) == before
    forge(tool)
    assert "# mine" not in tool("diff", repo=repo)
    (tmp_path / "mine").rename(tmp_path / "away")
    forge(tool)
    assert "is not a git repository" in tool("check", repo=repo, code=1)
    assert "# mine" not in (tool.out / SCRIPT).read_text()


def test_a_lock_that_pins_another_text(tool, upstream: str) -> None:
    tool("regenerate", "--ref", "v4.28.0")
    for field, size in (("blob", 40), ("sha256", 64)):
        lock = json.loads((tool.out / LOCK).read_text())
        lock["upstream"][field] = "0" * size
        (tool.out / LOCK).write_text(json.dumps(lock))
        assert "one of them was altered" in tool("check", code=1)
        assert "one of them was altered" in tool("regenerate", code=1)


def test_crlf_stays(tool, tmp_path: Path, upstream: str) -> None:
    mine = tmp_path / "mine.py"
    text = git(upstream, "show", f"v4.28.0:{PATH}", env=tool.env) + "\n"
    mine.write_bytes(text.replace("\n", "\r\n").encode())
    tool("regenerate", "--upstream-file", str(mine), repo=None)
    data = (tool.out / SCRIPT).read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")


BAD = {
    "unknown ref": (["--ref", "v4.28.1"], "nearest tags: v4.28.0"),
    "absent file": (["--ref", "v4.0.0"], "has no file"),
    "an option as ref": (["--ref=--upload-pack=touch x"], "refused"),
    "shell characters": (["--ref", "$(touch x)"], "refused"),
    "unknown series": (["--ref", "v4.28.0", "--series", "nope"], "choose from chatglm"),
    "folder in a file": (["--ref", "v4.28.0", "--out", "README.md/x"], "cannot write the output"),
    "no such file": (["--upstream-file", "nope.py"], "cannot read"),
    "not Python": (["--upstream-file", "Makefile"], "not Python"),
    "no trainer": (["--upstream-file", "tools/errors.py"], "HfArgumentParser"),
    "transport helper": (["--repo", "ext::sh -c touch% x"], "transport helpers"),
    "unreachable": (["--repo", "file:///nowhere/at/all", "--ref", "v1"], "UPSTREAM_FILE"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_changes_nothing(tool, case: str) -> None:
    tool("regenerate", "--ref", "v4.28.0")
    before = content(tool.out)
    arguments, said = BAD[case]
    assert said in tool("regenerate", *arguments, code=1)
    assert content(tool.out) == before


def test_a_tag_that_moved_is_refused_until_told(tool, tmp_path: Path) -> None:
    repo = build_repo(tmp_path / "mine").as_uri()
    tool("regenerate", "--ref", "v5.1.0", repo=repo)
    before = content(tool.out)
    git(repo, "tag", "-f", "v5.1.0", "v4.54.0", env=tool.env)
    assert "unchanged" in tool("regenerate", "--ref", "v5.1.0", repo=repo)  # the cache pins it
    told = tool("regenerate", "--ref", "v5.1.0", "--refresh", repo=repo, code=1)
    assert "ACCEPT_MOVED" in told
    assert content(tool.out) == before
    tool("regenerate", "--ref", "v5.1.0", "--refresh", "--accept-moved", repo=repo)
    assert content(tool.out) != before


def test_a_branch_may_move(tool, tmp_path: Path) -> None:
    repo = build_repo(tmp_path / "mine").as_uri()
    tool("regenerate", "--ref", "main", repo=repo)
    git(repo, "update-ref", "refs/heads/main", "v4.54.0^{commit}", env=tool.env)
    tool("regenerate", "--ref", "main", repo=repo)
    lock = json.loads((tool.out / LOCK).read_text())
    assert lock["upstream"]["commit"] == git(repo, "rev-parse", "v4.54.0^{commit}", env=tool.env)


def test_a_refusal_names_patch_place_and_hint(tool, tmp_path: Path, upstream: str) -> None:
    text = git(upstream, "show", f"v4.28.0:{PATH}", env=tool.env)
    mine = tmp_path / "mine.py"
    mine.write_text(text.replace(" Trainer(", " OurTrainer("))
    told = tool("regenerate", "--upstream-file", str(mine), repo=None, code=1)
    assert told.count("error: patches 'lora', ") == 1
    assert "OurTrainer" in told
    assert re.search(r"nearest: line \d+: ", told)


def test_help(tool) -> None:
    for command in ("regenerate", "check", "diff", "sweep"):
        ran = subprocess.run(
            [sys.executable, "-m", "tools", command, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0
        assert "--series" in ran.stdout

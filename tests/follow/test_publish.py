"""tools/follow/publish.py: everything once, updated in place, and nobody's commits overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkouts import PERSON
from tools.errors import UserError
from tools.follow import checkout, publish

FAKE = Path(__file__).with_name("fake_gh.py")
BOT = {k: "github-actions[bot]" if k.endswith("NAME") else "bot@example.org" for k in PERSON}


class GitHub:
    """The state that the fake keeps."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "github.json"
        self.save(pulls=[], issues=[], comments=[], calls=[])

    def save(self, **state) -> None:
        self.file.write_text(json.dumps(state), encoding="utf-8")

    def __getitem__(self, name: str):
        return json.loads(self.file.read_text(encoding="utf-8"))[name]

    def set(self, **changes) -> None:
        self.save(**{**json.loads(self.file.read_text(encoding="utf-8")), **changes})


def install(folder: Path) -> Path:
    """A folder for PATH with the fake as ``gh``."""
    place = folder / "bin"
    place.mkdir()
    (place / "gh").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    (place / "gh").chmod(0o755)
    return place


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    monkeypatch.setenv("PATH", f"{install(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/project")
    monkeypatch.setenv("GH_TOKEN", "secret")
    state = GitHub(tmp_path)
    monkeypatch.setenv("FAKE_GH", str(state.file))
    return state


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one commit on main of a bare origin; the bot is at work in it."""
    for name in [k for k in os.environ if k.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in {**BOT, "GIT_CONFIG_GLOBAL": os.devnull}.items():
        monkeypatch.setenv(name, value)
    origin, clone = tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    monkeypatch.setattr(checkout, "ROOT", clone)
    change(clone, "begin", **PERSON)
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    return clone


def git(folder: Path, *arguments: str, **env: str) -> str:
    ran = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def change(folder: Path, name: str, **who: str) -> str:
    (folder / name).write_text(name)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", name, **who)
    return git(folder, "rev-parse", "HEAD")


def test_one_comment_updated_in_place(github: GitHub) -> None:
    other = {"login": "somebody"}
    github.set(
        comments=[
            {"id": 90, "on": 7, "user": other, "body": "<!-- mark -->\nnot ours"},
            {"id": 91, "on": 8, "user": {"login": publish.BOT}, "body": "<!-- mark -->\nelsewhere"},
        ]
    )
    publish.comment(7, "<!-- mark -->\nfirst: 中文 `x` $(y)\n")
    publish.comment(7, "<!-- mark -->\nsecond\n")
    ours = [c["body"] for c in github["comments"] if c["on"] == 7]
    assert ours == ["<!-- mark -->\nnot ours", "<!-- mark -->\nsecond\n"]
    assert len(github["comments"]) == 3


def test_a_token_that_may_not_write(github: GitHub, tmp_path: Path, capsys) -> None:
    github.set(read_only=True)
    with pytest.raises(UserError, match="Resource not accessible by integration"):
        publish.comment(7, "<!-- mark -->\n")
    text = tmp_path / "text.md"
    text.write_text("# A title\n")
    assert publish.main(["comment", "--number", "7", "--text", str(text)]) == 1
    assert capsys.readouterr().err.startswith("error: gh api POST issues/7/comments failed")


def test_no_gh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="gh is not installed"):
        publish.comment(7, "x")


def test_one_issue_rewritten_then_closed_and_the_next_is_new(github: GitHub) -> None:
    publish.issue("# v5.2.0 refused\n\nwhy\n")
    publish.issue("# v5.3.0 refused\n\nwhy now\n")
    (one,) = github["issues"]
    assert (one["title"], one["body"]) == ("v5.3.0 refused", "why now\n")
    assert one["labels"] == [publish.LABEL]
    assert publish.close_issue().startswith("closed ")
    assert github["issues"][0]["state"] == "closed"
    assert publish.close_issue() == "no issue to close"
    assert len(github["comments"]) == 1
    publish.issue("# v5.4.0 refused\n")
    assert [i["state"] for i in github["issues"]] == ["closed", "open"]


def test_one_pull_request_updated_in_place(github: GitHub, work: Path) -> None:
    first = change(work, "bump to one")
    publish.pull_request("# Bump to one\n\nlook\n", "upstream-bump", "main")
    assert git(work, "ls-remote", "origin", "refs/heads/upstream-bump").split()[0] == first
    git(work, "reset", "--quiet", "--hard", "origin/main")
    second = change(work, "bump to two")
    publish.pull_request("# Bump to two\n\nlook again\n", "upstream-bump", "main")
    assert git(work, "ls-remote", "origin", "refs/heads/upstream-bump").split()[0] == second
    (one,) = github["pulls"]
    assert (one["title"], one["body"]) == ("Bump to two", "look again\n")
    assert (one["head"], one["base"]) == ("upstream-bump", "main")


def test_a_persons_commits_on_the_branch_stay(github: GitHub, work: Path) -> None:
    change(work, "bump")
    publish.pull_request("# Bump\n", "upstream-bump", "main")
    theirs = change(work, "a fix by hand", **PERSON)
    git(work, "push", "--quiet", "origin", "HEAD:upstream-bump")
    git(work, "reset", "--quiet", "--hard", "origin/main")
    change(work, "bump to two")
    said = publish.pull_request("# Bump to two\n", "upstream-bump", "main")
    assert said.startswith("left alone")
    assert git(work, "ls-remote", "origin", "refs/heads/upstream-bump").split()[0] == theirs
    assert github["pulls"][0]["title"] == "Bump"


def test_a_persons_commits_that_main_has_since_are_no_obstacle(github: GitHub, work: Path) -> None:
    change(work, "by hand", **PERSON)
    change(work, "bump")
    publish.push("upstream-bump", "main")
    git(work, "push", "--quiet", "origin", "HEAD~1:main")
    new = change(work, "bump to two")
    assert publish.push("upstream-bump", "main")
    assert git(work, "ls-remote", "origin", "refs/heads/upstream-bump").split()[0] == new


def test_pages_are_joined() -> None:
    assert publish._pages('[{"a": 1}]\n[{"a": 2}]') == [{"a": 1}, {"a": 2}]
    assert publish._pages("[]") == []
    assert publish._pages('{"a": 1}') == {"a": 1}

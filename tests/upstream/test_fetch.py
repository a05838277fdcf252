"""tools/upstream/fetch.py against real git repositories, made here: no mock, no network beyond loopback."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.server
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import no_files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] * (str(ROOT) not in sys.path)

from benchmarks.wire import received
from tools import git_variables, regular
from tools.errors import UserError
from tools.upstream import cache
from tools.upstream import fetch as upstream
from tools.upstream import git as git_fetch
from tools.upstream.fetch import PATH, Upstream, cached, fetch

WHO = {
    f"GIT_{role}_{what}": "t@example.org"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}
TEXT = {
    "v4.28.0": "print('one')\n",
    "v4.29.0": "\ufeff# caf\u00e9\r\nprint('two')\r\n\r\n",  # BOM and CRLF, to be kept
    "main": "print('three')",  # no newline at the end
}


def git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **WHO},
        check=True,
        capture_output=True,
        text=True,
    )
    return run.stdout.strip()


def commit(repo: Path, text: str | bytes, path: str = PATH) -> str:
    file = repo / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "change")
    return git(repo, "rev-parse", "HEAD")


class Made:
    """The source repository: `commits` by name, `path` its work tree, `url` its file:// URL."""

    def __init__(self, path: Path) -> None:
        self.path, self.url, self.commits = path, f"file://{path}", {}
        path.mkdir()
        git(path, "init", "-q", "-b", "main")
        git(path, "config", "core.autocrlf", "false")
        for number in range(30):  # something not to fetch
            (path / f"big{number}").write_bytes(os.urandom(20_000))
        self.commits["absent"] = commit(path, "x", "README")
        git(path, "tag", "v4.10.0")
        self.commits["v4.28.0"] = commit(path, TEXT["v4.28.0"])
        for tag in ("v4.9.0", "v4.28.0", "v4.28.0.post1", "v4.29.0rc1", "v4.100.0", "v10.0.0"):
            git(path, "tag", tag)
        self.commits["v4.29.0"] = commit(path, TEXT["v4.29.0"])
        git(path, "tag", "-a", "-m", "annotated", "v4.29.0")
        git(path, "tag", "-a", "-m", "twice", "nested", "v4.29.0")
        for tag in ("v5.0.0-rc1", "v4.29.1", "v4.49.0-Gemma-3", "w5.0.0", "both"):
            git(path, "tag", tag)
        self.commits["latin"] = commit(path, b"caf\xe9\n")
        git(path, "tag", "latin")
        (path / PATH).unlink()
        (path / PATH).symlink_to("elsewhere")
        git(path, "commit", "-qam", "link")
        git(path, "tag", "link")
        (path / PATH).unlink()
        self.commits["main"] = commit(path, TEXT["main"])
        git(path, "branch", "both")
        git(path, "branch", "feature/x+1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("upstream") / "origin")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of one's own, and nobody's git configuration."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("RUN_CLM_LORA_TIMEOUT", "60")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def copy(made: Made, to: Path) -> Path:
    git(to.parent, "clone", "-q", "--bare", str(made.path), str(to))
    return to


def refused(*arguments: object, **options: object) -> str:
    """The message of the UserError that fetch raises: one line, always."""
    with pytest.raises(UserError) as caught:
        fetch(*arguments, **options)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 700, message
    return message


def entries(folder: str) -> list[Path]:
    return sorted(Path(cache.root(), folder).iterdir())


# --- refs


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("v4.28.0", "v4.28.0"),
        ("v4.29.0", "v4.29.0"),
        ("nested", "v4.29.0"),
        ("refs/tags/v4.29.0", "v4.29.0"),
        ("both", "v4.29.0"),  # the tag, not the branch
        ("refs/heads/both", "main"),
        ("main", "main"),
        ("HEAD", "main"),
        ("feature/x+1", "main"),
    ],
)
def test_named_refs(made: Made, ref: str, name: str) -> None:
    for repo in (made.url, str(made.path)):
        got = fetch(repo, ref)
        text, sha = TEXT[name], made.commits[name]
        blob = git(made.path, "rev-parse", f"{sha}:{PATH}")
        assert got == Upstream(repo, ref, sha, blob, PATH, text)


@pytest.mark.parametrize("name", ["v4.28.0", "v4.29.0"])  # neither is the tip of a branch
def test_commits(made: Made, name: str) -> None:
    sha = made.commits[name]
    for ref in (sha, sha.upper()):
        assert fetch(made.url, ref).commit == sha
        assert fetch(str(made.path / ".git"), ref, refresh=True).text == TEXT[name]


def test_a_short_commit_is_not_guessed(made: Made) -> None:
    """Whether it is short for one commit or for two is for its repository to know, not a cache."""
    sha = made.commits["v4.28.0"]
    fetch(made.url, sha)
    for repo in (made.url, str(made.path)):
        assert "give all 40 digits" in refused(repo, sha[:12])


def test_the_object_of_an_annotated_tag_peels(made: Made) -> None:
    tag = git(made.path, "rev-parse", "v4.29.0^{tag}")
    assert fetch(made.url, tag).commit == made.commits["v4.29.0"]
    assert fetch(made.url, tag).commit == made.commits["v4.29.0"]


def test_commit_unknown(made: Made) -> None:
    assert "check the ref" in refused(made.url, "1" * 40)


def test_tag_of_a_blob(made: Made, tmp_path: Path) -> None:
    repo = copy(made, tmp_path / "copy.git")
    git(repo, "tag", "odd", git(repo, "rev-parse", f"v4.28.0:{PATH}"))
    refused(str(repo), "odd")


def test_linked_work_tree_relative_path_and_home(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "linked tree"
    repo = copy(made, tmp_path / "copy.git")
    git(repo, "worktree", "add", "-q", "--detach", str(tree), "v4.28.0")
    assert fetch(str(tree), "v4.28.0").commit == made.commits["v4.28.0"]
    monkeypatch.chdir(tmp_path)
    assert fetch("linked tree", "v4.28.0").repo == str(tree)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch("~/copy.git", "v4.28.0").repo == str(repo)


def test_shallow_source(made: Made, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", "-b", "v4.28.0", made.url, "shallow")
    assert fetch(str(tmp_path / "shallow"), "v4.28.0").text == TEXT["v4.28.0"]


def test_run_from_a_git_hook(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "other/objects"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.proxy")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "http://127.0.0.1:9")
    assert fetch(made.url, "v4.28.0").text == TEXT["v4.28.0"]
    assert fetch(str(made.path), made.commits["v4.29.0"]).text == TEXT["v4.29.0"]


# --- the cache

WARM = """
import sys, time
from tools.upstream import fetch as upstream
spent = []
for _ in range(5):
    began = time.perf_counter()
    got = upstream.fetch(sys.argv[1], sys.argv[2])
    spent.append(time.perf_counter() - began)
for name in ("git", "rich", "subprocess", "socket", "tools.upstream.git"):
    assert name not in sys.modules, name
assert min(spent) < 0.010, spent
sys.stdout.buffer.write(got.text.encode())
"""


def test_warm_run_needs_neither_source_nor_git(made: Made, tmp_path: Path) -> None:
    repo = copy(made, tmp_path / "gone.git")
    sha = made.commits["v4.29.0"]
    assert fetch(str(repo), "v4.29.0").text == TEXT["v4.29.0"]
    shutil.rmtree(repo)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": ""}
    for ref in ("v4.29.0", sha):
        run = subprocess.run(
            [sys.executable, "-c", WARM, str(repo), ref], env=env, capture_output=True, check=False
        )
        assert run.stderr == b"" and run.stdout == TEXT["v4.29.0"].encode()


def test_warm_run_from_a_cache_that_cannot_be_written(made: Made) -> None:
    fetch(made.url, "v4.28.0")
    before = [(p, p.stat().st_mtime_ns) for p in Path(cache.root()).rglob("*")]
    assert fetch(made.url, "v4.28.0").text == TEXT["v4.28.0"]
    assert [(p, p.stat().st_mtime_ns) for p in Path(cache.root()).rglob("*")] == before


def test_branch_moves_and_tag_waits_for_refresh(made: Made, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(made.path), "work")
    work = tmp_path / "work"
    url = f"file://{work}"
    old = fetch(url, "main").commit
    assert fetch(url, "v4.28.0").commit == made.commits["v4.28.0"]
    new = commit(work, "print('four')\n")
    git(work, "tag", "-f", "v4.28.0")
    assert old != new == fetch(url, "main").commit
    assert fetch(url, "v4.28.0").text == TEXT["v4.28.0"]
    assert fetch(url, "v4.28.0", refresh=True).text == "print('four')\n"
    assert fetch(url, "v4.28.0").commit == new
    git(work, "tag", "-d", "v4.28.0")
    assert fetch(url, "v4.28.0").commit == new
    assert "no tag or branch v4.28.0" in refused(url, "v4.28.0", refresh=True)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "path", "folder"])
def test_corrupt_files_are_fetched_again(made: Made, damage: str) -> None:
    good = fetch(made.url, "v4.28.0")
    (entry,) = entries("files")
    data = entry.read_bytes()
    if damage == "folder":
        entry.unlink()
    elif damage == "path":
        entry.write_bytes(data.replace(b"run_clm", b"run_mlm"))
    else:
        changed = {"flip": data.replace(b"one", b"onf"), "cut": data[:-3], "empty": b""}[damage]
        entry.write_bytes(changed)
    assert cached() == []
    assert fetch(made.url, "v4.28.0") == good
    assert entries("files") == [entry] and entry.read_bytes() == data
    assert cached() == [good]


@pytest.mark.parametrize("damage", [b"{}\n", b"[]\n", b"\xff\xfe", b'{"commit": 3}\n', None])
def test_corrupt_refs_are_asked_again(made: Made, damage: bytes | None) -> None:
    good = fetch(made.url, "v4.28.0")
    (entry,) = entries("refs")
    data = entry.read_bytes()
    entry.write_bytes(data.replace(good.commit.encode(), b"0" * 40) if damage is None else damage)
    assert fetch(made.url, "v4.28.0") == good
    assert entry.read_bytes() == data


def test_lost_file_of_a_moved_tag(made: Made, tmp_path: Path) -> None:
    """The pinned commit comes back, not the one that the tag has moved to."""
    repo = copy(made, tmp_path / "copy.git")
    good = fetch(str(repo), "v4.28.0")
    git(repo, "tag", "-f", "v4.28.0", "main")
    shutil.rmtree(Path(cache.root(), "files"))
    assert fetch(str(repo), "v4.28.0") == good


def test_two_paths_and_cached(made: Made, tmp_path: Path) -> None:
    repo = str(copy(made, tmp_path / "copy.git"))
    both = [fetch(repo, ref) for ref in ("v4.28.0", "v4.29.0")]
    assert cached() == cached(repo) == cached(repo + "/") == both
    readme = fetch(made.url, "v4.29.0", path="README")
    assert readme.text == "x"
    # The commit is the same, so both its files are there, whichever repository they came from.
    assert [(u.ref, u.path) for u in cached(made.url)] == [("v4.29.0", "README"), ("v4.29.0", PATH)]
    assert len(cached(repo)) == 3 and len(cached()) == 5 and readme in cached()
    shutil.rmtree(Path(cache.root(), "refs"))
    assert {(u.repo, u.ref) for u in cached()} == {("", u.commit) for u in [*both, readme]}
    shutil.rmtree(cache.root())
    assert cached() == []


HURRY = """
import sys
from tools.upstream import fetch as upstream
print(upstream.fetch(sys.argv[1], "v4.28.0").blob, upstream.fetch(sys.argv[1], "main").blob)
"""


def test_two_processes_at_once(made: Made) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", HURRY, made.url],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    said = [run.communicate() for run in runs]
    assert [err for _, err in said] == [b""] * 3
    assert len({out for out, _ in said}) == 1 and len(said[0][0].split()) == 2
    assert entries("tmp") == []


def test_threads_at_once(made: Made) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: fetch(made.url, "v4.28.0"), range(4)))
    assert len(set(got)) == 1


@pytest.mark.parametrize("after", [0.15, 0.3, 0.4])
def test_killed_at_any_moment(made: Made, after: float) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", HURRY, made.url], env=env, stdout=subprocess.DEVNULL
    )
    time.sleep(after)
    run.kill()
    run.wait()
    assert fetch(made.url, "v4.28.0").text == TEXT["v4.28.0"]


def test_leftovers_go_after_a_day(made: Made) -> None:
    root = Path(cache.root())
    for folder in ("tmp/fetch-old", "tmp/fetch-new", "files", "refs"):
        (root / folder).mkdir(parents=True)
    for name in ("tmp/fetch-old/x", "files/.draft-old", "refs/.draft-new"):
        (root / name).write_text("x")
    past = time.time() - cache.STALE_SECONDS - 60
    for name in ("tmp/fetch-old", "files/.draft-old"):
        os.utime(root / name, (past, past))
    fetch(made.url, "v4.28.0")
    left = {str(p.relative_to(root)) for p in root.rglob("*") if "old" in p.name or "new" in p.name}
    assert left == {"tmp/fetch-new", "refs/.draft-new"}
    assert len(cached()) == 1


def test_nothing_of_the_source_runs(made: Made, tmp_path: Path) -> None:
    """Hooks of the user's template or configuration do not run for a throw-away folder."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    hook.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n")
    os.environ["GIT_CONFIG_GLOBAL"] = str(config)  # `alone` puts it back
    fetch(made.url, "v4.28.0")
    assert not (tmp_path / "ran").exists()


# --- hostile or mistaken input


@pytest.mark.parametrize(
    "ref",
    [
        *["", "-", "--upload-pack=touch pwned", "-oProxyCommand=x", "a b", "a\tb", "a\nb", "a\0b"],
        *["a\x7fb", "v4..v5", "a~1", "a^{}", "a:b", "a?b", "a*", "a[b", "a\\b", "a@{1}", "@", "/a"],
        *[
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
            "$(touch pwned)",
            "`touch pwned`",
        ],
        *[
            "a;touch pwned",
            "a|touch pwned",
            "a&touch",
            "a>pwned",
            "<a",
            "a'b",
            'a"b',
            "a!b",
            "{a,b}",
        ],
        *["+refs/heads/main:refs/x", "\u2028", "\u202ea", "\ud800", "a" * 300],
    ],
)
def test_hostile_refs(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # any git call would fail in another way
    assert "refused" in refused(made.url, ref)
    with pytest.raises(UserError, match="refused"):
        received(made.url, ref)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "repo",
    [
        *["", " ", "-", "--upload-pack=touch pwned", "-oProxyCommand=touch pwned", "a\nb", "a\0b"],
        *["ext::sh -c 'touch pwned'", "ext::sh -c touch% pwned", "fd::3", "foo::bar", "::x"],
        *["EXT::sh", "https::https://example.org/x", "ftp://example.org/x", "data://x/y"],
        *["ssh://-oProxyCommand=touch pwned/x", "ssh://-oProxyCommand=touch/x", "https://-x/y"],
        *["ssh://%2doProxyCommand=touch/x", "ssh://-ox@host/y", "git@-oProxyCommand=x:y"],
        *["host:-oProxyCommand=x", "user:secret@host:path", "git@host:", "https://", "https://h"],
        *["https:///x", "file://relative", "file://host/x", "file://", "https://h/a b", "h\u2028"],
        *["ssh://git@host;touch pwned/x", "ssh://h/\x1b[31m", "git://u:secret@", "x y@host:path"],
    ],
)
def test_hostile_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    message = refused(repo, "v4.28.0")
    assert "refused" in message and "secret" not in message
    for call in (upstream.release_tags, lambda r: received(r, "main"), cached):
        with pytest.raises(UserError, match="refused"):
            call(repo)
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_reach_no_shell(made: Made, tmp_path: Path) -> None:
    """Shell characters are legal in a path: they must be harmless there."""
    repo = copy(made, tmp_path / "a;touch pwned $(touch pwned) 'q'")
    assert fetch(str(repo), "v4.28.0").text == TEXT["v4.28.0"]
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a//b", "a/./b", "a\nb", "a/"])
def test_hostile_paths(made: Made, path: str) -> None:
    assert "refused" in refused(made.url, "v4.28.0", path=path)


@pytest.mark.parametrize(
    ("repo", "shown", "key"),
    [
        ("https://u:tok@h/o/r.git", "https://h/o/r.git", "https://h/o/r"),
        ("https://tok@h:8443/o/r/", "https://h:8443/o/r/", "https://h:8443/o/r"),
        ("HTTPS://u:p@ss@h/o/r?private_token=tok#x", "https://h/o/r", "https://h/o/r"),
        ("ssh://git:tok@h/o/r", "ssh://git@h/o/r", "ssh://git@h/o/r"),
        ("git@h:o/r.git", "git@h:o/r.git", "git@h:o/r"),
        ("h:o/r", "h:o/r", "h:o/r"),
        ("http://[::1]:80/r", "http://[::1]:80/r", "http://[::1]:80/r"),
        ("git://h/r", "git://h/r", "git://h/r"),
        ("file:///a/b.git", "file:///a/b.git", "file:///a/b.git"),
        ("/a/../b:c", "/b:c", "/b:c"),
    ],
)
def test_addresses(repo: str, shown: str, key: str) -> None:
    at = upstream.address(repo)
    assert (at.shown, at.key) == (shown, key)
    assert "tok" not in repr(at)
    assert at.git == repo or at.local


# --- errors


def test_unknown_ref_names_the_nearest_tags(made: Made) -> None:
    assert "nearest tags: v4.29.1, " in refused(made.url, "v4.29.2")
    assert "nearest tags: v4.28.0, " in refused(made.url, "4.28.0")
    assert "nearest tags: nested" in refused(made.url, "nestd")
    assert "no tag is like it" in refused(made.url, "qqqqqqqq")


def test_an_empty_repository_has_no_tag_at_all(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "empty")
    assert "nor any tag at all" in refused(str(tmp_path / "empty"), "v4.28.0")


@pytest.mark.parametrize(
    ("ref", "path"), [("v4.10.0", PATH), ("v4.28.0", "README/x"), ("link", PATH)]
)
def test_file_absent(made: Made, ref: str, path: str) -> None:
    message = refused(made.url, ref, path=path)
    sha = git(made.path, "rev-parse", ref)
    assert f"no file {path} at {ref} ({sha})" in message
    assert cached() == []


def test_file_that_is_a_folder(made: Made) -> None:
    assert "no file examples at" in refused(made.url, "v4.28.0", path="examples")


def test_not_utf8(made: Made) -> None:
    assert "not UTF-8 (byte 3)" in refused(made.url, "latin")
    assert cached() == []


def test_not_a_repository(tmp_path: Path) -> None:
    for repo in (f"file://{tmp_path}", str(tmp_path), str(tmp_path / "nothing")):
        message = refused(repo, "v4.28.0")
        assert "is not a git repository" in message
        assert message.count("TRANSFORMERS_REPO=") == 2 and "UPSTREAM_FILE=" in message
        with pytest.raises(UserError, match="is not a git repository"):
            upstream.release_tags(repo)


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_unreachable(scheme: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening: refuses at once
        port = closed.getsockname()[1]
        login = "user:s3cr%23t@" if scheme == "http" else ""
        message = refused(f"{scheme}://{login}127.0.0.1:{port}/o/r", "v4.28.0")
    assert f"cannot reach {scheme}://127.0.0.1:{port}/o/r" in message
    assert message.count("TRANSFORMERS_REPO=") == 2 and "UPSTREAM_FILE=" in message
    assert "s3cr" not in message


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_timeout_ends_git_and_its_helpers(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_CLM_LORA_TIMEOUT", "0.4")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        message = refused(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/r", "v4.28.0")
    assert time.monotonic() - began < 5
    assert "no answer after" in message and "RUN_CLM_LORA_TIMEOUT" in message
    assert entries("tmp") == []


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "inf"])
def test_timeout_must_be_a_number(
    made: Made, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("RUN_CLM_LORA_TIMEOUT", seconds)
    assert "RUN_CLM_LORA_TIMEOUT=" in refused(made.url, "v4.28.0")


def test_git_not_installed(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in refused(made.url, "v4.28.0")
    code = "import sys; from tools.upstream import fetch; fetch.fetch(sys.argv[1], 'main')"
    run = subprocess.run(
        [sys.executable, "-c", code, made.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UserError: git is not installed" in run.stderr.splitlines()[-1]


def test_cache_not_writable(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xdg").write_text("a file, where a folder should be")
    message = refused(made.url, "v4.28.0")
    assert "cannot write " in message and "XDG_CACHE_HOME" in message
    if os.geteuid():
        (tmp_path / "xdg").unlink()
        (tmp_path / "xdg").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
        assert "Permission denied" in refused(made.url, "v4.28.0")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert os.path.isabs(cache.root())


def test_owned_by_somebody_else(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_variables, "KEPT", (*git_variables.KEPT, "GIT_TEST_"))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for repo in (made.url, str(made.path)):
        message = refused(repo, "v4.28.0")
        if "another user owns" not in message:
            pytest.skip("this git does not check who owns what it fetches from")
        assert f"safe.directory {made.path}" in message


def test_partial_clone_without_the_file(made: Made, tmp_path: Path) -> None:
    source = copy(made, tmp_path / "source.git")
    git(source, "config", "uploadpack.allowFilter", "true")
    url = f"file://{source}"
    git(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", url, "partial")
    shutil.rmtree(source)
    message = refused(str(tmp_path / "partial"), "v4.28.0")
    assert "does not give" in message and "TRANSFORMERS_REPO=" in message
    assert cached() == []


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("", "no reason given"),
        ("warning: x\nfatal: Could not read from remote repository.\n", "warning: x"),
        (
            (
                "ssh: Could not resolve hostname h: Name or service not known\n"
                "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct "
                "access rights\nand the repository exists.\n"
            ),
            "ssh: Could not resolve hostname h: Name or service not known",
        ),
        (
            "remote: Not found.\nfatal: repository 'https://u:p4ss@h/r' not found",
            "repository 'https://h/r' not found",
        ),
        ("error: RPC failed\nfatal: early EOF\n", "RPC failed"),
        ("fatal: bad \x1b[31mp4ss" + "x" * 400, "bad  [31m***" + "x" * 185 + "..."),
    ],
)
def test_telling_line(stderr: str, line: str) -> None:
    assert git_fetch.telling_line(stderr, ("p4ss",)) == line


# --- servers of less ability, and credentials


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh whose other end is this machine, speaking git's first protocol: no wanting by name."""
    script = tmp_path / "ssh"
    script.write_text('#!/bin/sh\nshift\nunset GIT_PROTOCOL\nexec sh -c "$*"\n')
    script.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(script))
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")


@pytest.mark.usefixtures("ssh")
def test_server_of_the_first_protocol(made: Made, tmp_path: Path) -> None:
    repo = copy(made, tmp_path / "copy.git")
    url = f"ssh://git:s3cret@example.invalid{repo}"
    got = fetch(url, "v4.29.0")
    assert got.text == TEXT["v4.29.0"] and got.repo == f"ssh://git@example.invalid{repo}"
    full = made.commits["v4.28.0"]
    git(
        repo, "tag", "-d", "v4.28.0", "v4.9.0", "v4.28.0.post1", "v4.29.0rc1", "v4.100.0", "v10.0.0"
    )
    message = refused(url, full)
    assert "unadvertised object" in message and "check the ref" in message
    # The filter is granted, wanting a tree is not: everything comes, then.
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(repo, "gc", "-q")
    assert fetch(url, "main").text == TEXT["main"]
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "true")
    assert fetch(url, full).text == TEXT["v4.28.0"]
    shutil.rmtree(Path(cache.root(), "files"))
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "false")
    assert fetch(url, "v4.29.0") == got  # by its tag, as the commit is refused
    # The tag moves, and nothing leads to its old commit any more.
    git(repo, "tag", "-d", *(set(git(repo, "tag").split()) - {"latin"}))
    git(repo, "tag", "v4.29.0", "main")
    shutil.rmtree(Path(cache.root(), "files"))
    assert f"moved from {got.commit} to {made.commits['main']}" in refused(url, "v4.29.0")
    assert fetch(url, "v4.29.0", refresh=True).text == TEXT["main"]
    assert "s3cret" not in "".join(p.read_text() for p in entries("refs"))


@pytest.mark.parametrize("setting", ["uploadpackfilter.tree.allow", "uploadpackfilter.allow"])
def test_filters_fall_back(made: Made, tmp_path: Path, setting: str) -> None:
    repo = copy(made, tmp_path / "copy.git")
    git(repo, "config", setting, "false")
    assert fetch(str(repo), "v4.28.0").text == TEXT["v4.28.0"]
    few = setting == "uploadpackfilter.tree.allow"  # blob:none, still: none of the 600 kB
    assert (received(str(repo), "v4.28.0") < 50_000) == few


class Backend(http.server.BaseHTTPRequestHandler):
    """git's own HTTP server, for whoever sends the right password."""

    root, asked = "", []

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Basic dXNlcjpzM2NyZXQ=":  # user:s3cret
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        size = int(self.headers.get("Content-Length") or 0)
        self.asked.append((path, size))
        env = {
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        run = subprocess.run(
            ["git", "http-backend"],
            input=self.rfile.read(size),
            env={**os.environ, **env},
            capture_output=True,
            check=False,
        )
        head, _, body = run.stdout.partition(b"\r\n\r\n")
        rows = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        self.send_response(int(dict(rows).get("Status", "200").split()[0]))
        for name, value in rows:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(made: Made, tmp_path: Path) -> Iterator[str]:
    if not Path(git(tmp_path, "--exec-path"), "git-http-backend").exists():
        pytest.skip("this git has no http-backend")
    repo = copy(made, tmp_path / "o.git")
    git(repo, "config", "uploadpack.allowFilter", "true")
    Backend.root = str(tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}/o.git"
        server.shutdown()


def test_http_with_credentials(made: Made, served: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    url, shown = f"http://user:s3cret@{served}", f"http://{served}"
    got = fetch(url, "v4.29.0")
    assert (got.repo, got.text) == (shown, TEXT["v4.29.0"])
    assert fetch(url, made.commits["v4.28.0"]).text == TEXT["v4.28.0"]
    assert 0 < received(url, "v4.28.0") < 50_000
    assert upstream.release_tags(url)[0] == "v4.28.0"
    # The cache knows it with other credentials, or none, and keeps neither.
    assert fetch(shown, "v4.29.0") == got == fetch(f"http://other:pw@{served}", "v4.29.0")
    assert {u.repo for u in cached(url)} == {shown}
    kept = b"".join(p.read_bytes() for p in Path(cache.root()).rglob("*") if p.is_file())
    assert b"s3cret" not in kept
    messages = [refused(url, "v9"), refused(f"http://user:wr0ng@{served}", "main")]
    messages.append(refused(f"http://{served}", "main"))
    assert "Authentication failed" in messages[1]
    for word in ("s3cret", "wr0ng"):
        assert word not in "".join(messages) and word not in caplog.text


HELPER = "!f() { echo username=user; echo password=s3cret; }; f"


@pytest.mark.parametrize(
    "given",
    [
        git_variables.numbered([("credential.helper", HELPER)]),
        {"GIT_CONFIG_PARAMETERS": f"'credential.helper'='{HELPER}'"},
        {"GIT_ASKPASS": "askpass"},
    ],
    ids=["counted", "parameters", "askpass"],
)
def test_credentials_from_elsewhere(
    made: Made, served: str, given: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "askpass"
    script.write_text('#!/bin/sh\ncase "$1" in User*) echo user;; *) echo s3cret;; esac\n')
    script.chmod(0o755)
    for name in ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"):
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
    for name, value in given.items():
        monkeypatch.setenv(name, str(script) if name == "GIT_ASKPASS" else value)
    assert fetch(f"http://{served}", "main").text == TEXT["main"]


HTML = b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>\n"
SMART = "application/x-git-upload-pack-advertisement"
ANSWERS = {  # status, headers, body; and what is to be said of it
    "html": ((200, {"Content-Type": "text/html"}, HTML), "is this a git repository"),
    "one line": ((200, {"Content-Type": "text/html"}, b"<html></html>"), "nor any tag at all"),
    "nothing": ((200, {}, b""), "nor any tag at all"),
    "posing": ((200, {"Content-Type": SMART}, HTML), "protocol error"),
    "half": (
        (200, {"Content-Type": SMART, "Content-Length": "999"}, b"001e# serv"),
        "cannot reach",
    ),
    "forbidden": ((403, {}, HTML), "403"),
    "missing": ((404, {}, HTML), "not found"),
    "broken": ((500, {}, HTML), "500"),
    "in a circle": ((302, {"Location": "/x"}, b""), "redirects"),
    "to a program": ((302, {"Location": "ext::sh -c touch% pwned"}, b""), "cannot reach"),
    "to this disk": ((302, {"Location": "file:///etc/passwd"}, b""), "cannot reach"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_answers_is_no_git(kind: str) -> None:
    (status, headers, body), said = ANSWERS[kind]

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        assert said in refused(f"http://127.0.0.1:{server.server_address[1]}/x", "v4.28.0")
        server.shutdown()
    assert cached() == []


WAITING = """
import sys
from tools.upstream import fetch
try:
    fetch.fetch(sys.argv[1], "v4.28.0")
except fetch.UserError as error:
    print(error)
"""


def test_a_silent_server_shows_how_long_it_is_waited_for() -> None:
    """On a terminal, that is: a pseudo-terminal here."""
    ours, theirs = os.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RUN_CLM_LORA_TIMEOUT": "1.5", "TERM": "xterm"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/r"
        command = [sys.executable, "-c", WAITING, url]
        run = subprocess.Popen(
            command, env={**env, "COLUMNS": "100"}, stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a pseudo-terminal
            while more := os.read(ours, 1000):
                shown += more
        assert "no answer after" in run.communicate()[0]
        os.close(ours)
        assert f"asking {url} for v4.28.0".encode() in shown and b"0:00:01" in shown
        ran = subprocess.run(command, env=env, capture_output=True, text=True)
        assert ran.stderr == ""


# --- the disk, the home folder, git's own settings


def test_a_disk_without_room(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever git fails at: not all of its programs say why."""
    script = f"""
        mount -t tmpfs -o size=$1k none {tmp_path} && export XDG_CACHE_HOME={tmp_path} &&
        [ "$1" != 64 ] || cat /dev/zero >{tmp_path}/filler 2>/dev/null
        exec {sys.executable} -c '{WAITING}' {made.url}"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    for size in ("16", "40", "64"):
        ran = subprocess.run([*command, size], env=env, capture_output=True, text=True)
        if "mount" in ran.stderr or "unshare" in ran.stderr:
            pytest.skip("no file system of one's own here")
        assert ran.stdout.startswith(("no room", "cannot write")) and "XDG_CACHE_HOME" in ran.stdout
        assert ran.stderr == ""
    # The same where nobody may mount: no room is what is left after a limit of no bytes.
    monkeypatch.setattr(git_fetch, "FEW_BYTES", 1 << 62)
    assert "no room" in refused(str(made.path / "big0"), "v4.28.0")


def test_no_home_folder(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.chdir(tmp_path)

    def nobody(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for home in (None, "", "relative"):
        monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
        assert "set XDG_CACHE_HOME" in refused(made.url, "v4.28.0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["[core\nx", "[core]\n\tbare = perhaps\n", "\0", "[http]\nproxy"], ids=repr
)
def test_settings_that_git_cannot_read(made: Made, tmp_path: Path, text: str) -> None:
    (tmp_path / ".gitconfig").write_text(text)
    env = {k: v for k, v in os.environ.items() if k != "GIT_CONFIG_GLOBAL"}
    env |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", WAITING, made.url], env=env, capture_output=True, text=True
    )
    assert ran.stderr == ""
    assert "git cannot read its settings (" in ran.stdout or text == "[http]\nproxy", ran.stdout


@pytest.mark.parametrize("folder", ["files", "refs"])
@pytest.mark.parametrize("kind", no_files.KINDS)
def test_what_is_no_file_in_the_cache_is_not_read(made: Made, folder: str, kind: str) -> None:
    good = fetch(made.url, "v4.28.0")
    (entry,) = entries(folder)
    no_files.put(kind, entry)
    if kind == "folder":
        assert f"cannot write {entry}" in refused(made.url, "v4.28.0")
    else:
        assert fetch(made.url, "v4.28.0") == good


def test_a_file_too_large(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(made.url, "v4.28.0")
    monkeypatch.setattr(regular, "LIMIT", 10)
    assert "is larger than" in refused(made.url, "main")
    assert "is larger than" in refused(made.url, "v4.28.0")  # in the cache
    (tmp_path / "mine.py").write_text("x" * 11)
    with pytest.raises(UserError, match="is larger than"):
        upstream.from_file(tmp_path / "mine.py")


# --- the rest


def test_from_file(tmp_path: Path, made: Made) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(TEXT["v4.29.0"].encode())
    blob = git(made.path, "rev-parse", f"v4.29.0:{PATH}")
    assert upstream.from_file(file) == Upstream(
        "file", "mine.py", "", blob, "mine.py", TEXT["v4.29.0"]
    )
    file.write_bytes(b"\xff")
    for bad in (file, tmp_path, tmp_path / "none.py", "a\0b"):
        with pytest.raises(UserError) as caught:
            upstream.from_file(bad)
        assert str(caught.value).isprintable()


def test_release_tags(made: Made) -> None:
    every = ["v4.9.0", "v4.10.0", "v4.28.0", "v4.29.0", "v4.29.1", "v4.100.0", "v10.0.0"]
    assert upstream.release_tags(made.url) == every[2:]
    assert upstream.release_tags(str(made.path), since="v0.0.0") == every
    assert upstream.release_tags(made.url, since="v4.29.1") == every[4:]
    with pytest.raises(UserError, match="not a release"):
        upstream.release_tags(made.url, since="4.28")


def test_measure_fetch(made: Made) -> None:
    size = received(made.url, "v4.28.0")
    assert len(TEXT["v4.28.0"]) < size < 50_000  # not the 600 kB beside it
    assert not Path(cache.root()).exists()
    with pytest.raises(UserError, match="no file"):
        received(made.url, "v4.10.0")

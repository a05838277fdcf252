"""make bump, in a checkout with real git, following a miniature upstream that releases."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkouts import LOCKS, Checkout

GONE = ((" Trainer(", " OurTrainer("),)
# What a patch of the series chatglm alone does not expect.
FOR_ONE = ("        config=conf,\n", "        config=conf,\n            empty_init=True,\n")
NEW_ARGUMENT = (
    "    dataset_config_name: str | None",
    '    shuffle_lines: bool = field(default=False, metadata={"help": "Mix."})\n'
    "    dataset_config_name: str | None",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both series locked at v4.54.0; upstream's newest is v5.1.0."""
    folder = tmp_path_factory.mktemp("built")
    made = Checkout(folder)
    made.build()
    made.lock("v4.54.0", "chatglm", "second")
    return folder


@pytest.fixture
def here(built: Path, tmp_path: Path) -> Checkout:
    for name in ("checkout", "upstream"):
        shutil.copytree(built / name, tmp_path / name, symlinks=True)
    return Checkout(tmp_path)


def bump(here: Checkout, *arguments: str, code: int = 0) -> str:
    return here.run("tools", "bump", *arguments, code=code)


def ref(here: Checkout, name: str, at: str = "HEAD") -> str:
    return json.loads(here.git("show", f"{at}:{LOCKS[name]}"))["upstream"]["ref"]


def refused(here: Checkout, *arguments: str, said: str) -> str:
    """The bump fails with that line, and neither repository nor files change."""
    before = here.state()
    told = bump(here, *arguments, code=1)
    assert said in told
    assert here.state() == before
    return told


def test_a_new_release_is_one_commit_of_lock_and_sheet(here: Checkout) -> None:
    here.release("v5.2.0", NEW_ARGUMENT)
    (here.root / "notes.txt").write_text("staged, and none of the bump's business")
    here.git("add", "notes.txt")
    before = here.git("rev-parse", "HEAD")
    told = bump(here)
    assert here.git("rev-parse", "HEAD^") == before
    changed = here.git("diff-tree", "-r", "--name-only", "--no-commit-id", "HEAD").split()
    sheets = [lock.replace("lock.json", "review.md") for lock in LOCKS.values()]
    assert changed == sorted([*LOCKS.values(), *sheets])
    assert here.git("status", "--porcelain") == "A  notes.txt"
    assert [ref(here, name) for name in LOCKS] == ["v5.2.0", "v5.2.0"]
    message = here.git("log", "-1", "--format=%B")
    assert message.splitlines()[0] == "Bump upstream: v4.54.0 → v5.2.0 (chatglm, second)"
    for tag, word in (("v4.54.0", "from"), ("v5.2.0", "to  ")):
        commit = here.git("-C", str(here.upstream), "rev-parse", f"{tag}^{{commit}}")
        assert f"  {word} {commit}\n" in message
    assert "arguments upstream added: 2 (dtype, shuffle_lines)" in message
    assert "arguments upstream removed: 1 (torch_dtype)" in message
    assert "  what upstream's script does otherwise:\n  - " in message
    told_of = "AutoModelForCausalLM.from_pretrained: gets dtype, no longer torch_dtype"
    assert f"  - {told_of}" in message
    assert f"upstream   {told_of}\n" in told
    assert "11 → 11" in message or "places of upstream changed: " in message
    script = (here.root / "generated" / "run_clm_lora_second.py").read_text(encoding="utf-8")
    assert "shuffle_lines" in script
    assert "up to date" in here.run("tools", "check", "--series", "second")
    assert "already at the newest release v5.2.0" in bump(here)


def test_where_an_anchor_is_gone_every_refusal_is_told_once_and_nothing_changes(
    here: Checkout,
) -> None:
    here.release("v5.2.0", *GONE)
    told = refused(here, said="patches 'lora', ")
    assert "bumping    second v4.54.0 → v5.2.0" in told
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(set(errors)) >= 1
    assert any("nearest: line " in line for line in errors)


def test_all_or_none(here: Checkout) -> None:
    """A series that refuses holds the others back."""
    here.release("v5.2.0", FOR_ONE)
    refused(here, said="patch 'zero3' does not apply")
    assert "bumping    chatglm v4.54.0 → v5.1.0" in bump(here, "--to", "v5.1.0")
    assert [ref(here, name) for name in LOCKS] == ["v5.1.0", "v5.1.0"]
    assert here.git("log", "-1", "--format=%s").endswith("(chatglm, second)")


def test_a_series_moves_alone_when_named(here: Checkout) -> None:
    bump(here, "--series", "chatglm", "--to", "v5.1.0")
    assert (ref(here, "chatglm"), ref(here, "second")) == ("v5.1.0", "v4.54.0")
    bump(here, "--series", "chatglm", "--to", "v4.46.0")  # back, since it was said
    assert ref(here, "chatglm") == "v4.46.0"


@pytest.mark.parametrize(
    "file, said",
    [
        ("generated/run_clm_lora.lock.json", "generated has uncommitted changes"),
        ("patches/common/lora.py", "uncommitted changes in patches/common/lora.py"),
        ("generated/new.md", "generated has uncommitted changes (generated/new.md)"),
    ],
)
def test_a_dirty_tree(here: Checkout, file: str, said: str) -> None:
    with open(here.root / file, "a") as stream:
        stream.write("\n")
    refused(here, said=said)


MISTAKES = {
    "unknown ref": (["--to", "v5.1.7"], "nearest tags: v5.1.0"),
    "an option as ref": (["--to=--upload-pack=touch x"], "refused"),
    "unknown series": (["--series", "nope"], "choose from chatglm, second"),
    "elsewhere": (["--out", "/tmp"], "/tmp is outside this checkout"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(here: Checkout, case: str) -> None:
    arguments, said = MISTAKES[case]
    refused(here, *arguments, said=said)


def test_a_tag_that_moved(here: Checkout) -> None:
    bump(here, "--to", "v5.1.0")
    here.git("-C", str(here.upstream), "tag", "--force", "v5.1.0", "v4.46.0")
    refused(here, said="tag v5.1.0 of local clone is now")
    bump(here, "--accept-moved")
    assert "already at v5.1.0" in bump(here, "--to", "v5.1.0")


def test_a_mirror_that_is_behind_takes_nobody_back(here: Checkout) -> None:
    bump(here)
    here.git("-C", str(here.upstream), "tag", "--delete", "v5.1.0")
    assert "already at v5.1.0; the newest release of local clone is v4.54.0" in bump(here)


def test_a_lock_made_with_other_patches(here: Checkout) -> None:
    with open(here.root / "patches" / "common" / "lora.py", "a") as stream:
        stream.write("# more\n")
    here.commit("A patch changes, its lock does not")
    refused(here, said="was made with other patches")


def test_a_commit_that_git_refuses_is_taken_back(here: Checkout) -> None:
    hook = here.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no commits on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    refused(here, said="no commits on Fridays")
    (here.root / "generated" / "run_clm_lora_second.py").unlink()
    before = here.state()
    bump(here, code=1)
    assert here.state() == before


def slow_hook(here: Checkout) -> Path:
    """A hook that says that it runs, and does not end."""
    hook = here.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n: >.git/running\nsleep 60\n")
    hook.chmod(0o755)
    return here.root / ".git" / "running"


def stopped(here: Checkout, number: int) -> subprocess.CompletedProcess[str]:
    """A bump that gets a signal while its commit's hook runs; with SIGKILL, all of it does."""
    running = slow_hook(here)
    run = subprocess.Popen(
        [sys.executable, "-m", "tools", "bump", "--repo", here.upstream.as_uri()],
        cwd=here.root,
        env=here.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not running.exists():
        assert run.poll() is None
        time.sleep(0.01)
    group = run.pid
    os.killpg(group, number) if number == signal.SIGKILL else run.send_signal(number)
    run.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)  # the hook's sleep
    (here.root / ".git" / "hooks" / "pre-commit").unlink()
    return subprocess.CompletedProcess(run.args, run.returncode, stderr=run.communicate()[1])


def test_a_signal_takes_the_bump_back(here: Checkout) -> None:
    before = here.state()
    ran = stopped(here, signal.SIGTERM)
    assert ran.returncode == 128 + signal.SIGTERM
    assert ran.stderr == "interrupted: outputs are whole, the old ones or the new\n"
    assert here.state() == before
    bump(here)


def test_killed_in_a_hook_the_next_bump_says_what_to_do(here: Checkout) -> None:
    before = here.state()
    assert stopped(here, signal.SIGKILL).returncode == -signal.SIGKILL
    if (lock := here.root / ".git" / "index.lock").exists():
        assert f"remove {lock}" in bump(here, code=1)
        lock.unlink()
    said = bump(here, code=1)
    assert "git restore --staged --worktree generated" in said and "bump that was killed" in said
    here.git("restore", "--staged", "--worktree", "generated")
    assert here.state()[:2] == before[:2]
    assert "committed" in bump(here)


def test_another_repositorys_hook_runs_a_bump(here: Checkout, tmp_path: Path) -> None:
    """git tells its hooks of their repository: ours is where we stand."""
    here.git("init", "--quiet", str(tmp_path / "other"))
    here.env |= {"GIT_DIR": str(tmp_path / "other" / ".git"), "GIT_WORK_TREE": str(tmp_path)}
    assert "committed" in bump(here)
    here.env = {k: v for k, v in here.env.items() if k not in ("GIT_DIR", "GIT_WORK_TREE")}
    assert here.git("log", "-1", "--format=%s").startswith("Bump upstream")
    assert here.git("status", "--porcelain") == ""


def test_a_tracked_script_is_committed_too(here: Checkout) -> None:
    here.git("add", "--force", "generated/run_clm_lora_second.py")
    here.commit("Ours to keep")
    bump(here)
    assert "generated/run_clm_lora_second.py" in here.git("show", "--stat=200", "HEAD")
    assert here.git("status", "--porcelain") == ""


def test_no_checkout(here: Checkout) -> None:
    shutil.rmtree(here.root / ".git")
    ran = subprocess.run(["git", "rev-parse"], cwd=here.root, env=here.env, capture_output=True)
    assert ran.returncode, "the tests' folder is in a repository"
    assert "not a git repository" in here.run("tools", "bump", code=1)


def test_locks_are_checked_and_swept_as_far_as_they_reach(here: Checkout) -> None:
    here.git("rm", "--quiet", *(LOCKS["chatglm"].replace("lock.json", x) for x in ("lock.json", "review.md")))  # fmt: skip
    here.lock("v4.30.0", "second")
    told = here.run("tools", "locks")
    assert "up to date generated/run_clm_lora_second.py (v4.30.0)" in told
    assert "2 of 2 regenerate" in told
    sheet = here.root / LOCKS["second"].replace("lock.json", "review.md")
    sheet.write_text("edited by hand\n")
    told = here.run("tools", "locks", code=1)
    assert "error: generated is not what upstream and the patches give" in told
    assert "2 of 2 regenerate" in told

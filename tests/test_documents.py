"""What the documents tell people to do works. Training commands are run in tests/smoke."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, ROOT, blocks, commands, prose
from tests.miniature import build_repo

NEWER = "v4.54.0"  # stands for the release that the documents bump to
ELSEWHERE = {  # what other tests run, or what takes too long for every test run to do once more
    "make demo": "make demo is run before a release, its parts in tests/training/test_demo.py",
    "make test": "this is it",
    "make fuzz EXAMPLES=1000": "tests/fuzz",
    "make format": "make lint is the same in earnest",
}
TRAINING = ("python generated/", "deepspeed ", ".venv-chatglm/bin/python -m tools merge")
INSTALLING = ("python3.11 -m venv", ".venv-chatglm/bin/pip install -r ")


def every_command() -> list[str]:
    return list(dict.fromkeys(c for name in DOCUMENTS for c in commands(name)))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this checkout as it is now, with the environments that it has made."""
    folder = tmp_path_factory.mktemp("docs") / "checkout"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    assert (folder / ".venv" / "dev").exists(), "these tests run in the Makefile's .venv"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for lock in (folder / "generated").glob("*.lock.json"):  # they are genuine upstream's
        lock.unlink()
    for step in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *step], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Upstream is the miniature, the cache is empty."""
    folder = tmp_path_factory.mktemp("upstream")
    who = {f"GIT_{r}_{w}": f"t{w}@t" for r in ("AUTHOR", "COMMITTER") for w in ("NAME", "EMAIL")}
    return {
        **os.environ,
        **who,
        "TRANSFORMERS_REPO": build_repo(folder / "repo").as_uri(),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def test_every_command_is_run_somewhere(checkout, environment):
    """The light ones here and now, in the order of the documents."""
    for command in every_command():
        if command in ELSEWHERE or command.startswith(TRAINING):
            continue
        if command.startswith(INSTALLING):
            for name in re.findall(r"-r (\S+)", command):
                assert (ROOT / name).is_file(), command
            continue
        said = command.replace("v4.57.1", NEWER)
        if said.startswith("make bump"):  # of what is committed
            said = f"git add -A && git commit -qm locks && {said}"
        # Environments made a moment ago are newer than files copied just now.
        said = re.sub(r"\bmake ", "make -o .venv/tools -o .venv/dev ", said)
        ran = subprocess.run(
            said, shell=True, cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{said}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"


def test_named_make_targets_and_files_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in DOCUMENTS:
        text = prose(name)
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert target in targets, f"{name}: make {target}"
        for place in re.findall(
            r"`((?:docs|ds_configs|requirements|tools|codemods)/[\w./-]+\.\w+)`", text
        ):
            assert place.endswith("/run_arguments.py") or (ROOT / place).exists(), (
                f"{name}: {place}"
            )
        for place in re.findall(r"\]\(([\w./-]+)\)", text):
            assert (ROOT / place).exists(), f"{name}: {place}"


def test_the_patches_are_those_of_the_series():
    import tomllib

    series = tomllib.loads((ROOT / "patches" / "series.toml").read_text(encoding="utf-8"))
    expected = [(p["name"], p["layer"]) for p in series["patch"]]
    for name in ("README.md", "README.zh-CN.md"):
        rows = re.findall(
            r"^\| ([a-z0-9-]+) \| (common|chatglm|causal) \|", prose(name), re.MULTILINE
        )
        assert sorted(rows) == sorted(expected), name


def test_both_languages_say_the_same():
    one, other = "README.md", "README.zh-CN.md"
    assert commands(one) == commands(other)
    for language in ("python", "toml", "json"):
        assert blocks(one, language) == blocks(other, language)
    for pattern in (r"^#+ ", r"^\|", r"`(?:--|make )[\w-]+", r"\]\("):
        counts = [len(re.findall(pattern, prose(name), re.MULTILINE)) for name in (one, other)]
        assert counts[0] == counts[1], f"{pattern}: {counts}"


def test_the_worked_example_works(checkout, environment, tmp_path):
    """The example's patch applies and is verified; taken out again it leaves no trace."""
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder, symlinks=True)
    python = [sys.executable, "-m", "tools", "regenerate", "--ref", "v5.1.0"]

    def regenerate(out: str) -> str:
        repo = ["--repo", environment["TRANSFORMERS_REPO"], "--out", out]
        subprocess.run(
            [*python, *repo], cwd=folder, env=environment, check=True, capture_output=True
        )
        return (folder / out / "run_clm_lora.py").read_text(encoding="utf-8")

    before = regenerate("before")
    payload, codemod = (
        b
        for b in blocks("README.md", "python")
        if "arguments are" in b or "def write_arguments" in b
    )
    entry = blocks("README.md", "toml")[0]
    (folder / "patches" / "run_arguments.py").write_text(payload, encoding="utf-8")
    (folder / "codemods" / "run_arguments.py").write_text(codemod, encoding="utf-8")
    series = folder / "patches" / "series.toml"
    known = series.read_text(encoding="utf-8")
    series.write_text(f"{known}\n{entry}", encoding="utf-8")
    after = regenerate("after")
    assert re.search(r"^    write_arguments\(\w+, \w+, \w+\)$", after, re.MULTILINE)
    assert payload.partition("\n\n\n")[2].strip() in after
    series.write_text(known, encoding="utf-8")
    (folder / "patches" / "run_arguments.py").unlink()
    (folder / "codemods" / "run_arguments.py").unlink()
    assert regenerate("again") == before

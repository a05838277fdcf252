"""What the documents tell people to do works. Training commands are run in tests/smoke."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import (
    DOCUMENTS,
    NODES,
    PAGES,
    PAIRS,
    ROOT,
    TRAINED,
    TRAINING,
    blocks,
    commands,
    headings,
    links,
    prose,
    text,
    twin,
)
from tests.miniature import build_repo

NEWER = "v4.54.0"  # stands for the release that the documents bump to
ELSEWHERE = {  # what other tests run, or what takes too long for every test run to do once more
    "make demo": "make demo is run before a release, its parts in tests/training/test_demo.py",
    "make test": "this is it",
    "make fuzz EXAMPLES=1000": "tests/fuzz",
    "python -m tools port THUDM/chatglm-6b ported/chatglm-6b --trust_remote_code": "tests/payload/test_port.py",
    "make format": "make lint is the same in earnest",
}
EXAMPLE = "docs/writing-a-patch.md"
INSTALLING = ("python3.11 -m venv ", ". .venv-chatglm/bin/activate", "pip install -r ")


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
    for command in commands(*DOCUMENTS):
        if command in ELSEWHERE or command.startswith(TRAINING) or command in commands(NODES):
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


def test_every_training_command_is_run_in_tests_smoke():
    run = commands(*TRAINED, NODES)
    assert [c for c in commands(*DOCUMENTS) if c.startswith(TRAINING) and c not in run] == []


def test_named_make_targets_and_files_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    rooms = "benchmarks|codemods|docs|ds_configs|patches|requirements|tests|tools"
    for name in DOCUMENTS:
        for target in re.findall(r"`make ([a-z-]+)", prose(name)):
            assert target in targets, f"{name}: make {target}"
        for place in re.findall(rf"`((?:{rooms})/[\w./-]*)`", prose(name)):
            known = place.endswith("/run_arguments.py") or (ROOT / place).exists()
            assert known, f"{name}: {place}"


def test_links_lead_somewhere():
    for name in DOCUMENTS:
        for place, heading in links(name):
            assert place.exists(), f"{name}: {place}"
            assert not heading or heading in headings(place), f"{name}: {place}#{heading}"


@pytest.mark.parametrize("name", PAIRS[0])
def test_the_readme_takes_two_screens_and_leads_to_every_page(name):
    assert len(text(name).splitlines()) < 150
    first_screen = text(name).splitlines()[:30]
    assert {"make demo", "make test"} <= {line.partition("  ")[0] for line in first_screen}
    led = {place for place, _ in links(name)}
    for page in PAGES:
        assert ROOT / (page if name == "README.md" else twin(page)) in led, page


def test_every_page_of_docs_is_tested():
    written = ("docs/benchmarks.md", "docs/compatibility.md")  # by programs
    here = {file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").glob("*.md")}
    assert here - set(written) == set(DOCUMENTS) - {*PAIRS[0], "CONTRIBUTING.md"}


def test_the_patches_are_those_of_the_series():
    import tomllib

    series = tomllib.loads(text("patches/series.toml"))
    expected = [(p["name"], p["layer"]) for p in series["patch"]]
    for name in ("docs/writing-a-patch.md", "docs/writing-a-patch.zh-CN.md"):
        rows = re.findall(
            r"^\| ([a-z0-9-]+) \| (common|chatglm|causal) \|", prose(name), re.MULTILINE
        )
        assert sorted(rows) == sorted(expected), name


def test_the_errors_are_those_that_are_said():
    """What the tables quote stands in the code, "…" being what a message fills in."""
    said = set()
    for folder in ("tools", "codemods", "patches"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                literal = [p.value if isinstance(p, ast.Constant) else "…" for p in parts]
                said.add("".join(map(str, literal)))
    quoted = []
    for name in ("docs/errors.md", "docs/errors.zh-CN.md"):
        rows = re.findall(r"^\| ([^|]+) \|", prose(name), re.MULTILINE)
        quoted.append([row for row in rows if row not in ("it says", "提示")])
    assert quoted[0] == quoted[1]
    for phrase in {part.strip(" .:") for row in quoted[0] for part in re.split("…|; ", row)} - {""}:
        assert any(phrase in message for message in said), phrase


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[one for one, _ in PAIRS])
def test_both_languages_say_the_same(one, other):
    for name, its_twin in ((one, other), (other, one)):
        first_lines = "\n".join(text(name).splitlines()[:5])
        assert f"]({Path(its_twin).name})" in first_lines, f"{name} does not lead to its twin"
    assert commands(one) == commands(other)
    for language in ("sh", "bash", "python", "toml", "json", ""):
        assert blocks(one, language) == blocks(other, language)
    for pattern in (r"^#+ ", r"^\|", r"^- ", r"^\*\*", r"`(?:--|make )[\w-]+", r"\]\("):
        counts = [len(re.findall(pattern, prose(name), re.MULTILINE)) for name in (one, other)]
        assert counts[0] == counts[1], f"{pattern}: {counts}"
    instead = {
        ROOT / name: ROOT / its_twin for pair in PAIRS for name, its_twin in (pair, pair[::-1])
    }
    led = [sorted(place for place, _ in links(name)) for name in (one, other)]
    assert sorted(instead.get(place, place) for place in led[0]) == led[1], (
        "pages of its own language"
    )


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
        b for b in blocks(EXAMPLE, "python") if "arguments are" in b or "def write_arguments" in b
    )
    entry = blocks(EXAMPLE, "toml")[0]
    files = {"patches/common/run_arguments.py": payload, "codemods/run_arguments.py": codemod}
    for name, content in files.items():
        assert f"`{name}`" in text(EXAMPLE)
        (folder / name).write_text(content, encoding="utf-8")
    series = folder / "patches" / "series.toml"
    known = series.read_text(encoding="utf-8")
    series.write_text(f"{known}\n{entry}", encoding="utf-8")
    after = regenerate("after")
    assert re.search(r"^    write_arguments\(\w+, \w+, \w+\)$", after, re.MULTILINE)
    assert payload.partition("\n\n\n")[2].strip() in after
    series.write_text(known, encoding="utf-8")
    for name in files:
        (folder / name).unlink()
    assert regenerate("again") == before

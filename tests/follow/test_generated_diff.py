"""make generated-diff, between commits of a checkout with real git."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.checkouts import Checkout
from tools.follow import generated_diff


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("diff"))
    made.build()
    made.lock("v4.54.0", "second")
    made.git("tag", "start")
    return made


def compare(here: Checkout, base: str, code: int = 0, **env: str) -> tuple[str, Path]:
    here.env.update(env)
    told = here.run("tools.follow.generated_diff", "--base", base, code=code)
    return told, here.root / "build" / "generated-diff"


def back(here: Checkout) -> None:
    here.git("reset", "--quiet", "--hard", "start")


def test_nothing_changed(here: Checkout) -> None:
    told, into = compare(here, "start")
    assert "| second | `v4.54.0` | unchanged | unchanged |" in told
    report = (into / "report.md").read_text("utf-8")
    assert report.startswith(generated_diff.MARK)
    assert "<details>" not in report
    assert report == (into / "comment.md").read_text("utf-8")


def test_a_patch_and_a_ref_change(here: Checkout) -> None:
    file = here.root / "patches" / "common" / "lora.py"
    file.write_text(file.read_text("utf-8") + "\n\nADDED_BY_THIS_TEST = '````'\n")
    told, into = compare(here, "HEAD")  # what is not committed yet counts
    assert "| second | `v4.54.0` | +3 −0 |" in told
    diff = (into / "run_clm_lora_second.py.diff").read_text("utf-8")
    assert "+ADDED_BY_THIS_TEST" in diff
    assert (into / "head" / "run_clm_lora_second.py").is_file()
    assert (into / "base" / "run_clm_lora_second.review.md").is_file()
    report = (into / "report.md").read_text("utf-8")
    assert "`````diff" in report  # a fence that the diff cannot close
    assert diff.strip() in report
    here.commit("A patch")
    here.lock("v5.1.0", "second")
    told, into = compare(here, "HEAD^", GITHUB_SERVER_URL="https://example.org",
                         GITHUB_REPOSITORY="a/b", GITHUB_RUN_ID="7")  # fmt: skip
    assert "| second | `v4.54.0` → `v5.1.0` | +" in told
    assert "(https://example.org/a/b/actions/runs/7)" in (into / "comment.md").read_text("utf-8")
    back(here)


def test_a_series_comes(here: Checkout) -> None:
    text = (here.root / "patches" / "series.toml").read_text("utf-8")
    new = text + '\n[series.third]\nscript = "run_third.py"\n' + re.search("layers = .*", text)[0]
    (here.root / "patches" / "series.toml").write_text(new + "\n", "utf-8")
    here.lock("v5.1.0", "third")
    told, into = compare(here, "start")
    assert "| third | none → `v5.1.0` | +" in told
    assert "| second | `v4.54.0` | unchanged | unchanged |" in told
    assert len((into / "comment.md").read_bytes()) <= 58_000
    assert "… cut here: " in (into / "comment.md").read_text("utf-8")
    assert "… cut here: " not in (into / "summary.md").read_text("utf-8")
    back(here)


def test_what_refuses_is_told_whichever_side(here: Checkout) -> None:
    file = here.root / "codemods" / "lora.py"
    refuses = "\n\ndef apply(patch):\n    raise patch.refuse('what is not there', [])\n"
    file.write_text(file.read_text("utf-8") + refuses)
    here.commit("Broken")
    told, into = compare(here, "start", code=1)
    assert "**see below**" in told
    report = (into / "report.md").read_text("utf-8")
    assert "**second** cannot be regenerated here:" in report
    assert "patch 'lora' does not apply" in report
    here.git("revert", "--no-edit", "HEAD")
    compare(here, "HEAD^")  # mended here: no failure
    assert "at the base" in (into / "report.md").read_text("utf-8")
    back(here)


def test_mistakes(here: Checkout, tmp_path: Path) -> None:
    assert "is no commit of this checkout" in compare(here, "nope", code=1)[0]
    (tmp_path / "mine").write_text("mine")
    told = here.run(
        "tools.follow.generated_diff", "--base", "HEAD", "--into", str(tmp_path), code=1
    )
    assert "holds something else" in told
    assert (tmp_path / "mine").read_text() == "mine"

"""make watch: what a release is answered with; the decisions on made-up sweeps, the rest for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkouts import Checkout
from tests.follow.test_bump import GONE
from tools.follow import watch
from tools.follow.sweep import Outcome
from tools.regenerate.series import Series

CHATGLM, CAUSAL = Series("chatglm", "a.py", ()), Series("causal", "b.py", ())


def at(one: Series, ref: str) -> tuple[Series, dict]:
    return one, {"upstream": {"ref": ref}}


def swept(**releases: str) -> watch.Swept:
    """``v2="chatglm"``: at v2 chatglm refuses, the others do not."""
    return {
        ref: {
            s.name: Outcome(ref, "c", (((("lora",), "why"),) if s.name in bad.split() else ()), 0.0)
            for s in (CHATGLM, CAUSAL)
        }
        for ref, bad in releases.items()
    }


TAGS = ["v4.28.0", "v4.46.0", "v5.1.0", "v5.2.0"]


@pytest.mark.parametrize(
    "locks, expected",
    [
        ([at(CHATGLM, "v5.1.0"), at(CAUSAL, "v5.1.0")], ["v5.2.0"]),
        ([at(CHATGLM, "v5.2.0"), at(CAUSAL, "v5.2.0")], []),
        ([at(CHATGLM, "v4.46.0")], ["v5.1.0", "v5.2.0"]),
        ([at(CHATGLM, "v5.2.0"), at(CAUSAL, "v4.46.0")], ["v5.1.0", "v5.2.0"]),
        ([at(CHATGLM, "v5.2.0"), at(CAUSAL, "main")], []),
    ],
)
def test_what_is_newer(locks: list, expected: list[str]) -> None:
    assert watch.newer(TAGS, locks) == expected


@pytest.mark.parametrize(
    "outcomes, decision",
    [
        ({"v2": "", "v3": ""}, ("v3", "")),
        ({"v2": "", "v3": "causal"}, ("v2", "v3")),
        ({"v2": "causal", "v3": ""}, ("v3", "")),  # only what is newest is news
        ({"v3": "chatglm causal"}, ("", "v3")),
        ({}, ("", "")),
    ],
)
def test_decision(outcomes: dict[str, str], decision: tuple[str, str]) -> None:
    assert watch.decide(swept(**outcomes)) == decision


def test_a_table_tells_the_newest_of_many() -> None:
    rows = watch.table(swept(**{f"v{n}": "causal" for n in range(100)})).splitlines()
    assert len(rows) == 2 + watch.ROWS
    assert rows[-1] == "| v99 | regenerates | **refused**: `lora` |"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("watch"))
    made.build()
    made.lock("v4.46.0", "chatglm", "second")
    return made


def look(here: Checkout) -> tuple[str, str, str]:
    here.run("tools", "watch")
    into = here.root / "build" / "watch"
    return tuple((into / n).read_text("utf-8") for n in ("outputs", "pull-request.md", "issue.md"))


def test_from_release_to_release(here: Checkout) -> None:
    outputs, pull, issue = look(here)
    assert outputs == "bump=v5.1.0\nissue=\n"
    assert pull.startswith("# Bump upstream to v5.1.0\n")
    assert "- `run_clm_lora_second.py`: v4.46.0 → v5.1.0\n" in pull
    assert "- `run_clm_lora.py`: v4.46.0 → v5.1.0\n" in pull
    assert "Beside v4.46.0, upstream's script now:\n\n```text\n" in pull
    assert (
        "AutoModelForCausalLM.from_pretrained: gets dtype, no longer low_cpu_mem_usage, torch_dtype"
        in pull
    )
    assert "| v4.54.0 | regenerates | regenerates |" in pull
    assert issue == ""
    here.release("v5.2.0", *GONE)
    outputs, pull, issue = look(here)
    assert outputs == "bump=v5.1.0\nissue=v5.2.0\n"
    assert pull.startswith("# Bump upstream to v5.1.0\n")
    assert issue.startswith("# Patches refuse upstream v5.2.0\n")
    assert issue.count("patches 'lora', ") == 2  # each with the encoding of its own
    assert "nearest: line " in issue
    here.lock("v5.1.0", "chatglm", "second")
    assert look(here)[0] == "bump=\nissue=v5.2.0\n"
    here.release("v5.3.0")
    outputs, _, issue = look(here)
    assert (outputs, issue) == ("bump=v5.3.0\nissue=\n", "")
    here.lock("v5.3.0", "chatglm", "second")
    assert look(here) == ("bump=\nissue=\n", "", "")


def test_nobody_answers(here: Checkout) -> None:
    away = here.upstream.with_name("away")
    here.upstream.rename(away)
    try:
        assert "is not a git repository" in here.run("tools", "watch", code=1)
    finally:
        away.rename(here.upstream)


def test_no_lock(here: Checkout, tmp_path: Path) -> None:
    told = here.run("tools", "watch", "--out", str(tmp_path / "none"), code=1)
    assert "no lock in" in told

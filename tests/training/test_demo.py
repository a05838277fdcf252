"""tools/training/demo.py, but for the training itself, which tests/smoke has."""

from __future__ import annotations

import argparse
import json

import pytest
from rich.console import Console

from tests.miniature import TAGS, build_repo
from tools.errors import UserError
from tools.training import demo, launch, stacks


def test_sparkline():
    assert demo.sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == "█▇▆▅▄▃▂▁"
    assert demo.sparkline([1, 1, 1]) == "▁▁▁"
    assert demo.sparkline([4, 4, 0, 0, 2, 2], width=3) == "█▁▅"
    assert len(demo.sparkline(list(range(1000)))) <= 60


def test_only_a_demos_own_folder_is_emptied(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty, and no demo wrote it"):
        demo._empty(mine)
    assert (mine / "thesis.txt").exists()
    demo._empty(tmp_path / "new")
    (tmp_path / "new" / "old.txt").write_text("")
    demo._empty(tmp_path / "new")
    assert not (tmp_path / "new" / "old.txt").exists()


def test_the_data_is_what_the_readme_says():
    rows = json.loads(demo.DATA.read_text(encoding="utf-8"))
    assert len(rows) >= 8 * demo.ASKED
    for row in rows:
        assert set(row) == {"prompt", "response", "history"}
        assert row["prompt"] and row["response"]
        assert all(len(pair) == 2 for pair in row["history"])
    assert max(len(row["history"]) for row in rows) >= 2


def test_stacks_have_environments():
    assert stacks.python("v4.28.0").parent.parent.name == ".venv-v4.28.0"
    assert stacks.python(None) == stacks.python("v9.0.0")


def lock(folder, script, ref):
    digests = {"commit": "0" * 40, "blob": "0" * 40, "sha256": "0" * 64}
    written = {
        "format": 1,
        "series": "any",
        "upstream": {"repo": "local clone", "ref": ref, "path": "run_clm.py", **digests},
        "patches": [],
        "output": {"file": "any.py", "sha256": "0" * 64},
    }
    (folder / script).write_text(json.dumps(written))


def test_the_newest_release_is_that_of_a_lock(tmp_path):
    assert demo._newest(tmp_path) == TAGS[-1]
    lock(tmp_path, "run_clm_lora.lock.json", "main")
    assert demo._newest(tmp_path) == TAGS[-1]
    lock(tmp_path, "run_clm_lora.lock.json", "v4.28.0")
    lock(tmp_path, "run_clm_lora_causal.lock.json", "v5.10.0")
    assert demo._newest(tmp_path) == "v5.10.0"
    lock(tmp_path, "run_clm_lora.lock.json", "v5.9.0")
    assert demo._newest(tmp_path) == "v5.10.0"


@pytest.mark.parametrize(
    ("has_repo", "ref", "said"),
    [
        (False, None, f"the bundled miniature, in the shape of {TAGS[-1]} "),
        (True, None, f"/repo {TAGS[-1]} "),
        (True, "v4.28.0", "/repo v4.28.0 "),
    ],
)
def test_the_script_is_of_the_newest_ref_or_of_the_one_asked_for(
    tmp_path, monkeypatch, has_repo, ref, said
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "_newest", lambda: TAGS[-1])
    repo = build_repo(tmp_path / "repo").as_uri() if has_repo else None
    console = Console(record=True, width=1000)
    script = demo._regenerate(argparse.Namespace(repo=repo, ref=ref), tmp_path, console)
    assert script == tmp_path / "run_clm_lora.py"
    assert script.is_file()
    assert said in console.export_text()


def test_the_release_is_that_of_the_stack():
    assert demo._release("v4.30.0") == "transformers 4.28.0"
    assert demo._release(None) == demo._release("v9.0.0")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A run whose programs say and do nothing but what a test has them."""
    said = []

    def run(python, log, *arguments):
        said.append(" ".join(map(str, arguments)))
        log.parent.mkdir(exist_ok=True)
        log.write_text(run.output)
        if run.output:
            raise UserError(run.output[:20])
        return ""

    run.output = ""
    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setattr(launch, "cpu_options", lambda *_: ["--use_cpu"])
    return demo._Run("python", tmp_path / "script.py", tmp_path), said, run


def test_what_is_trained_on_is_the_ported_model(told, tmp_path):
    run, said, _ = told
    run.build_model()
    assert f"{tmp_path}/published --kind chatglm6b " in said[0]
    assert run.port() == ""
    assert f"port {tmp_path}/published {tmp_path}/model " in said[1]
    assert run._arguments("trained")[1] == run.places()["model"] == tmp_path / "model"


def test_a_release_that_runs_the_code_as_it_is_trains_the_published_model(told, tmp_path):
    run, _, program = told
    program.output = f"error: transformers 4.28.0 runs the code of {tmp_path}: it needs no port"
    assert run.port() == "needs no port"
    assert run._arguments("trained")[1] == run.places()["model"] == tmp_path / "published"


def test_a_port_that_fails_stops_the_demo(told):
    run, _, program = told
    program.output = "error: cannot port it"
    with pytest.raises(UserError, match="error: cannot port"):
        run.port()

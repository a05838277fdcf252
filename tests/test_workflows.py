"""The workflows: audited, tied to targets that exist, and the watch's steps run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.checkouts import ROOT, Checkout
from tests.follow.test_bump import GONE
from tests.follow.test_publish import GitHub, install

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {f.stem: yaml.safe_load(f.read_text("utf-8")) for f in sorted(FOLDER.glob("*.yml"))}
ACTIONS = {f"actions/{name}" for name in ("checkout", "setup-python", "cache", "upload-artifact")}


def steps(name: str) -> list[dict]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def test_zizmor_finds_nothing() -> None:
    """No input in a shell, no kept credentials, no permission too many, and the rest it knows."""
    zizmor = Path(sys.executable).with_name("zizmor")
    ran = subprocess.run(
        [zizmor, "--offline", "--no-progress", "--persona=regular", ROOT / ".github"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", WORKFLOWS)
def test_shell_and_permissions(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert set(workflow["permissions"] or {}) <= {"contents"}  # more only where a job says so
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
    for step in steps(name):
        assert "${{" not in step.get("run", "")
        if "uses" in step:
            action, _, version = step["uses"].partition("@")
            assert action in ACTIONS
            assert re.fullmatch(r"v\d+|[0-9a-f]{40}", version)
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_every_make_target_exists() -> None:
    said = [t for n in WORKFLOWS for s in steps(n) for t in targets(s.get("run", ""))]
    assert {"locks", "test", "generated-diff", "watch", "bump", "smoke-release"} <= set(said)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in said:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def targets(run: str) -> list[str]:
    return re.findall(r"^\s*make ([a-z-]+)", run, re.MULTILINE)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_only_what_tells_github_has_a_token(name: str) -> None:
    """Installing packages, upstream's code and a pull request's run without one."""
    assert "GH_TOKEN" not in WORKFLOWS[name].get("env", {})
    for job in WORKFLOWS[name]["jobs"].values():
        assert "GH_TOKEN" not in job.get("env", {})
    for step in steps(name):
        tells = "tools.follow.publish" in step.get("run", "")
        assert ("GH_TOKEN" in step.get("env", {})) == tells
        assert not tells or not targets(step["run"])


class Runner:
    """Runs a job's steps as a runner does: outputs, conditions, the environment they are given."""

    def __init__(self, here: Checkout, folder: Path) -> None:
        self.here, self.github = here, GitHub(folder)
        self.output, self.summary = folder / "output", folder / "summary"
        self.env = {
            **here.env,
            "PATH": f"{install(folder)}{os.pathsep}{os.environ['PATH']}",
            "FAKE_GH": str(self.github.file),
            "TRANSFORMERS_REPO": here.upstream.as_uri(),
            "GITHUB_REPOSITORY": "team/project",
            "GITHUB_SERVER_URL": "https://example.org",
            "GITHUB_RUN_ID": "7",
            "GITHUB_REF_NAME": "main",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def run(self, job: dict, leave: str = "", **needs: str) -> dict[str, str]:
        """All steps with a shell, but for target ``leave``; the outputs they set."""
        self.output.write_text("")
        self.env["GITHUB_SHA"] = self.here.git("rev-parse", "HEAD")
        for step in job["steps"]:
            if "run" not in step or leave in targets(step["run"]):
                continue
            outputs = dict(x.split("=") for x in self.output.read_text().split())
            names = {f"steps.watch.outputs.{k}": v for k, v in outputs.items()}
            names["github.token"] = "secret"
            names |= {f"needs.look.outputs.{k}": v for k, v in needs.items()}
            if "if" in step:
                left, how, right = step["if"].split()
                assert (how, right) in {("!=", "''"), ("==", "''")}
                if (names[left] != "") != (how == "!="):
                    continue
            given = {**job.get("env", {}), **step.get("env", {})}
            given = {k: self._value(v, names) for k, v in given.items()}
            ran = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
                cwd=self.here.root,
                env={**self.env, **given},
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0, step["run"] + ran.stdout + ran.stderr
        return dict(x.split("=") for x in self.output.read_text().split())

    @staticmethod
    def _value(text: str, names: dict[str, str]) -> str:
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda m: names[m[1]], text)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    here = Checkout(tmp_path)
    here.build()
    venv = here.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    (venv / "tools").touch()
    here.lock("v4.54.0", "chatglm", "second")
    origin = tmp_path / "origin.git"
    here.git("clone", "--quiet", "--bare", str(here.root), str(origin))
    here.git("remote", "add", "origin", str(origin))
    return Runner(here, tmp_path)


def test_one_pull_request_and_one_issue_week_after_week(
    runner: Runner,
) -> None:
    here, jobs = runner.here, WORKFLOWS["upstream-watch"]["jobs"]
    found = runner.run(jobs["look"], leave="smoke-release")
    assert found == {"bump": "v5.1.0", "issue": ""}
    assert "# Bump upstream to v5.1.0" in runner.summary.read_text("utf-8")
    runner.run(jobs["tell"], bump="v5.1.0", smoke="success")
    (pull,) = runner.github["pulls"]
    assert pull["title"] == "Bump upstream to v5.1.0"
    assert "Smoke test at v5.1.0: **success** (https://example.org/team/project/actions/runs/7)" in pull["body"]  # fmt: skip
    assert "# What this changes in the generated scripts" in pull["body"]
    there = here.git("ls-remote", "origin", "refs/heads/upstream-bump").split()[0]
    assert there == here.git("rev-parse", "HEAD")
    assert here.git("log", "-1", "--format=%an %cn").count("github-actions[bot]") == 2
    lock = json.loads(here.git("show", f"{there}:generated/run_clm_lora_second.lock.json"))
    assert lock["upstream"]["ref"] == "v5.1.0"
    assert ["workflow", "run", "ci.yml", "--ref", "upstream-bump"] in runner.github["calls"]

    here.git("reset", "--quiet", "--hard", "origin/main")
    here.release("v5.2.0", *GONE)
    runner.run(jobs["tell"], bump="v5.1.0", smoke="failure")
    (pull,), (issue,) = runner.github["pulls"], runner.github["issues"]
    assert "**failure**" in pull["body"]
    assert issue["title"] == "Patches refuse upstream v5.2.0"

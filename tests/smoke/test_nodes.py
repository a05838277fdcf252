"""Two launchers on this machine act as two nodes: the commands of docs/several-nodes.md, which share no folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import NODES, blocks, commands
from tests.smoke.conftest import ROOT, ROWS, Runner
from tools.training import launch

pytestmark = pytest.mark.smoke
SCRIPT = "generated/run_clm_lora.py"
# There is no SLURM here: what starts the ranks of the job below as it does, a task a node.
SRUN = """#!/bin/sh
for node in 0 1; do
    (cd "$NODES/node$node" && HF_HOME="$NODES/home$node" exec "$@") >"$NODES/log$node" 2>&1 & pids="$pids $!"
done
for pid in $pids; do wait "$pid" || status=$?; done
exit ${status:-0}
"""
SCONTROL = """#!/bin/sh
[ "$*" = "show hostnames here[1-2]" ] && printf '127.0.0.1\\n127.0.0.2\\n'
"""
DATA = {"train.json": ROWS, "dev.json": ROWS, "test.json": ROWS}


class Nodes:
    """Two nodes, or one of both one's ranks: each has its own folder, data and cache."""

    def __init__(self, script: Runner):
        self.script, self.folder = script, script.folder
        self.runners = [
            Runner(
                self.folder / f"node{node}",
                script.model,
                self.folder / f"home{node}",
                script.zygote,
            )
            for node in (0, 1)
        ]
        for runner in self.runners:
            runner.folder.mkdir()
            for name, rows in DATA.items():
                runner.data(name, rows)
            runner.text("hostfile", blocks(NODES, "")[0].replace("slots=8", "slots=1"))
        self.options = {**script.options, "report_to": "none", "per_device_train_batch_size": 3}
        self.options |= {"learning_rate": 1e-2, "lora_dropout": 0, "lr_scheduler_type": "constant"}
        self.options |= {"logging_steps": 1, "save_steps": 2, "save_strategy": "steps"}

    def adapted(self, command: str, given: dict[str, object], ranks: int = 1) -> str:
        """The document's command for the toy model, ranks on a CPU and a free port."""
        options = {**self.options, **given}
        line = [f"--{k}" if v is True else f"--{k}={v}" for k, v in options.items()]
        port = launch.deepspeed(1)[-1]  # whose buffers are removed afterwards
        instead = {
            SCRIPT: str(self.script.script),
            "THUDM/chatglm-6b": str(self.script.model),
            " --torch_dtype float16 --fp16": "",
            "ds_configs/zero2.json": str(ROOT / "ds_configs" / "cpu_zero2.json"),
            "--nproc_per_node 8": f"--nproc_per_node {ranks}",
            "node1:29500": f"node1:{port}",
            "$first:29500": f"$first:{port}",
            "--master_addr": f"--master_port {port} --master_addr",
            "node1": "127.0.0.1",
            "--output_dir out": f"--output_dir out {shlex.join(line)}",
        }
        for old, new in instead.items():
            command = command.replace(old, new)
        return command

    def environment(self, node: int, **given: str) -> dict[str, str]:
        env = self.runners[node].env
        path = f"{self.folder}:{Path(sys.executable).parent}:{env['PATH']}"
        return {**env, "PATH": path, "NODES": str(self.folder), **given}

    def start(self, *lines: str) -> tuple[list[int], list[str]]:
        """Run a command line on each node, at the same time: statuses, what was printed."""
        started = []
        for node, line in enumerate(lines):
            with open(self.folder / f"log{node}", "w") as log:
                started.append(
                    subprocess.Popen(
                        ["bash", "-c", line],
                        cwd=self.runners[node].folder,
                        env=self.environment(node),
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        return [each.wait() for each in started], self.logs()

    def logs(self) -> list[str]:
        return [file.read_text(errors="replace") for file in sorted(self.folder.glob("log[01]"))]

    def ends(self, *lines: str) -> list[str]:
        statuses, said = self.start(*lines)
        assert not any(statuses), "\n".join(text[-3000:] for text in said)
        return said

    def submit(self, job: str) -> list[str]:
        """Run a job as SLURM does: what the nodes printed."""
        for name, text in {"srun": SRUN, "scontrol": SCONTROL, "job": job}.items():
            self.script.text(name, text).chmod(0o700)
        env = self.environment(
            0, SLURM_JOB_NODELIST="here[1-2]", SLURM_NNODES="2", SLURM_JOB_ID="7"
        )
        ran = subprocess.run([self.folder / "job"], env=env, capture_output=True, text=True)
        assert ran.returncode == 0, "\n".join([ran.stderr, *(text[-3000:] for text in self.logs())])
        return self.logs()

    def encoded(self, node: int) -> list[Path]:
        return list((self.folder / f"home{node}").rglob("cache-*.arrow"))


@pytest.fixture
def nodes(script: Runner) -> Nodes:
    return Nodes(script)


def command(program: str) -> str:
    return next(line for line in commands(NODES) if line.startswith(program))


def check(nodes: Nodes, whole: dict[int, float]) -> None:
    """What two runs on two nodes, the second of which resumed the first, have left."""
    first, second = nodes.runners
    assert len(whole) == 4
    assert first.losses("out") == whole  # equal, not near
    answers = [answer["prompt"] for answer in first.predictions("out")]
    assert answers == [row["prompt"] for row in ROWS]
    for runner in nodes.runners:
        assert list((runner.folder / "out").glob("adapter_model.*"))
    for name in ("generated_predictions.jsonl", "all_results.json"):
        assert (first.folder / "out" / name).is_file()
        assert not (second.folder / "out" / name).exists()
    states = [sorted(r.folder.glob("out/checkpoint-4/rng_state_*")) for r in nodes.runners]
    assert [[file.name for file in files] for files in states] == [
        ["rng_state_0.pth"],
        ["rng_state_1.pth"],
    ]
    # Once a node: a file for each split.
    assert [len(nodes.encoded(node)) for node in (0, 1)] == [2, 2]


def test_two_nodes_by_torchrun_and_slurm(nodes: Nodes) -> None:
    """Trained on one node, and on two to the half and then, as a SLURM job, to the end."""
    line = command("torchrun ")
    alone = line.replace("--nnodes 2", "--nnodes 1")
    nodes.ends(nodes.adapted(alone, {"max_steps": 4, "output_dir": "alone"}, ranks=2))
    assert len(nodes.encoded(0)) == 2, "once, and not once a rank"
    whole = nodes.runners[0].losses("alone")
    for file in nodes.encoded(0):
        file.unlink()
    said = nodes.ends(*[nodes.adapted(line, {"max_steps": 2})] * 2)
    assert all("each saves there (--save_on_each_node)" in text for text in said)
    given = {"max_steps": 4, "resume_from_checkpoint": "true", "log_level": "info"}
    given |= {"do_predict": True, "test_file": "test.json", "max_new_tokens": 4}
    said = nodes.submit(nodes.adapted(blocks(NODES, "bash")[0], given))
    assert all("Resuming from out/checkpoint-2" in text for text in said)
    check(nodes, whole)


@pytest.mark.long
def test_two_nodes_by_deepspeed(nodes: Nodes) -> None:
    line = command("deepspeed ")
    alone = re.sub(r"--hostfile .*? --master_addr", "--num_accelerators 2 --master_addr", line)
    nodes.ends(nodes.adapted(alone, {"max_steps": 4, "output_dir": "alone"}))
    whole = nodes.runners[0].losses("alone")
    for file in nodes.encoded(0):
        file.unlink()
    given = {"max_steps": 2}
    for _ in range(2):
        adapted = nodes.adapted(line, given)
        said = nodes.ends(adapted, adapted.replace("--node_rank 0", "--node_rank 1"))
        given = {"max_steps": 4, "resume_from_checkpoint": "true", "log_level": "info"}
        given |= {"do_predict": True, "test_file": "test.json", "max_new_tokens": 4}
    assert all("Resuming from out/checkpoint-2" in text for text in said)
    check(nodes, whole)
    found = [list(r.folder.glob("out/checkpoint-4/global_step4/*rank_1*")) for r in nodes.runners]
    assert [bool(files) for files in found] == [False, True], "not sharded"


@pytest.mark.long
def test_what_is_wrong_is_told_once_a_node(nodes: Nodes) -> None:
    """Two ranks each: rows that one node has otherwise, then rows that it cannot read."""
    line = nodes.adapted(command("torchrun "), {"max_steps": 1}, ranks=2)
    other = "rank 2 has encoded train rows other than rank 0's: "
    bad = "train.json, row 1 (line 1), column 'prompt': expected text, found "
    gone = "another rank ended first, and says why."
    for prompt, expected in (("x", (other, other)), (True, (gone, bad))):
        nodes.runners[1].data("train.json", [{**ROWS[0], "prompt": prompt}, *ROWS[1:]])
        statuses, said = nodes.start(line, line)
        assert all(statuses)
        for text, what in zip(said, expected):
            told = re.findall(r"^error(?: on rank \d)?: (.*)$", text, re.MULTILINE)
            assert len(told) == 1, text[-3000:]
            assert told[0].startswith(what)
            assert not re.search(r"^\[rank\d\]: ", text, re.MULTILINE), "a traceback"

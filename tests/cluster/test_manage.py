"""``cluster/manage.py``, as it is typed, with a cluster on this machine from launch to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_clusters import DEADLINE_S, INCLUDE, LONG, ROOT, nothing_left, wait_for

pytestmark = pytest.mark.timeout(4 * DEADLINE_S)


class Shell:
    """Where a user types, with a home of their own and no account anywhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("WALKING_ES_", "AWS_"))}
        self._environment = {
            **kept,
            "HOME": str(folder),
            "WALKING_ES_HOME": str(folder / "home"),
            "WALKING_ES_OWNER": "ada",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / script, *words],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_S,
        )

    def says(self, script: str, *words: str) -> str:
        done = self.run(script, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manage(self, *words: str) -> str:
        return self.says("cluster/manage.py", *words)

    def refuses(self, *words: str) -> str:
        done = self.run("cluster/manage.py", *words)
        assert done.returncode not in (0, 1), done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with nothing_left(tmp_path / "home"):
        yield Shell(tmp_path)


def test_a_cluster_from_launch_to_nothing(shell: Shell) -> None:
    words = ("--provider=local", "--size=2", "--workers_per_machine=1", "--cluster_name=oak")
    words += (f"--config={LONG}", f"--include={INCLUDE}")
    said = shell.says("cluster/launch.py", "launch", *words, "--yes")
    assert said.startswith("oak is launched\n")
    wait_for(lambda: _generation(shell) >= 1, "generation")

    header, line = shell.manage("list", "--provider=local").splitlines()
    assert " ".join(header.split()) == "name state machines workers gen fitness hours usd usd/h"
    assert line.split()[:3] == ["oak", "running", "3/3"]
    assert max(len(header), len(line)) <= 80
    assert "generation " in shell.manage("tail", "oak", "--no_follow", "--lines=3")
    assert "relay to redis://" in shell.manage("tail", "oak", "--worker=1", "--no-follow")

    assert shell.manage("size", "oak", "1") == "oak is to have 1 worker machine\n"
    status = shell.manage("status", "oak")
    assert "oak: running (oak-" in status
    assert "worker-0" in status
    assert "worker-1" not in status
    assert "it costs nothing" in shell.manage("cost", "oak")

    assert "no cluster oka on this machine; did you mean oak" in shell.refuses("kill", "oka")
    assert "oak has ended; nothing is left of it" in shell.manage("kill", "oak", "--yes")
    assert shell.manage("list", "--provider=local") == ""
    assert "killed" in shell.manage("list", "--all", "--provider=local")
    assert "was killed already" in shell.manage("kill", "oak", "--yes")

    assert shell.manage("fetch", "oak", f"--include={INCLUDE}").startswith("runs/1: ")
    words = ("1", "--episodes=1", f"--include={INCLUDE}")
    assert "over 1 episode" in shell.says("env/evaluate.py", *words)
    generation = _last_generation(shell.folder / "runs" / "1")
    more = ("pool=serial", f"num_generations={generation + 2}")  # and its modules it finds itself
    assert "theta_sha256=" in shell.says("es/experiment.py", "with", "resume=1", *more)


def test_what_cannot_be_done_is_refused_in_one_line(shell: Shell) -> None:
    assert "no AWS credentials were found" in shell.refuses("list")
    assert "no cluster oak on this machine" in shell.refuses("status", "oak", "--provider=local")
    assert "say which: kill NAME, or kill --all" in shell.refuses("kill", "--yes")
    (shell.folder / "cluster.toml").write_text("sise = 3\n")
    assert "unknown setting 'sise'; did you mean size" in shell.refuses("list")
    (shell.folder / "cluster.toml").write_text("[aws]\nregoin = 'x'\n")
    misspelt = "unknown setting 'regoin' of table [aws]; did you mean region"
    assert misspelt in shell.refuses("list", "--provider=local")


def test_a_sweep_launches_one_for_each_value_and_all_are_killed_together(shell: Shell) -> None:
    words = ("--provider=local", "--size=0", "--cluster_name=elm", "--config=sphere", "--yes")
    said = shell.manage("sweep", "--over=seed=1,2", *words)
    assert said.splitlines() == [
        "elm-1 is launched: es sphere seed=1",
        "elm-2 is launched: es sphere seed=2",
    ]
    listed = json.loads(shell.manage("list", "--json", "--provider=local"))
    assert [state["name"] for state in listed] == ["elm-1", "elm-2"]
    assert [state["spec"]["config"] for state in listed] == [
        ["sphere", "seed=1"],
        ["sphere", "seed=2"],
    ]
    asked = shell.run("cluster/manage.py", "kill", "--all", "--provider=local")
    assert "say --yes if you mean it" in asked.stderr
    assert len(shell.manage("list", "--provider=local").splitlines()) == 3
    said = shell.manage("kill", "--all", "--yes", "--provider=local")
    assert "elm-1 has ended" in said
    assert "elm-2 has ended" in said
    assert shell.manage("orphans", "--provider=local") == ""


def _generation(shell: Shell) -> int:
    (state,) = json.loads(shell.manage("list", "--json", "--provider=local"))
    generation = (state["progress"] or {}).get("generation")
    return -1 if generation is None else generation


def _last_generation(run: Path) -> int:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return int(json.loads(lines[-1])["generation"])

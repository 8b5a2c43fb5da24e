"""The head's program: it trains, keeps the run, goes on with it, and ends everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from local_machines import ROOT, SPHERE, Machines

from cluster.machine.experiment_command import experiment_command
from cluster.machine.run_files import resumable_runs
from cluster.machine.run_progress import progress_of
from cluster.store import HEAD_KEY, HeadAddress
from env.gait_file import Gait, write_gait
from env.spec import EnvSpec
from policy.spec import PolicySpec

INCLUDE = Path(__file__).parent / "include"
# Long enough to be met on the way: four seconds and more for one worker.
LONG = (*SPHERE, "num_generations=30", "env_name=slow_sphere:SlowSphere-v0")
SLOW = "env_options.episode_s=0.02"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """theta_sha256 of the same run with nobody in its way."""
    runs_dir = tmp_path_factory.mktemp("undisturbed")
    words = [*LONG, f"include={INCLUDE}", "pool=serial", f"runs_dir={runs_dir}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "es/experiment.py"), "with", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.rpartition("theta_sha256=")[2].strip()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path, config=(*LONG, SLOW)) as machines:
        machines.include = str(INCLUDE)
        yield machines


def generation(machines: Machines) -> int:
    """The last that the cluster's owner was told of; -1: none."""
    data = machines.store.get("runs/1/metrics.jsonl") or b""
    return data.count(b"\n") - 1


@pytest.mark.timeout(600)
def test_a_head_that_is_stopped_or_lost_goes_on_where_the_store_says(
    machines: Machines, undisturbed: str
) -> None:
    worker, head = machines.start("worker-0"), machines.start("head")
    machines.wait_for(lambda: generation(machines) >= 1, "a generation in the store")
    began_s = time.monotonic()
    head.terminate()
    assert head.wait(60) == 0, machines.said("head")
    assert time.monotonic() - began_s < 30, "cleanly, and within seconds"
    assert machines.ended() is None, "somebody else goes on"
    before = generation(machines)
    # On the same machine, as after a reboot.
    head = machines.start("head")
    machines.wait_for(lambda: generation(machines) > before + 1, "the run to go on")
    machines.lose(head, machines.cluster.machine("head"))
    before = generation(machines)
    assert resumable_runs(machines.store) == [1]
    # On another machine, which has nothing of it.
    (machines.cluster.machine("head").work / "runs").rename(machines.cluster.path / "lost")
    head = machines.start("head")
    machines.wait_for(lambda: head.poll() is not None, "the head's end")
    assert machines.said("head").count("going on with run 1") == 2
    assert "run 1 is in the store" in machines.said("head")
    assert head.returncode == 0, machines.said("head")
    result = machines.result()
    assert result["generations"] == 30
    assert result["theta_sha256"] == undisturbed
    ended, progress = machines.ended(), machines.progress()
    assert ended is not None
    assert progress is not None
    assert (ended.why, ended.exit_code) == ("completed", 0)
    assert (progress.run_id, progress.generation, progress.num_workers) == (1, 29, 1)
    machines.wait_for(lambda: worker.poll() is not None, "the worker's end")
    assert worker.returncode == 0, machines.said("worker-0")
    said = machines.said("head") + machines.said("worker-0")
    assert "password-of-this-test" not in said


def test_a_budget_or_an_hour_that_is_over_ends_everything(tmp_path: Path) -> None:
    with Machines(
        tmp_path, config=(*SPHERE, "num_generations=100000"), max_hours=9 / 3600
    ) as machines:
        head = machines.start("head")
        machines.wait_for(lambda: head.poll() is not None, "the head's end")
        ended = machines.ended()
        assert ended is not None
        assert ended.why == "max_hours"
        assert machines.cluster.wanted == 0
        # A head that comes up again, as systemd has it, trains no more.
        again = machines.start("head")
        machines.wait_for(lambda: again.poll() is not None, "its second end")
        assert "has ended already" in machines.said("head")


def test_a_run_that_cannot_be_is_told_and_machines_that_are_kept_stay(tmp_path: Path) -> None:
    with Machines(tmp_path, config=("sphere", "no_such_option=3"), keep=True) as machines:
        machines.cluster.wanted = 1
        head = machines.start("head")
        machines.wait_for(lambda: "are kept" in machines.said("head"), "the end of the run")
        ended = machines.ended()
        assert ended is not None
        assert (ended.why, ended.exit_code) == ("failed", 2)
        assert "ended with code 2" in ended.note
        assert "no_such_option" in machines.said("head")
        assert head.poll() is None
        head.send_signal(signal.SIGTERM)
        assert head.wait(60) == 0
        assert machines.cluster.wanted == 1, "only who is asked to stop does"


@pytest.mark.timeout(300)
def test_a_policy_is_scored_by_the_clusters_workers(tmp_path: Path) -> None:
    env, policy = EnvSpec("CartPole-v1"), PolicySpec("linear", hidden_sizes=())
    gait = Gait.of(env, policy, np.zeros(10, dtype=np.float32), None, {})
    write_gait(tmp_path / "gait.json", gait)
    words = (f"--gait={tmp_path}/gait.json", "--episodes=3", "--seed=1")
    with Machines(tmp_path / "c", experiment="evaluate", config=words) as machines:
        head = machines.start("head")
        machines.start("worker-0")
        machines.wait_for(lambda: head.poll() is not None, "the head's end")
        ended = machines.ended()
        assert ended is not None
        assert ended.why == "completed", machines.said("head")
        assert "reward" in machines.said("head")


def test_an_earlier_head_that_comes_back_does_no_harm(machines: Machines) -> None:
    head = machines.start("head")
    machines.wait_for(lambda: machines.store.get(HEAD_KEY) is not None, "head.json")
    later = HeadAddress(host="10.0.0.9", port=1, since_s=time.time() + 60, machine="another")
    machines.store.put(HEAD_KEY, msgspec.json.encode(later))
    machines.wait_for(lambda: head.poll() is not None, "its end")
    assert head.returncode == 0
    assert "another head has taken over" in machines.said("head")
    assert machines.ended() is None
    data = machines.store.get(HEAD_KEY)
    assert data is not None
    assert msgspec.json.decode(data, type=HeadAddress) == later


def test_a_head_without_settings_says_so_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.machine.head", str(tmp_path / "machine.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "machine.json cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_head_runs_follows_from_the_spec(tmp_path: Path) -> None:
    with Machines(tmp_path) as machines:
        spec = machines.spec
    words = {"runs_dir": tmp_path, "redis_url": "redis://h:1/0", "include": "/mine", "resume": None}
    command = experiment_command(spec, **words)  # type: ignore[arg-type]
    assert command[1:4] == [str(ROOT / "es/experiment.py"), "with", "sphere"]
    assert command[-1] == "include=/mine"
    words["resume"] = 3
    command = experiment_command(spec, **words)  # type: ignore[arg-type]
    assert command[3] == "resume=3"
    assert "sphere" not in command, "the run's directory says what it is"
    other = msgspec.structs.replace(spec, experiment="nevergrad")
    assert "nevergrad_es/experiment.py" in experiment_command(other, **words)[1]  # type: ignore[arg-type]


def test_progress_is_the_last_whole_line_and_what_was_told_since(tmp_path: Path) -> None:
    directory = tmp_path / "3"
    directory.mkdir()
    assert progress_of(directory, None).generation is None
    row = '{"generation": 7, "time": 50, "metrics": {"fitness/mean": -2.5, "workers/now": 4.0}}'
    (directory / "metrics.jsonl").write_text(row + '\n{"generation": 8, "ti')
    (directory / "notices.jsonl").write_text('{"time": 40, "line": "old"}\n')
    now = progress_of(directory, 1.5)
    assert (now.run_id, now.generation, now.fitness, now.num_workers) == (3, 7, -2.5, 4)
    assert (now.usd, now.note) == (1.5, "")
    (directory / "notices.jsonl").write_text('{"time": 60, "line": "no workers"}\n')
    assert progress_of(directory, None).note == "no workers"
    assert progress_of(None, None).run_id == 0
    assert os.listdir(tmp_path) == ["3"]  # noqa: PTH208

"""One theta_sha256, whoever computes it and whoever dies on the way."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from training_process import WORLDS, TrainingProcess, gone, train

SPHERE = ("sphere", "seed=7", "num_generations=20")
SLOW = (
    "env_name=odd_worlds:Slow-v0",
    f"include={WORLDS}",
    "network=linear",
    "pop_size=8",
    "num_generations=8",
    "validation_episodes=2",
    "seed=3",
)
LANDER = ("lander", "seed=7", "num_generations=5", "pop_size=8", "final_episodes=2")
SMALL = ("cartpole", "seed=7", "num_generations=4", "pop_size=8", "max_ep_length=60")


@pytest.fixture(scope="module")
def sphere_sha(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(train(tmp_path_factory.mktemp("s") / "r", *SPHERE, "pool=serial")["theta_sha256"])


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("slow") / "r", *SLOW, "pool=serial")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_bit(
    tmp_path: Path, sphere_sha: str, workers: int
) -> None:
    result = train(tmp_path / "r", *SPHERE, f"workers={workers}")
    assert result["theta_sha256"] == sphere_sha
    assert result["host_failures"] == 0


@pytest.mark.parametrize(
    "words",
    [
        LANDER,
        (*LANDER, "normalize_observations=True", "observed_fraction=0.5"),
        (*SMALL, "num_episodes=3"),
        (*SMALL, "network=lstm", "hidden_sizes=[4]"),
        (*SMALL, "network=feed_forward", "hidden_sizes=[4]", "hidden_activation=gaussian"),
        ("env_name=odd_worlds:Frail-v0", f"include={WORLDS}", "network=linear", "pop_size=20",
         "num_generations=6", "seed=1"),
    ],
    ids=["lander", "normalised", "episodes", "lstm", "gaussian", "failing"],
)  # fmt: skip
def test_serial_and_two_workers_agree(tmp_path: Path, words: tuple[str, ...]) -> None:
    serial = train(tmp_path / "r", *words, "pool=serial")
    parallel = train(tmp_path / "r", *words, "workers=2")
    for same in ("theta_sha256", "env_steps", "rollouts", "failed_rollouts", "fitness_current"):
        assert serial[same] == parallel[same]
    if "Frail" in words[0]:
        assert serial["failed_rollouts"] > 0


def test_a_worker_killed_while_its_rollout_runs_changes_no_bit(
    tmp_path: Path, slow: dict[str, Any]
) -> None:
    with TrainingProcess(tmp_path / "r", *SLOW, "workers=2") as running:
        for generation in (1, 3, 5):
            running.wait_for(f"generation {generation}/8")
            time.sleep(0.05)  # a generation lasts three times that
            running.workers()[0].kill()
        assert running.finish() == 0, running.output
    result = json.loads((tmp_path / "r" / "1" / "run.json").read_text())["result"]
    assert result["theta_sha256"] == slow["theta_sha256"]
    assert result["lost_rollouts"] > 0
    assert result["reissued_rollouts"] > 0
    assert result["host_failures"] == 0


def test_a_head_killed_half_way_leaves_nothing_running_and_resumes_to_the_bit(
    tmp_path: Path, slow: dict[str, Any]
) -> None:
    with TrainingProcess(tmp_path / "r", *SLOW, "workers=2") as running:
        running.wait_for("generation 3/8")
        family = running.family()
        assert len(family) >= 4
        running.kill()
        assert gone(family)
    result = train(tmp_path / "r", "resume=1", "workers=2")
    assert result["run_id"] == 1
    for same in ("theta_sha256", "env_steps", "rollouts", "generations", "fitness_current"):
        assert result[same] == slow[same]
    lines = (tmp_path / "r" / "1" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["generation"] for row in rows] == list(range(8))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_told_to_stop_leaves_nothing_running_and_says_how_to_go_on(
    tmp_path: Path, slow: dict[str, Any], number: signal.Signals, code: int
) -> None:
    with TrainingProcess(tmp_path / "r", *SLOW, "workers=2") as running:
        running.wait_for("generation 2/8")
        family = running.family()
        running.process.send_signal(number)
        assert running.finish() == code, running.output
        assert gone(family)
        assert "with resume=1" in running.output.splitlines()[-1]
    resumed = train(tmp_path / "r", "resume=1", "pool=serial")
    assert resumed["theta_sha256"] == slow["theta_sha256"]


def test_a_finished_run_goes_on_with_more_generations(tmp_path: Path, sphere_sha: str) -> None:
    train(tmp_path / "r", "sphere", "seed=7", "num_generations=9", "pool=serial")
    result = train(tmp_path / "r", "resume=1", "num_generations=20", "pool=serial")
    assert result["theta_sha256"] == sphere_sha


def test_a_run_can_begin_where_another_ended(tmp_path: Path) -> None:
    """Whatever its config says of where runs begin."""
    first = train(tmp_path / "r", "sphere", "seed=7", "num_generations=9", "pool=serial")
    words = ("sphere", "seed=8", "num_generations=1", "pool=serial", "initial_theta=zeros")
    second = train(tmp_path / "r", *words, "load_from=1")
    assert second["run_id"] == 2
    assert second["fitness_best"] == pytest.approx(first["fitness_current"])

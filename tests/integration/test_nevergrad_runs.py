"""CMA-ES by either command and on any pool is one search, whoever dies on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_process import WORLDS, TrainingProcess, gone, train

NEVERGRAD = "nevergrad_es/experiment.py"
SPHERE = ("sphere", "tool=CMA", "seed=7", "num_generations=8", "pop_size=10", "sigma=0.3")
LANDER = (
    "lander",
    "tool=CMA",
    "seed=7",
    "num_generations=5",
    "pop_size=8",
    "sigma=0.5",
    "num_episodes=1",
    "final_episodes=2",
)
SLOW = (
    "env_name=odd_worlds:Slow-v0",
    f"include={WORLDS}",
    "network=linear",
    "tool=CMA",
    "pop_size=8",
    "sigma=0.3",
    "num_generations=8",
    "validation_episodes=2",
    "seed=3",
)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of each configuration on the serial pool, by ``nevergrad_es/experiment.py``."""
    runs = tmp_path_factory.mktemp("serial") / "r"
    return {
        words[0]: train(runs, *words, "pool=serial", script=NEVERGRAD)
        for words in (SPHERE, LANDER, SLOW)
    }


@pytest.mark.parametrize(
    ("words", "where", "script"),
    [
        (SPHERE, ("pool=redis", "workers=1"), NEVERGRAD),
        (SPHERE, ("pool=redis", "workers=2"), "es/experiment.py"),
        (LANDER, ("pool=redis", "workers=2"), NEVERGRAD),
        (LANDER, ("pool=ray", "workers=2"), NEVERGRAD),
    ],
    ids=["one worker", "two workers", "lander", "lander on Ray"],
)
def test_the_command_and_the_pool_change_no_bit(
    tmp_path: Path,
    serial: dict[str, Any],
    words: tuple[str, ...],
    where: tuple[str, ...],
    script: str,
) -> None:
    result = train(tmp_path / "r", *words, *where, script=script)
    for same in ("theta_sha256", "env_steps", "rollouts", "fitness_current", "host_failures"):
        assert result[same] == serial[words[0]][same]


@pytest.mark.timeout(300)  # Ray alone takes a while to start on a busy machine
def test_openai_es_on_ray_is_the_one_of_the_other_pools(tmp_path: Path) -> None:
    words = ("sphere", "tool=openai_es", "seed=7", "num_generations=8", "lr=0.1", "pop_size=20")
    alone = train(tmp_path / "a", *words, "sigma=0.1", "pool=serial")
    on_ray = train(
        tmp_path / "b", *words, "sigma=0.1", "workers=2", script=NEVERGRAD
    )  # its default
    assert on_ray["theta_sha256"] == alone["theta_sha256"]


def test_a_cma_killed_half_way_resumes_to_the_bit(tmp_path: Path, serial: dict[str, Any]) -> None:
    with TrainingProcess(
        tmp_path / "r", *SLOW, "pool=redis", "workers=2", script=NEVERGRAD
    ) as running:
        running.wait_for("generation 3/8")
        family = running.family()
        running.kill()
        assert gone(family)
    result = train(tmp_path / "r", "resume=1", "pool=serial", script=NEVERGRAD)
    slow = serial[SLOW[0]]
    for same in ("theta_sha256", "env_steps", "rollouts", "generations", "fitness_current"):
        assert result[same] == slow[same]


def test_a_run_that_goes_on_keeps_the_budget_it_began_with(tmp_path: Path) -> None:
    """NGOpt would be another method for another budget."""
    words = ("sphere", "tool=NGOpt", "seed=7", "pop_size=6", "pool=serial", "num_generations=4")
    first = train(tmp_path / "r", *words, script=NEVERGRAD)
    result = train(tmp_path / "r", "resume=1", "num_generations=7", script=NEVERGRAD)
    assert result["generations"] == 7
    assert result["theta_sha256"] != first["theta_sha256"]
    last = max((tmp_path / "r" / "1").rglob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    with np.load(last) as arrays:
        assert arrays["strategy/budget"] == 4 * 6


def test_an_asynchronous_run_says_that_it_cannot_be_repeated(tmp_path: Path) -> None:
    words = (*SPHERE, "asynchronous=True", "pool=redis", "workers=2")
    with TrainingProcess(tmp_path / "r", *words, script=NEVERGRAD) as running:
        assert running.finish() == 0, running.output
    assert "cannot be repeated to the bit" in running.output
    result = json.loads((tmp_path / "r" / "1" / "run.json").read_text())["result"]
    assert result["reproducible"] is False
    assert result["rollouts"] >= 80
    assert result["fitness_current"] > -12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tool=CMA", "overlap=1"), "asynchronous=True keeps workers busy instead"),
        (("tool=openai_es", "asynchronous=True"), "asynchronous=True is for Nevergrad's tools"),
        (("tool=TwoPointDE",), "did you mean TwoPointsDE"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    with TrainingProcess(
        tmp_path / "r", "sphere", "pool=serial", *words, script=NEVERGRAD
    ) as running:
        assert running.finish() > 0
    assert "Traceback" not in running.output
    errors = [line for line in running.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_search_in_a_thread_of_its_own_does_not_hold_the_command_up(tmp_path: Path) -> None:
    words = ("sphere", "tool=Powell", "pop_size=1", "num_generations=5", "pool=serial")
    assert train(tmp_path / "r", *words, script=NEVERGRAD)["generations"] == 5

"""Simulators that hang, crash and compute nonsense, for real, in every pool: the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_fleet import (
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    rollouts_with,
    said,
    seeds_of,
)

from fleet.connection import connect
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from fleet.serial_pool import SerialPool
from fleet.server.redis_server import RedisServer
from search.messages import Experiment, GuardSpec, RolloutRecord
from search.noise import NoiseTable, open_table
from search.protocol import Pool

POOLS = ["serial", "redis"]
WALKER = "sick_walker:SickWalker-v0"
SETTLED = 50
"""Episodes after which an environment has loaded all it ever loads."""

MOST_MB = 300
"""Of a process with one OpenSim environment; measured: 165."""

MOST_GROWTH_MB = 5
"""In 250 episodes after those; measured: 0.15."""

PATIENT = GuardSpec(rollout_timeout_s=1.0)


class World:
    """A noise table, and two workers that wait for any run."""

    def __init__(self, folder: Path, noise: NoiseTable, url: str) -> None:
        self.folder = folder
        self.noise = noise
        self.url = url

    @contextmanager
    def pool(self, kind: str, experiment: Experiment) -> Iterator[Pool]:
        with ExitStack() as stack:
            pool: Pool
            if kind == "serial":
                evaluator = GuardedEvaluator(experiment, include=INCLUDE, noise_dir=self.folder)
                stack.callback(evaluator.close)
                pool = SerialPool(evaluator)
            else:
                client = connect(self.url)
                stack.callback(client.close)
                pool = RedisPool(client, experiment)
            stack.callback(pool.shutdown)
            yield pool

    def answers_with_accidents(
        self, kind: str, accident: str, env: str, guard: GuardSpec | None = None
    ) -> list[RolloutRecord]:
        """Final answers of the rollouts that met ``accident``; all others are as they should be."""
        calm = generation_of(pairs=2, episodes=1, validation=1)
        seeds = seeds_of(calm, [1])
        bad = rollouts_with(calm, seeds)
        experiment = experiment_of(self.noise.spec, guard, env, kind=accident, seeds=seeds)
        generation = of_run(calm, experiment)
        with self.pool(kind, experiment) as pool:
            pool.open(generation)
            (answers,) = collect(pool, generation)
            assert pool.status().reissued >= len(bad)
        wanted = expected(experiment, generation, self.noise)
        good = {rollout: said(answers[rollout]) for rollout in set(wanted) - bad}
        assert good == {rollout: wanted[rollout] for rollout in good}
        return [answers[rollout] for rollout in sorted(bad)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("accidents")
    with (
        open_table(1, 10_000, folder) as noise,
        RedisServer() as server,
        local_workers(2, server.url, log=folder / "log", include=INCLUDE, noise_dir=folder),
    ):
        yield World(folder, noise, server.url)


@pytest.mark.parametrize("kind", POOLS)
def test_an_integrator_that_never_returns_is_killed_and_blamed_on_the_host(
    world: World, kind: str
) -> None:
    for answer in world.answers_with_accidents(kind, "collapse", WALKER, PATIENT):
        assert (answer.status, answer.attempt, answer.host_failure) == ("failed", 1, True)
        assert answer.error == "took longer than rollout_timeout_s=1"


@pytest.mark.parametrize("kind", POOLS)
def test_an_environments_nan_fails_its_rollout_alone(world: World, kind: str) -> None:
    for answer in world.answers_with_accidents(kind, "nan", "trouble:Trouble-v0"):
        assert (answer.status, answer.attempt, answer.host_failure) == ("failed", 1, False)
        assert answer.error == "a reward is NaN or infinite: they add up to nan"


@pytest.mark.parametrize("kind", POOLS)
def test_nan_within_opensim_fails_its_rollout_with_opensims_own_words(
    world: World, kind: str
) -> None:
    for answer in world.answers_with_accidents(kind, "poison", WALKER):
        assert (answer.status, answer.attempt, answer.host_failure) == ("failed", 1, False)
        assert "the episode raised RuntimeError" in answer.error
        assert "OpenSim::Manager::integrate" in answer.error


@pytest.mark.parametrize("kind", POOLS)
def test_a_segmentation_fault_fails_its_rollout_alone(world: World, kind: str) -> None:
    for answer in world.answers_with_accidents(kind, "segfault", "trouble:Trouble-v0"):
        assert (answer.status, answer.attempt, answer.host_failure) == ("failed", 1, False)
        assert answer.error == "the simulator's process was ended by SIGSEGV"


@pytest.mark.parametrize("kind", POOLS)
def test_three_hundred_short_opensim_episodes_stay_in_one_process_and_its_memory(
    world: World, kind: str
) -> None:
    experiment = experiment_of(world.noise.spec, env=WALKER)
    generation = generation_of(experiment.run_uid, pairs=75, episodes=2, validation=0)
    assert generation.num_rollouts == 300
    sizes_mb: dict[int, list[float]] = {}

    def look(answers: Any) -> None:
        if len(answers) > SETTLED:
            for process in evaluating():
                sizes_mb.setdefault(process.pid, []).append(process.memory_info().rss / 2**20)

    with world.pool(kind, experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation, meanwhile=look)
    assert {record.status for record in answers.values()} == {"ok"}
    # The two workers are there for either pool.
    assert len(sizes_mb) == {"serial": 3, "redis": 2}[kind]
    for seen_mb in sizes_mb.values():
        assert max(seen_mb) < MOST_MB
        assert max(seen_mb) - seen_mb[0] < MOST_GROWTH_MB


def evaluating() -> list[psutil.Process]:
    """The processes that evaluate, of whatever pool of ours."""
    modules = {"fleet.machine.child", "fleet.evaluation.child"}
    family = psutil.Process().children(recursive=True)
    return [process for process in family if modules & set(process.cmdline())]

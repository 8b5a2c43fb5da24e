"""What every pool promises to the loop, held against each of them.

Add a pool by its name in `POOLS` and a branch in `World.pool`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
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
    wait_for,
)

from fleet.connection import connect
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from fleet.serial_pool import SerialPool
from fleet.server.redis_server import RedisServer
from search.evaluator import Evaluator
from search.messages import Experiment, digest, encode
from search.noise import NoiseTable, open_table
from search.protocol import Pool

POOLS = ["serial", "guarded", "redis", "ray"]
"""``guarded`` is the serial pool with its evaluator in a child."""

SEVERAL = {"redis", "ray"}
"""Those with more workers than one."""


class World:
    """A noise table, a folder of environments, and workers that wait for any run."""

    def __init__(self, folder: Path, noise: NoiseTable, url: str) -> None:
        self.folder = folder
        self.noise = noise
        self.url = url

    def experiment(self, **options: Any) -> Experiment:
        return experiment_of(self.noise.spec, **options)

    @contextmanager
    def pool(self, kind: str, experiment: Experiment) -> Iterator[Pool]:
        with ExitStack() as stack:
            pool: Pool
            if kind == "serial":
                evaluator = Evaluator(experiment, self.noise, INCLUDE)
                stack.callback(evaluator.close)
                pool = SerialPool(evaluator)
            elif kind == "guarded":
                guarded = GuardedEvaluator(experiment, include=INCLUDE, noise_dir=self.folder)
                stack.callback(guarded.close)
                pool = SerialPool(guarded)
            elif kind == "ray":
                from fleet.actors.ray_pool import RayPool  # imports Ray, which takes a while

                pool = RayPool(experiment, workers=2, include=INCLUDE, noise_dir=self.folder)
            else:
                client = connect(self.url)
                stack.callback(client.close)
                pool = RedisPool(client, experiment)
            stack.callback(pool.shutdown)
            yield pool


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pools")
    with (
        open_table(1, 10_000, folder) as noise,
        RedisServer() as server,
        local_workers(2, server.url, log=folder / "log", include=INCLUDE, noise_dir=folder),
    ):
        yield World(folder, noise, server.url)


def is_staffed(pool: Pool, num_workers: int) -> bool:
    return pool.status().num_workers == num_workers


@pytest.mark.parametrize("kind", POOLS)
def test_every_rollout_is_answered_once_and_to_the_bit(world: World, kind: str) -> None:
    experiment = world.experiment()
    generation = generation_of(experiment.run_uid)
    with world.pool(kind, experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation)
        pool.close(0)
        num_workers = 2 if kind in SEVERAL else 1
        wait_for(lambda: not pool.results(0.05) and is_staffed(pool, num_workers), "all workers")
    wanted = expected(experiment, generation, world.noise)
    assert {rollout: said(record) for rollout, record in answers.items()} == wanted
    observed = [record.statistics for record in answers.values() if record.statistics is not None]
    assert 0 < len(observed) < generation.num_training
    assert all(statistics.mean_o.dtype == np.float64 for statistics in observed)


@pytest.mark.parametrize("kind", POOLS)
def test_known_rollouts_are_not_evaluated(world: World, kind: str) -> None:
    experiment = world.experiment()
    generation = generation_of(experiment.run_uid)
    known = [0, 3, 4, generation.num_training]
    with world.pool(kind, experiment) as pool:
        pool.open(generation, known)
        (answers,) = collect(pool, generation, known=known)
        assert set(answers) == set(range(generation.num_rollouts)) - set(known)
        assert pool.results(0.05) == []


@pytest.mark.parametrize("kind", POOLS)
def test_a_closed_generation_is_forgotten(world: World, kind: str) -> None:
    experiment = world.experiment()
    first, second = (generation_of(experiment.run_uid, number) for number in (0, 1))
    with world.pool(kind, experiment) as pool:
        pool.open(first)
        early = pool.results(5.0 if kind in SEVERAL else 0.0)
        pool.close(0)
        pool.close(0)
        pool.open(second)
        (answers,) = collect(pool, second)  # an answer to the first would not find its name
        assert all(batch.digest == digest(encode(first)) for batch in early)
        assert len(answers) == second.num_rollouts


@pytest.mark.parametrize("kind", POOLS)
def test_several_generations_may_be_open(world: World, kind: str) -> None:
    experiment = world.experiment()
    generations = [generation_of(experiment.run_uid, number, pairs=2) for number in range(3)]
    with world.pool(kind, experiment) as pool:
        for generation in generations:
            pool.open(generation)
        found = collect(pool, *generations)
    for generation, answers in zip(generations, found, strict=True):
        wanted = expected(experiment, generation, world.noise)
        assert {rollout: said(record) for rollout, record in answers.items()} == wanted


@pytest.mark.parametrize("kind", POOLS)
def test_a_failing_rollout_is_tried_once_more_and_then_fails_with_its_error(
    world: World, kind: str
) -> None:
    calm = generation_of()
    seeds = seeds_of(calm, [1, calm.num_training])
    bad = rollouts_with(calm, seeds)
    experiment = world.experiment(kind="fail", seeds=seeds)
    generation = of_run(calm, experiment)
    with world.pool(kind, experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation)
        assert pool.status().reissued == len(bad)
        pool.close(0)
        assert pool.status().reissued == len(bad)
        assert pool.status().lost == 0
    assert {r for r, record in answers.items() if record.status == "failed"} == bad
    for rollout in bad:
        assert "the knee is inside out" in answers[rollout].error
        assert answers[rollout].attempt == 1
        assert not answers[rollout].host_failure
    wanted = expected(experiment, generation, world.noise)
    good = {rollout: said(record) for rollout, record in answers.items() if rollout not in bad}
    assert good == {rollout: what for rollout, what in wanted.items() if rollout not in bad}


@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_may_be_shut_down_twice_and_in_mid_generation(world: World, kind: str) -> None:
    experiment = world.experiment()
    with world.pool(kind, experiment) as pool:
        pool.open(generation_of(experiment.run_uid))
        pool.shutdown()
        pool.shutdown()
        assert pool.results(0.05) == []

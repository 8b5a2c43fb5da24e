"""What a machine says of its workers is true, also where they cannot speak for themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from real_fleet import (
    INCLUDE,
    collect,
    experiment_of,
    generation_of,
    of_run,
    rollouts_with,
    seeds_of,
    wait_for,
)

from fleet import heartbeat
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from fleet.heartbeat import WorkerBeat
from fleet.provision import local_workers
from fleet.server.redis_server import RedisServer
from search.messages import Experiment
from search.noise import NoiseTable, open_table


class World:
    def __init__(self, folder: Path, noise: NoiseTable, url: str, client: Client) -> None:
        self.folder, self.noise, self.url, self.client = folder, noise, url, client

    @contextmanager
    def workers(self, count: int) -> Iterator[int]:
        """So many of them; the supervisor's process id."""
        with local_workers(
            count, self.url, log=self.folder / "log", include=INCLUDE, noise_dir=self.folder
        ) as process:
            yield process.pid

    @contextmanager
    def pool(self, experiment: Experiment) -> Iterator[RedisPool]:
        pool = RedisPool(self.client, experiment)
        try:
            yield pool
        finally:
            pool.shutdown()

    def experiment(self, env: str = "trouble:Trouble-v0", **options: Any) -> Experiment:
        return experiment_of(self.noise.spec, env=env, folder=str(self.folder), **options)

    def beats(self) -> list[WorkerBeat]:
        return [worker for beat in heartbeat.fresh(self.client) for worker in beat.workers]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        open_table(1, 10_000, tmp_path) as noise,
        RedisServer() as server,
        connect(server.url) as client,
    ):
        yield World(tmp_path, noise, server.url, client)


def test_rollouts_steps_and_failures_add_up_to_what_the_head_has_got(world: World) -> None:
    calm = generation_of(pairs=4)
    seeds = seeds_of(calm, [3])
    experiment = world.experiment(kind="fail", seeds=seeds)
    generation = of_run(calm, experiment)
    with world.workers(2), world.pool(experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation)
        failures = 2 * len(rollouts_with(calm, seeds))  # each is tried twice
        rollouts = generation.num_rollouts + failures // 2

        def settled() -> list[WorkerBeat]:
            pool.results(0.01)
            beats = world.beats()
            return beats if sum(beat.rollouts for beat in beats) >= rollouts else []

        beats = wait_for(settled, "the figures")
        assert len(beats) == 2
        assert sum(beat.rollouts for beat in beats) == rollouts
        assert sum(beat.failures for beat in beats) == failures
        assert sum(beat.env_steps for beat in beats) == sum(r.length for r in answers.values())
        assert sum(beat.env_steps_per_s for beat in beats) > 0
        assert {beat.run_uid for beat in beats} == {experiment.run_uid}
        assert all(beat.is_up and beat.rss_mb > 10 and beat.deaths == 0 for beat in beats)
        assert all(beat.doing_s is None and not beat.refusal for beat in beats)
        errors = {beat.last_error for beat in beats if beat.failures}
        assert errors == {"the episode raised ValueError: the knee is inside out"}


def test_figures_outlive_the_process_and_its_death_is_told(world: World) -> None:
    calm = generation_of(pairs=2, episodes=1, validation=1)
    seeds = seeds_of(calm, [calm.num_training])
    experiment = world.experiment(kind="crash", seeds=seeds)
    generation = of_run(calm, experiment)
    with world.workers(1), world.pool(experiment) as pool:
        pool.open(generation)
        collect(pool, generation)

        def told() -> WorkerBeat | None:
            pool.results(0.01)
            beats = world.beats()
            return beats[0] if beats and beats[0].deaths == 2 else None

        beat = wait_for(told, "two deaths")
        assert beat.rollouts == generation.num_training
        assert "was ended by SIGSEGV in rollout 4 of generation 0" in beat.last_error


def test_how_long_a_rollout_has_run_is_told_though_it_cannot_tell(world: World) -> None:
    calm = generation_of(pairs=1, episodes=1, validation=0)
    experiment = world.experiment(kind="wait", seeds=seeds_of(calm, [0]))
    with world.workers(1), world.pool(experiment) as pool:
        pool.open(of_run(calm, experiment))

        def at_it() -> list[WorkerBeat]:
            pool.results(0.01)
            return [beat for beat in world.beats() if beat.doing_s is not None]

        first = wait_for(at_it, "a rollout to begin")[0]
        began_s = time.monotonic()
        later = wait_for(
            lambda: [b for b in at_it() if (b.doing_s or 0) >= (first.doing_s or 0) + 1.5],
            "it to go on",
        )[0]
        assert later.doing_s is not None
        assert later.doing_s - first.doing_s < time.monotonic() - began_s + 1.5
        # A child that is stopped says nothing, and is spoken for.
        (child,) = world.folder.glob("waiting-*")
        os.kill(int(child.name.removeprefix("waiting-")), signal.SIGSTOP)
        wait_for(lambda: [b for b in at_it() if (b.doing_s or 0) > later.doing_s + 1], "more of it")


@pytest.mark.parametrize("end", ["segfault", "vanish", "leave"])
def test_an_environment_that_kills_its_maker_is_told_and_not_tried_for_ever(
    world: World, end: str
) -> None:
    doomed = world.experiment("defects:Stillborn-v0", end=end)
    with world.workers(1), world.pool(doomed) as pool:
        pool.open(generation_of(doomed.run_uid))

        def refused() -> list[WorkerBeat]:
            assert pool.results(0.01) == []
            return [beat for beat in world.beats() if beat.refusal]

        (beat,) = wait_for(refused, "it to be told")
        assert beat.refusal == (
            f"cannot serve run {doomed.run_uid[:8]}: its environment has ended this worker's "
            "process, and not only once, while it was built"
        )
        assert "while building environment defects:Stillborn-v0" in beat.last_error
        assert beat.deaths == 3
        assert len(list(world.folder.glob("made-*"))) == 3
        # The same worker serves another run.
        sound = world.experiment()
        with world.pool(sound) as other:
            generation = generation_of(sound.run_uid, pairs=1)
            other.open(generation)
            collect(other, generation)
        assert len(list(world.folder.glob("made-*"))) == 3

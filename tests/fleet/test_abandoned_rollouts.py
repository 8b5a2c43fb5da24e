"""A rollout of a generation that is closed is dropped by who runs it, and by nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
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

from fleet import heartbeat, keys
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from fleet.server.redis_server import RedisServer
from search.messages import Experiment, Generation
from search.noise import open_table

ENV = "endless:Endless-v0"


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[tuple[Experiment, Generation, Client, RedisPool]]:
    """A worker alone with a run, of which one pair of rollouts has no end."""
    calm = msgspec.structs.replace(
        generation_of(pairs=2, episodes=1, validation=0), max_ep_length=10**7
    )
    with (
        open_table(1, 10_000, tmp_path) as noise,
        RedisServer() as server,
        connect(server.url) as client,
        local_workers(1, server.url, log=tmp_path / "log", include=INCLUDE, noise_dir=tmp_path),
    ):
        experiment = experiment_of(
            noise.spec, env=ENV, seeds=seeds_of(calm, [0]), folder=str(tmp_path)
        )
        pool = RedisPool(client, experiment)
        yield experiment, of_run(calm, experiment), client, pool
        pool.shutdown()


def begun(folder: Path) -> list[Path]:
    return list(folder.glob("begun-*"))


def test_a_worker_drops_what_is_closed_and_goes_on_with_what_is_open(
    endless: tuple[Experiment, Generation, Client, RedisPool], tmp_path: Path
) -> None:
    experiment, generation, client, pool = endless
    pool.open(generation)
    wait_for(lambda: begun(tmp_path), "a rollout without end")
    (before,) = wait_for(lambda: workers(client), "a heartbeat")
    pool.close(0)
    # Another number has other seeds: there, everything ends.
    later = generation_of(experiment.run_uid, number=1, pairs=2, episodes=1, validation=0)
    opened_s = time.monotonic()
    pool.open(later)
    (answers,) = collect(pool, later)
    took_s = time.monotonic() - opened_s
    assert {record.status for record in answers.values()} == {"ok"}
    assert took_s < 5
    after = wait_for(
        lambda: [w for w in workers(client) if w.rollouts >= later.num_rollouts], "its figures"
    )[0]
    assert after.deaths == before.deaths == 0
    assert not rollouts_with(later, experiment.env.options["seeds"])  # type: ignore[arg-type]


def test_a_list_that_is_missing_abandons_nothing(
    endless: tuple[Experiment, Generation, Client, RedisPool], tmp_path: Path
) -> None:
    experiment, generation, client, pool = endless
    pool.open(generation)
    wait_for(lambda: begun(tmp_path), "a rollout without end")
    client.delete(keys.open_generations(experiment.run_uid))
    (first,) = wait_for(lambda: [w for w in workers(client) if w.doing_s], "it to be at it")
    wait_for(
        lambda: [w for w in workers(client) if w.doing_s and w.doing_s > first.doing_s + 1.5],
        "it to be at it still",
    )
    client.set(keys.open_generations(experiment.run_uid), "")
    wait_for(lambda: [w for w in workers(client) if w.doing_s is None], "it to be dropped")
    assert client.llen(keys.records(experiment.run_uid)) == 0


def workers(client: Client) -> list[heartbeat.WorkerBeat]:
    return [worker for beat in heartbeat.fresh(client) for worker in beat.workers]

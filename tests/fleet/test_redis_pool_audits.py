"""Audits through Redis: by hand, where machines lie, and by two real machines that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fed_by_hand import fed_by_hand
from real_fleet import (
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    said,
    seeds_of,
    wait_for,
)

from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from fleet.server.redis_server import RedisServer
from search.noise import open_table


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_whoever_is_outvoted_is_named_and_counted(server: RedisServer) -> None:
    with fed_by_hand(server, audit_fraction=1.0) as fed:
        generation = fed.open(0)
        one, other = [task for task in fed.take_all() if task.first == 0]
        fed.answer(generation, one, "good-1-0")
        fed.answer(generation, other, "bad-1-0", fitness=2.0)
        assert fed.tick() == []
        (third,) = fed.take_all()
        fed.answer(generation, third, "fair-1-0")
        (answer,) = fed.tick()
        assert answer.fitness == 1.0
        assert fed.notices == [
            "audit: in rollout 0 of generation 0, bad-1 differs from fair-1 and good-1 "
            "(1 times so far): look for a fault there, or for somebody who lies"
        ]
        fed.tick()
        for counted in (fed.pool.status(), fed.report()):
            assert (counted.audited, counted.disagreed, counted.unaudited) == (1, 1, 0)
        assert fed.pool.status().audit_fraction == 1.0


def test_a_machine_that_lies_all_the_time_is_not_named_all_the_time(server: RedisServer) -> None:
    with fed_by_hand(server, audit_fraction=1.0) as fed:
        generation = fed.open(0, pairs=10)
        tasks = fed.take_all()
        for rollout in range(20):
            one, other = [task for task in tasks if task.first == rollout]
            fed.answer(generation, one, "bad-1-0", fitness=2.0)
            fed.answer(generation, other, "good-1-0")
        fed.tick(0.0)
        for task in fed.take_all():
            fed.answer(generation, task, "fair-1-0")
        assert len(fed.tick(0.0)) == 20
        assert [line.partition(" times so far")[0][-2:] for line in fed.notices] == [
            "(1",
            "(2",
            "(4",
            "(8",
            "16",
        ]


def test_a_run_without_audits_hands_everything_out_once(server: RedisServer) -> None:
    with fed_by_hand(server) as fed:
        fed.open(0)
        assert len(fed.take_all()) == 4
        assert fed.pool.status().audit_fraction == 0.0


def test_two_honest_machines_agree_to_the_bit(tmp_path: Path, server: RedisServer) -> None:
    with (
        open_table(1, 10_000, tmp_path) as noise,
        connect(server.url) as client,
        local_workers(1, server.url, log=tmp_path / "a", include=INCLUDE, noise_dir=tmp_path),
        local_workers(1, server.url, log=tmp_path / "b", include=INCLUDE, noise_dir=tmp_path),
    ):
        calm = generation_of()
        # Slow enough for both to have a share: a machine that sleeps through it audits nothing.
        slow = seeds_of(calm, range(calm.num_rollouts))
        run = experiment_of(noise.spec, kind="dawdle", seeds=slow)
        notices: list[str] = []
        pool = RedisPool(client, run, audit_fraction=1.0, notice=notices.append)
        try:
            wait_for(
                lambda: pool.results(0.05) is not None and pool.status().num_workers == 2,
                "two machines",
            )
            generation = of_run(calm, run)
            pool.open(generation)
            (answers,) = collect(pool, generation)
            status = pool.status()
        finally:
            pool.shutdown()
        assert {r: said(record) for r, record in answers.items()} == expected(
            run, generation, noise
        )
    assert status.audited + status.unaudited == generation.num_rollouts
    assert status.audited > 0
    assert status.disagreed == 0
    assert notices == []

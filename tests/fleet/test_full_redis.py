"""A Redis that is full refuses some commands and not others: nothing is lost in between."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fed_by_hand import fed_by_hand
from real_fleet import INCLUDE, collect, experiment_of, generation_of, wait_for

from fleet import keys
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.machine.worker_broker import RecordsRefused, WorkerBroker
from fleet.provision import local_workers
from fleet.server.redis_server import RedisServer
from search.messages import Task, decode, encode
from search.noise import open_table


def test_a_redis_that_was_full_for_a_while_has_cost_no_rollout(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        open_table(1, 10_000, tmp_path) as noise,
        RedisServer() as server,
        connect(server.url) as client,
        connect(server.url) as heads,
        local_workers(2, server.url, log=log, include=INCLUDE, noise_dir=tmp_path),
    ):
        experiment = experiment_of(noise.spec)
        pool = RedisPool(heads, experiment)
        full_s: list[float] = []

        def fill(answers: dict[int, Any]) -> None:
            if len(answers) > 20 and not full_s:
                client.config_set("maxmemory", 1)
                full_s.append(time.monotonic())
            elif len(full_s) == 1 and "refuses us" in log.read_text():
                client.config_set("maxmemory", 0)
                full_s.append(time.monotonic())

        try:
            generation = generation_of(experiment.run_uid, pairs=400)
            pool.open(generation)
            (answers,) = collect(pool, generation, meanwhile=fill, patience_s=0.01)
        finally:
            pool.shutdown()
    assert len(full_s) == 2
    assert {record.status for record in answers.values()} == {"ok"}
    assert (pool.status().reissued, pool.status().lost) == (0, 0)
    line = "Redis refuses us (command not allowed when used memory > 'maxmemory'.): trying again"
    assert line in log.read_text()


def test_a_task_that_comes_while_records_are_refused_is_not_dropped() -> None:
    with RedisServer() as server, fed_by_hand(server) as fed, connect(server.url) as client:
        generation = fed.open()
        task = fed.take()
        assert task is not None
        batch = encode(fed.answer(generation, task))
        broker = WorkerBroker(client, "w-0")
        client.config_set("maxmemory", 1)
        with pytest.raises(RecordsRefused) as refusal:
            broker.exchange(fed.uid, batch, [0])
        assert decode(refusal.value.task, Task).first != task.first
        assert refusal.value.numbers == [0]


def test_a_head_takes_its_records_out_of_a_redis_that_is_full() -> None:
    with RedisServer() as server, fed_by_hand(server) as fed:
        generation = fed.open()
        for task in fed.take_all():
            fed.answer(generation, task)
        fed.client.config_set("maxmemory", 1)
        answered = [record.rollout for _ in range(20) for record in fed.tick(0.3)]
        assert sorted(answered) == [0, 1, 2, 3]
        wait_for(lambda: fed.tick(0.3) or not fed.client.llen(keys.records(fed.uid)), "room")
        assert "lost Redis" in fed.notices[-1]
        fed.client.config_set("maxmemory", 0)
        fed.tick()
        assert fed.notices[-1] == "Redis is back, with all that it had"

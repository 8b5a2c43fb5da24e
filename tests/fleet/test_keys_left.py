"""A head that is killed leaves nothing for ever."""

from __future__ import annotations

from typing import Any

from fed_by_hand import fed_by_hand

from fleet import keys
from fleet.head.head_broker import KEPT_S
from fleet.server.redis_server import RedisServer


def test_every_key_of_a_run_goes_a_day_after_its_head_was_last_heard_of() -> None:
    with RedisServer() as server, fed_by_hand(server) as fed:
        generation = fed.open(0)
        fed.open(1)
        task = fed.take(0)
        assert task is not None
        fed.answer(generation, task, status="failed", error="once")
        fed.tick()
        client: Any = fed.client
        found = {key.decode(): client.ttl(key) for key in client.scan_iter("*")}
        by_others = {keys.RUNS, keys.MACHINES, keys.records(fed.uid)}
        assert len(found) > 6
        for key, ttl_s in found.items():
            assert key in by_others or 0 < ttl_s <= KEPT_S, key


def test_a_head_that_lives_renews_what_it_has_declared() -> None:
    with RedisServer() as server, fed_by_hand(server) as fed:
        fed.open(0)
        names = [keys.experiment(fed.uid), keys.open_generations(fed.uid), keys.tasks(fed.uid, 0)]
        for name in names:
            fed.client.expire(name, 100)
        fed.tick()
        for name in names:
            assert fed.client.ttl(name) > KEPT_S - 100


def test_a_run_whose_head_has_been_gone_for_a_day_is_no_longer_listed() -> None:
    with RedisServer() as server, fed_by_hand(server) as fed:
        fed.client.zadd(keys.RUNS, {"0" * 32: 1.0})
        fed.tick()
        assert fed.client.zrange(keys.RUNS, 0, -1) == [fed.uid.encode()]

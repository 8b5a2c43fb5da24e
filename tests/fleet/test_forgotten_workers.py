"""A fleet of spot machines is never the same twice; what is kept of those that went stays small."""

from __future__ import annotations

from fed_by_hand import fed_by_hand

from fleet import keys
from fleet.heartbeat import redis_time_s
from fleet.machine.worker_broker import CREW_FRESH_S
from fleet.server.redis_server import RedisServer


def test_a_run_forgets_workers_that_vanished_without_a_word() -> None:
    with RedisServer() as server, fed_by_hand(server) as fed:
        now_s = redis_time_s(fed.client)
        gone = {f"spot-{number}-0": now_s - CREW_FRESH_S - 5 for number in range(1000)}
        fed.client.zadd(keys.crew(fed.uid), {**gone, "here-0": now_s})
        fed.open()
        fed.tick()
        assert fed.client.zrange(keys.crew(fed.uid), 0, -1) == [b"here-0"]

"""A task in a relay's hands, whose generation it has just fetched, is never dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from fed_by_hand import FedByHand, fed_by_hand

from fleet import keys
from fleet.connection import connect
from fleet.relay.counts import RelayCounts
from fleet.relay.downstream import Downstream
from fleet.relay.run import RelayRun
from fleet.relay.upstream import Upstream
from fleet.security.access import NO_ACCESS
from fleet.server.redis_server import RedisServer
from search.messages import RecordBatch, decode


@pytest.fixture
def servers() -> Iterator[tuple[RedisServer, RedisServer]]:
    with RedisServer() as head, RedisServer() as own:
        yield head, own


def given_back_after(
    head: RedisServer,
    own: RedisServer,
    fed: FedByHand,
    trouble: Callable[[RelayRun], Awaitable[object]],
) -> None:
    """Where ``trouble`` comes after a task was taken and before it is copied, it goes back."""
    fed.open()
    task = fed.take()
    assert task is not None

    async def copy() -> None:
        upstream = Upstream(head.url, NO_ACCESS)
        downstream = Downstream(own.url)
        try:
            run = RelayRun(upstream, downstream, "here-relay", RelayCounts())
            await downstream.hold.claim()
            await run.switch(fed.uid)
            await trouble(run)
            assert not await run.copy(task)
        finally:
            await upstream.close()
            await downstream.close()

    asyncio.run(copy())
    with connect(own.url) as client:
        found: Any = client.lrange(keys.records(fed.uid), 0, -1)
    records = [record for data in found for record in decode(data, RecordBatch).records]
    assert [(r.rollout, r.status, r.copy) for r in records] == [
        (rollout, "returned", task.copy) for rollout in range(task.first, task.stop)
    ]


def test_a_task_taken_just_before_the_local_redis_was_emptied_goes_back(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    head, own = servers

    async def empty(run: RelayRun) -> None:
        with connect(own.url) as client:
            client.flushall()

    with fed_by_hand(head) as fed:
        given_back_after(head, own, fed, empty)


def test_a_task_taken_just_before_another_run_was_chosen_goes_back(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    with fed_by_hand(servers[0]) as fed:
        given_back_after(*servers, fed, lambda run: run.switch(None))

"""Redis forgets, in part or wholly, or is cut off: the pool writes again what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fed_by_hand import FedByHand, fed_by_hand

from fleet import keys
from fleet.connection import connect
from fleet.head.head_token import decode_token
from fleet.head.record_queue import RecordQueue
from fleet.server.redis_server import RedisServer
from search.messages import MAX_BATCH_BYTES, encode


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def fed(server: RedisServer) -> Iterator[FedByHand]:
    with fed_by_hand(server) as fed:
        yield fed


@pytest.mark.parametrize("lost", ["experiment", "open", "generation:0", "head"])
def test_one_key_that_is_missing_is_written_again_and_no_task_with_it(
    fed: FedByHand, lost: str
) -> None:
    generation = fed.open(0)
    fed.take()
    fed.tick()
    key = f"{keys.PREFIX}{fed.uid}:{lost}"
    before, queued = fed.client.get(key), fed.queued()
    assert before
    assert len(queued) == 3
    fed.client.delete(key)
    fed.tick()
    assert fed.client.get(key) == before
    assert fed.queued() == queued
    assert fed.client.get(keys.generation(fed.uid, 0)) == encode(generation)


def test_a_list_of_open_generations_from_an_older_life_is_put_right(fed: FedByHand) -> None:
    fed.open(4)
    fed.open(5)
    fed.client.set(keys.open_generations(fed.uid), "3,4")
    fed.tick()
    assert fed.client.get(keys.open_generations(fed.uid)) == b"4,5"


def test_an_emptied_redis_gets_everything_back(fed: FedByHand) -> None:
    generation = fed.open(0)
    done, *_ = fed.take_all()
    fed.answer(generation, done)
    fed.tick()
    fed.client.flushall()
    fed.tick()
    assert [line for line in fed.notices if "declared it again" in line] == [
        "Redis had lost this run: declared it again"
    ]
    assert fed.client.zscore(keys.RUNS, fed.uid) is not None
    assert decode_token(fed.client.get(keys.head(fed.uid))) is not None
    assert {task.first for task in fed.take_all()} == {0, 1, 2, 3} - {done.first}


def test_a_copy_handed_out_between_the_loss_and_its_discovery_hides_nothing(
    fed: FedByHand,
) -> None:
    generation = fed.open(0)
    one = fed.take()
    assert one is not None
    fed.client.flushall()
    fed.answer(generation, one, status="lost", fitness=0.0)
    fed.tick(0.0)  # hands a copy out into the emptied Redis, before anybody has looked
    assert len(fed.queued()) == 1
    fed.tick()
    assert {task.first for task in fed.take_all()} == {0, 1, 2, 3}


def test_a_generation_whose_tasks_were_all_taken_is_handed_out_again_where_it_is_lost(
    fed: FedByHand,
) -> None:
    fed.open(0)
    fed.open(1)
    taken = fed.take_all(0)
    waiting = fed.queued(1)
    fed.client.delete(keys.generation(fed.uid, 0))
    fed.tick()
    again = fed.take_all(0)
    assert {task.first for task in again} == {task.first for task in taken}
    assert not {task.copy for task in again} & {task.copy for task in taken}
    assert fed.queued(1) == waiting


class Refusing:
    """A Redis that, for a while, refuses every write."""

    def __init__(self, fed: FedByHand) -> None:
        self._client = fed.client

    def __enter__(self) -> None:
        self._client.config_set("maxmemory", 1)

    def __exit__(self, *_: object) -> None:
        self._client.config_set("maxmemory", 0)


def test_what_could_not_be_said_is_said_when_redis_is_back_and_nothing_twice(
    fed: FedByHand,
) -> None:
    first = fed.open(0)
    fed.open(1)
    one, *_ = fed.take_all(0)
    waiting = fed.queued(1)
    fed.answer(first, one, status="lost", fitness=0.0)
    with Refusing(fed):
        fed.tick(0.0)
        assert fed.pool.status().note == "Redis is out of reach"
        fed.pool.close(1)
        fed.open(2)
        fed.tick()
    assert fed.queued(1) == waiting
    fed.tick()
    fed.tick(0.0)
    assert [task.first for task in fed.take_all(0)] == [one.first]
    assert fed.queued(1) == []
    assert fed.client.exists(keys.generation(fed.uid, 1)) == 0
    assert len(fed.take_all(2)) == 4
    assert fed.client.get(keys.open_generations(fed.uid)) == b"0,2"
    assert "out of reach" not in fed.pool.status().note
    assert [line for line in fed.notices if "lost Redis" in line] == [fed.notices[0]]
    assert fed.notices[1:] == ["Redis is back, with all that it had"]


def test_workers_have_a_moment_to_come_back_after_redis_did(fed: FedByHand) -> None:
    fed.open(0)
    fed.tick(10)
    assert "no workers" in fed.pool.status().note
    with Refusing(fed):
        fed.tick()
    fed.tick()
    assert fed.pool.status().note == ""
    fed.tick(10)
    assert "no workers" in fed.pool.status().note


def test_a_redis_that_was_only_out_of_reach_gets_no_task_twice(fed: FedByHand) -> None:
    fed.open(0)
    fed.take()
    queued = fed.queued()
    with Refusing(fed):
        fed.tick()
    fed.tick()
    fed.tick()
    assert fed.queued() == queued
    assert fed.pool.status().reissued == 0


def test_the_first_words_of_a_pool_may_come_late(server: RedisServer) -> None:
    with connect(server.url) as client:
        client.config_set("maxmemory", 1)
        try:
            fed = FedByHand(server)
            fed.open(0)
        finally:
            client.config_set("maxmemory", 0)
    try:
        fed.tick()
        assert len(fed.take_all()) == 4
        assert fed.client.exists(keys.experiment(fed.uid), keys.head(fed.uid)) == 2
    finally:
        fed.close()


UID = "5" * 32


@pytest.fixture
def queue(server: RedisServer) -> Iterator[RecordQueue]:
    with connect(server.url) as client:
        client.delete(keys.records(UID))
        yield RecordQueue(client, UID)


def test_records_are_gone_only_when_they_have_been_read(
    server: RedisServer, queue: RecordQueue
) -> None:
    with connect(server.url) as client:
        client.rpush(keys.records(UID), b"1", b"2")
        assert queue.read(0.01) == [b"1", b"2"]
        # A connection that breaks while they come, and a head that is killed, find them again.
        assert RecordQueue(client, UID).read(0.01) == [b"1", b"2"]
        client.rpush(keys.records(UID), b"3")
        assert queue.read(0.01) == [b"3"]
        assert queue.read(0.01) == []
        assert client.llen(keys.records(UID)) == 0


def test_a_reading_that_was_thanked_for_twice_drops_nothing_unread(
    server: RedisServer, queue: RecordQueue
) -> None:
    with connect(server.url) as client:
        client.rpush(keys.records(UID), b"1", b"2")
        assert queue.read(0.01) == [b"1", b"2"]
        # The thanks arrived, the answer to it did not: the queue does not know and thanks again.
        client.ltrim(keys.records(UID), 2, -1)
        client.rpush(keys.records(UID), b"3", b"4", b"5")
        assert queue.read(0.01) == [b"3", b"4", b"5"]


def test_a_batch_beyond_its_limit_is_not_even_fetched(
    server: RedisServer, queue: RecordQueue
) -> None:
    with connect(server.url) as client:
        client.rpush(keys.records(UID), b"1", b"x" * (MAX_BATCH_BYTES + 1), b"2")
        assert queue.read(0.01) == [b"1", b"", b"2"]
        assert queue.is_drained
        assert queue.read(0.01) == []


def test_a_reading_is_bounded_in_number_and_in_bytes(
    server: RedisServer, queue: RecordQueue
) -> None:
    with connect(server.url) as client:
        client.rpush(keys.records(UID), *[b"1"] * 2500)
        counts = []
        while found := queue.read(0.01):
            counts.append(len(found))
            assert queue.is_drained == (len(found) < 1000)
        assert counts == [1000, 1000, 500]
        for _ in range(10):
            client.rpush(keys.records(UID), b"x" * (MAX_BATCH_BYTES - 1))
        counts = []
        while found := queue.read(0.01):
            counts.append(len(found))
        assert counts == [4, 4, 2]

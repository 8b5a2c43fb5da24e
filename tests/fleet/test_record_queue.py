"""Nothing leaves the queue of records unread."""

from __future__ import annotations

import secrets

from fleet import keys
from fleet.connection import connect
from fleet.head.record_queue import MAX_BATCHES, RecordQueue
from fleet.server.redis_server import RedisServer

UID = "a" * 32
KEY = keys.records(UID)


def test_a_first_batch_that_is_sent_again_to_an_emptied_redis_takes_no_other_with_it() -> None:
    with RedisServer() as server, connect(server.url) as client:
        queue = RecordQueue(client, UID)
        client.rpush(KEY, b"one", b"two", b"three")
        assert queue.read(0.01) == [b"one", b"two", b"three"]
        client.flushall()
        client.rpush(KEY, b"one", b"four", b"five")
        assert queue.read(0.01) == [b"one", b"four", b"five"]
        assert queue.read(0.01) == []
        assert client.llen(KEY) == 0


def test_what_is_read_is_read_in_order_and_gone_afterwards() -> None:
    with RedisServer() as server, connect(server.url) as client:
        queue = RecordQueue(client, UID)
        sent = [secrets.token_bytes(20) for _ in range(2 * MAX_BATCHES + 500)]
        client.rpush(KEY, *sent)
        read: list[bytes] = []
        while found := queue.read(0.01):
            assert queue.is_drained == (len(found) < MAX_BATCHES)
            read += found
        assert read == sent
        assert client.llen(KEY) == 0

"""What a head says to its Redis, in its own words.

Thin and typed; no rule of the protocol is here but which key holds what. Commands of Redis 6.2 and
before. Blocking pops last `BLOCK_S` at most, and nothing is retried here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fleet import keys
from fleet.connection import BLOCK_S, Client
from fleet.heartbeat import redis_time_s
from search.messages import Task, encode

MAX_RECORD_BATCHES = 1000
CLOSED_WORD_S = 60
_PUSH_CHUNK = 1000


class HeadBroker:
    """The head's side of one run."""

    def __init__(self, client: Client, run_uid: str) -> None:
        self._client = client
        self._uid = run_uid

    def declare(self, experiment: bytes) -> None:
        """Make the run known, and beat once."""
        self._client.set(keys.experiment(self._uid), experiment)
        self.beat()

    def beat(self) -> None:
        """Say that the run's head is alive."""
        self._client.zadd(keys.RUNS, {self._uid: redis_time_s(self._client)})

    def publish(self, number: int, data: bytes, tasks: Sequence[Task], now_open: str) -> None:
        """Store generation ``number``, and then its tasks."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.set(keys.generation(self._uid, number), data)
            pipe.delete(keys.tasks(self._uid, number), keys.reissues(self._uid, number))
            pipe.set(keys.open_generations(self._uid), now_open)
            _push(pipe, keys.tasks(self._uid, number), tasks)
            pipe.execute()

    def reissue(self, number: int, tasks: Sequence[Task]) -> None:
        """Hand ``tasks`` out before any other of their generation."""
        with self._client.pipeline(transaction=False) as pipe:
            _push(pipe, keys.reissues(self._uid, number), tasks)
            pipe.execute()

    def retire(self, number: int, now_open: str) -> None:
        """Generation ``number`` is open no more."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.set(keys.open_generations(self._uid), now_open)
            pipe.delete(
                keys.generation(self._uid, number),
                keys.tasks(self._uid, number),
                keys.reissues(self._uid, number),
            )
            pipe.execute()

    def pop_records(self, timeout_s: float) -> list[bytes]:
        """Encoded batches, waiting ``timeout_s`` for the first."""
        key = keys.records(self._uid)
        first = self._client.blpop([key], timeout=max(0.01, min(timeout_s, BLOCK_S)))
        if first is None:
            return []
        rest: Any = self._client.lpop(key, MAX_RECORD_BATCHES)
        return [first[1], *(rest or [])]

    def num_queued(self, number: int) -> int:
        """Tasks of generation ``number`` that nobody has taken yet."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.llen(keys.tasks(self._uid, number))
            pipe.llen(keys.reissues(self._uid, number))
            return sum(pipe.execute())

    def is_declared(self, numbers: Iterable[int]) -> bool:
        """Whether Redis still has the run and each of its open generations."""
        wanted = [keys.experiment(self._uid), keys.open_generations(self._uid)]
        wanted += [keys.generation(self._uid, number) for number in numbers]
        return int(self._client.exists(*wanted)) == len(wanted)

    def withdraw(self) -> None:
        """Remove the run and all its keys, but for word that no generation is open any more: a
        missing one would mean wait.
        """
        self._client.zrem(keys.RUNS, self._uid)
        self._client.set(keys.open_generations(self._uid), "", ex=CLOSED_WORD_S)
        for key in self._client.scan_iter(keys.all_of(self._uid), count=1000):
            if key.decode() != keys.open_generations(self._uid):
                self._client.delete(key)


def _push(pipe: Any, key: str, tasks: Sequence[Task]) -> None:
    for start in range(0, len(tasks), _PUSH_CHUNK):
        pipe.rpush(key, *(encode(task) for task in tasks[start : start + _PUSH_CHUNK]))

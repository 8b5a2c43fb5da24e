"""What a worker says to its Redis, the head's or a relay's; see `fleet.head.head_broker`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis

from fleet import keys
from fleet.connection import BLOCK_S, Client
from fleet.heartbeat import redis_time_s
from fleet.open_numbers import parse_numbers
from search.messages import is_run_uid

HEAD_GONE_S = 30.0
HEAD_QUIET_S = 3.0
"""A head beats every second; one not heard of for so long makes way for another run's."""
CREW_FRESH_S = 10.0
UNREAD_S = 3600
"""What is sent to a run whose head has gone for good does not stay for ever."""


class RecordsRefused(Exception):
    """Redis took no records, being full, say, yet gave what else was asked for: `task`, and the
    open generations' `numbers`.
    """

    def __init__(self, task: bytes, numbers: list[int]) -> None:
        super().__init__("Redis took no records")
        self.task = task
        self.numbers = numbers


class LiveRun(NamedTuple):
    """A run whose head has been heard of: how long ago, and how many other workers it has."""

    uid: str
    silence_s: float
    num_workers: int
    crew: frozenset[str] = frozenset()


class WorkerBroker:
    """One worker's side. What it reads may be missing, which means wait."""

    def __init__(self, client: Client, worker: str) -> None:
        self._client = client
        self._worker = worker

    def live_runs(self) -> list[LiveRun]:
        """Runs that have a head, those with the fewest workers first."""
        now_s = redis_time_s(self._client)
        found: Any = self._client.zrangebyscore(
            keys.RUNS, now_s - HEAD_GONE_S, "+inf", withscores=True
        )
        uids = {name.decode(errors="replace"): beat_s for name, beat_s in found}
        uids = {uid: beat_s for uid, beat_s in uids.items() if is_run_uid(uid)}
        with self._client.pipeline(transaction=False) as pipe:
            for uid in uids:
                pipe.zrangebyscore(keys.crew(uid), now_s - CREW_FRESH_S, "+inf")
            crews = pipe.execute()
        runs = []
        for (uid, beat_s), found_crew in zip(uids.items(), crews, strict=True):
            crew = frozenset(member.decode(errors="replace") for member in found_crew)
            others = len(crew - {self._worker})
            runs.append(LiveRun(uid, now_s - beat_s, others, crew))
        return sorted(runs, key=lambda run: (run.num_workers, run.uid))

    def experiment(self, run_uid: str) -> bytes | None:
        """The run's encoded declaration."""
        data: Any = self._client.get(keys.experiment(run_uid))
        return bytes(data) if data is not None else None

    def generation(self, run_uid: str, number: int) -> bytes | None:
        """An open generation, encoded."""
        data: Any = self._client.get(keys.generation(run_uid, number))
        return bytes(data) if data is not None else None

    def join(self, run_uid: str) -> None:
        """Count as one of the run's workers."""
        now_s = redis_time_s(self._client)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.zadd(keys.crew(run_uid), {self._worker: now_s})
            pipe.expire(keys.crew(run_uid), UNREAD_S)
            pipe.execute()

    def leave(self, run_uid: str) -> None:
        """Count as one no more."""
        self._client.zrem(keys.crew(run_uid), self._worker)

    def present_numbers(self, run_uid: str) -> list[int] | None:
        """As `open_numbers`; ``None`` where nobody says which are open."""
        data: Any = self._client.get(keys.open_generations(run_uid))
        return parse_numbers(data) if data is not None else None

    def open_numbers(self, run_uid: str) -> list[int]:
        """Numbers of the open generations, oldest first."""
        return parse_numbers(self._client.get(keys.open_generations(run_uid)))

    def send(self, run_uid: str, batch: bytes) -> None:
        """Push records without waiting for work."""
        push_records(self._client, run_uid, [batch])

    def exchange(
        self, run_uid: str, batch: bytes | None, numbers: Sequence[int]
    ) -> tuple[bytes | None, list[int]]:
        """Send ``batch``, take the next task of the generations ``numbers``, earlier ones first,
        waiting for it `BLOCK_S`: all in one round trip.

        Returns:
            The encoded task or ``None``, and the numbers of the open generations before it.

        Raises:
            RecordsRefused: a task is here, and ``batch`` is not there.
        """
        queues = []
        for number in numbers:
            queues += [keys.reissues(run_uid, number), keys.tasks(run_uid, number)]
        with self._client.pipeline(transaction=False) as pipe:
            if batch is not None:
                _queue_records(pipe, run_uid, [batch])
            pipe.get(keys.open_generations(run_uid))
            pipe.blpop(queues, timeout=BLOCK_S)
            *pushed, listed, popped = pipe.execute(raise_on_error=False)
        refused = [answer for answer in pushed if isinstance(answer, redis.RedisError)]
        for error in (popped, listed, *(refused if popped is None else ())):
            if isinstance(error, redis.RedisError):
                raise error
        if refused:
            raise RecordsRefused(popped[1], parse_numbers(listed))
        return (popped[1] if popped is not None else None), parse_numbers(listed)


def count_crews(client: Client, stay: Mapping[str, str], left: Mapping[str, str]) -> None:
    """Count workers among the crews of their runs, and no more among those that they have left.

    Args:
        client: of their Redis.
        stay, left: a run's uid by worker.
    """
    now_s = redis_time_s(client)
    with client.pipeline(transaction=False) as pipe:
        for worker, uid in left.items():
            pipe.zrem(keys.crew(uid), worker)
        for worker, uid in stay.items():
            pipe.zadd(keys.crew(uid), {worker: now_s})
        for uid in set(stay.values()):
            pipe.expire(keys.crew(uid), UNREAD_S)
        pipe.execute()


def push_records(client: Client, run_uid: str, batches: Sequence[bytes]) -> None:
    """Send encoded records to a run's head, from whoever has them."""
    with client.pipeline(transaction=False) as pipe:
        _queue_records(pipe, run_uid, batches)
        pipe.execute()


def _queue_records(pipe: Any, run_uid: str, batches: Sequence[bytes]) -> None:
    key = keys.records(run_uid)
    pipe.rpush(key, *batches)
    pipe.expire(key, UNREAD_S)

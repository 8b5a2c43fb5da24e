"""What head and workers say to Redis, in their own words.

Thin and typed; no rule of the protocol is here but which key holds what. Commands of Redis 6.2 and
before. Blocking pops last `BLOCK_S` at most, and nothing is retried here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fleet import keys
from fleet.connection import BLOCK_S, Client
from fleet.heartbeat import redis_time_s
from search.messages import Task, encode, is_run_uid

MAX_RECORD_BATCHES = 1000
HEAD_GONE_S = 30.0
CREW_FRESH_S = 10.0
_PUSH_CHUNK = 1000
# What is sent to a run whose head has gone for good must not stay for ever.
_UNREAD_S = 3600


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
        """Remove the run and all its keys."""
        self._client.zrem(keys.RUNS, self._uid)
        for key in self._client.scan_iter(keys.all_of(self._uid), count=1000):
            self._client.delete(key)


class LiveRun(NamedTuple):
    """A run whose head has been heard of: how long ago, and how many workers it has."""

    uid: str
    silence_s: float
    num_workers: int


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
        runs = []
        for name, beat_s in found:
            uid = name.decode(errors="replace")
            if is_run_uid(uid):
                crew: Any = self._client.zrangebyscore(keys.crew(uid), now_s - CREW_FRESH_S, "+inf")
                others = len(set(crew) - {self._worker.encode()})
                runs.append(LiveRun(uid, now_s - beat_s, others))
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
            pipe.expire(keys.crew(run_uid), _UNREAD_S)
            pipe.execute()

    def leave(self, run_uid: str) -> None:
        """Count as one no more."""
        self._client.zrem(keys.crew(run_uid), self._worker)

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
        """
        queues = []
        for number in numbers:
            queues += [keys.reissues(run_uid, number), keys.tasks(run_uid, number)]
        with self._client.pipeline(transaction=False) as pipe:
            if batch is not None:
                _queue_records(pipe, run_uid, [batch])
            pipe.get(keys.open_generations(run_uid))
            pipe.blpop(queues, timeout=BLOCK_S)
            *_, listed, popped = pipe.execute()
        return (popped[1] if popped is not None else None), parse_numbers(listed)


def push_records(client: Client, run_uid: str, batches: Sequence[bytes]) -> None:
    """Send encoded records to a run's head, from whoever has them."""
    with client.pipeline(transaction=False) as pipe:
        _queue_records(pipe, run_uid, batches)
        pipe.execute()


def format_numbers(numbers: Iterable[int]) -> str:
    """Open generations as they stand in Redis."""
    return ",".join(map(str, sorted(numbers)))


def parse_numbers(data: Any) -> list[int]:
    """What `format_numbers` wrote; nothing where it is missing or not ours."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else ""
    return [int(part) for part in text[:10_000].split(",") if part.isdecimal()]


def _push(pipe: Any, key: str, tasks: Sequence[Task]) -> None:
    for start in range(0, len(tasks), _PUSH_CHUNK):
        pipe.rpush(key, *(encode(task) for task in tasks[start : start + _PUSH_CHUNK]))


def _queue_records(pipe: Any, run_uid: str, batches: Sequence[bytes]) -> None:
    key = keys.records(run_uid)
    pipe.rpush(key, *batches)
    pipe.expire(key, _UNREAD_S)

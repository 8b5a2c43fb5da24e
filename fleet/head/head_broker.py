"""What a head says to its Redis, in its own words.

Thin and typed; no rule of the protocol is here but which key holds what. Commands of Redis 6.2 and
before. Nothing is retried here, and what belongs together is done together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fleet import keys
from fleet.connection import Client
from fleet.heartbeat import redis_time_s
from fleet.machine.worker_broker import CREW_FRESH_S
from fleet.run_report import LIFETIME_S, RunReport, encode_report
from search.messages import Task, encode

KEPT_S = 86_400
"""What a head that was killed leaves goes after so long; one that lives renews it every second."""

CLOSED_WORD_S = 60
_PUSH_CHUNK = 1000


class Queued(NamedTuple):
    """An open generation in Redis: is it there, and how many tasks has nobody taken yet."""

    is_there: bool
    tasks: int
    reissues: int


class Standing(NamedTuple):
    """What Redis has of a run: its declaration, the list of open generations, and each of them."""

    is_declared: bool
    now_open: str | None
    generations: dict[int, Queued]

    @property
    def num_queued(self) -> int:
        """Tasks that nobody has taken yet."""
        return sum(queued.tasks + queued.reissues for queued in self.generations.values())


class HeadBroker:
    """The head's side of one run."""

    def __init__(self, client: Client, run_uid: str) -> None:
        self._client = client
        self._uid = run_uid

    def declare(self, experiment: bytes) -> None:
        """Make the run known, and beat once."""
        self._client.set(keys.experiment(self._uid), experiment, ex=KEPT_S)
        self.beat()

    def beat(self) -> None:
        """Say that the run's head is alive, and forget workers that have not been heard of."""
        now_s = redis_time_s(self._client)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.zadd(keys.RUNS, {self._uid: now_s})
            pipe.zremrangebyscore(keys.RUNS, "-inf", now_s - KEPT_S)
            pipe.zremrangebyscore(keys.crew(self._uid), "-inf", now_s - CREW_FRESH_S)
            pipe.execute()

    def list_open(self, now_open: str) -> None:
        """Say which generations are open."""
        self._client.set(keys.open_generations(self._uid), now_open, ex=KEPT_S)

    def store(self, number: int, data: bytes) -> None:
        """Store generation ``number``, whose tasks are where they should be."""
        self._client.set(keys.generation(self._uid, number), data, ex=KEPT_S)

    def publish(self, number: int, data: bytes, tasks: Sequence[Task], now_open: str) -> None:
        """Store generation ``number`` with these tasks and no others, and say that it is open."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(keys.generation(self._uid, number), data, ex=KEPT_S)
            pipe.delete(keys.tasks(self._uid, number), keys.reissues(self._uid, number))
            pipe.set(keys.open_generations(self._uid), now_open, ex=KEPT_S)
            _push(pipe, keys.tasks(self._uid, number), tasks)
            pipe.execute()

    def reissue(self, number: int, tasks: Sequence[Task]) -> None:
        """Hand ``tasks`` out before any other of their generation."""
        with self._client.pipeline(transaction=True) as pipe:
            _push(pipe, keys.reissues(self._uid, number), tasks)
            pipe.execute()

    def retire(self, numbers: Iterable[int], now_open: str) -> None:
        """These generations are open no more."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(keys.open_generations(self._uid), now_open, ex=KEPT_S)
            for number in numbers:
                pipe.delete(
                    keys.generation(self._uid, number),
                    keys.tasks(self._uid, number),
                    keys.reissues(self._uid, number),
                )
            pipe.execute()

    def look(self, numbers: Sequence[int]) -> Standing:
        """What is there of the run and of these generations, as of one moment; it stays for now."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.exists(keys.experiment(self._uid))
            pipe.get(keys.open_generations(self._uid))
            for number in numbers:
                pipe.exists(keys.generation(self._uid, number))
                pipe.llen(keys.tasks(self._uid, number))
                pipe.llen(keys.reissues(self._uid, number))
            for key in self._keys_of(numbers):
                pipe.expire(key, KEPT_S)
            found: list[Any] = pipe.execute()
        now_open = found[1].decode(errors="replace") if found[1] is not None else None
        return Standing(
            bool(found[0]),
            now_open,
            {
                number: Queued(bool(found[at]), int(found[at + 1]), int(found[at + 2]))
                for number, at in zip(numbers, range(2, 2 + 3 * len(numbers), 3), strict=True)
            },
        )

    def _keys_of(self, numbers: Sequence[int]) -> list[str]:
        of_one = (keys.generation, keys.tasks, keys.reissues)
        of_run = [keys.experiment(self._uid), keys.open_generations(self._uid)]
        return of_run + [key(self._uid, number) for number in numbers for key in of_one]

    def report(self, report: RunReport) -> None:
        """Say how the run does, for people."""
        self._client.set(keys.report(self._uid), encode_report(report), ex=LIFETIME_S)

    def withdraw(self) -> None:
        """Remove the run and all its keys, but for its head's token, and for word that no
        generation is open any more: a missing one would mean wait.
        """
        self._client.zrem(keys.RUNS, self._uid)
        self._client.set(keys.open_generations(self._uid), "", ex=CLOSED_WORD_S)
        kept = {keys.open_generations(self._uid), keys.head(self._uid)}
        for key in self._client.scan_iter(keys.all_of(self._uid), count=1000):
            if key.decode(errors="replace") not in kept:
                self._client.delete(key)


def _push(pipe: Any, key: str, tasks: Sequence[Task]) -> None:
    for start in range(0, len(tasks), _PUSH_CHUNK):
        pipe.rpush(key, *(encode(task) for task in tasks[start : start + _PUSH_CHUNK]))
    pipe.expire(key, KEPT_S)

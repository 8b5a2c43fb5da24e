"""What a relay asks of the Redis above it, which may be the head's or another relay's.

Only what the access control list grants to workers; see `fleet.acl`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
import redis.asyncio

from fleet import keys
from fleet.connection import BLOCK_S
from fleet.heartbeat import LIFETIME_S
from fleet.open_numbers import parse_numbers
from fleet.worker_broker import CREW_FRESH_S, HEAD_GONE_S, UNREAD_S, LiveRun
from search.messages import is_run_uid


class UpstreamAway(Exception):
    """The server above does not answer; says why."""


class Taken(NamedTuple):
    """An encoded task, the generation in whose queue it stood, and whether among reissues."""

    number: int
    is_reissue: bool
    data: bytes


class Upstream:
    """The server above, asked in a few round trips."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def live_runs(self) -> list[LiveRun]:
        """Runs that have a head, those with the fewest workers first."""
        now_s = await self._now_s()
        found = await _heard(
            self._client.zrangebyscore(keys.RUNS, now_s - HEAD_GONE_S, "+inf", withscores=True)
        )
        runs = []
        for name, beat_s in found:
            uid = name.decode(errors="replace")
            if is_run_uid(uid):
                crew = await _heard(
                    self._client.zrangebyscore(keys.crew(uid), now_s - CREW_FRESH_S, "+inf")
                )
                runs.append(LiveRun(uid, max(0.0, now_s - beat_s), len(crew)))
        return sorted(runs, key=lambda run: (run.num_workers, run.uid))

    async def experiment(self, run_uid: str) -> bytes | None:
        """The run's encoded declaration."""
        data: bytes | None = await _heard(self._client.get(keys.experiment(run_uid)))
        return data

    async def generation(self, run_uid: str, number: int) -> bytes | None:
        """An open generation, encoded."""
        data: bytes | None = await _heard(self._client.get(keys.generation(run_uid, number)))
        return data

    async def present_numbers(self, run_uid: str) -> list[int] | None:
        """Numbers of the open generations; ``None`` where nobody says which."""
        data = await _heard(self._client.get(keys.open_generations(run_uid)))
        return parse_numbers(data) if data is not None else None

    async def take(self, run_uid: str, numbers: Sequence[int], count: int) -> list[Taken]:
        """Up to ``count`` tasks of these generations, earlier ones and reissues first, waiting
        `BLOCK_S` for the first.
        """
        queues = {}
        for number in numbers:
            queues[keys.reissues(run_uid, number).encode()] = number, True
            queues[keys.tasks(run_uid, number).encode()] = number, False
        popped = await _heard(self._client.blpop(list(queues), timeout=BLOCK_S))
        if popped is None:
            return []
        taken = [Taken(*queues[popped[0]], popped[1])]
        for key, (number, is_reissue) in queues.items():
            if len(taken) >= count:
                break
            try:
                more = await _heard(self._client.lpop(key, count - len(taken)))
            except UpstreamAway:
                break  # what we have is ours to hand down
            taken += [Taken(number, is_reissue, data) for data in more or []]
        return taken

    async def send(self, run_uid: str, batches: Sequence[bytes]) -> None:
        """Push encoded records."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.rpush(keys.records(run_uid), *batches)
            pipe.expire(keys.records(run_uid), UNREAD_S)
            await _heard(pipe.execute())

    async def report(self, run_uid: str, crew: Sequence[str], beats: dict[str, bytes]) -> None:
        """Hand up who works for the run (none where ``run_uid`` is empty), and heartbeats."""
        now_s = await self._now_s()
        async with self._client.pipeline(transaction=False) as pipe:
            if run_uid and crew:
                pipe.zadd(keys.crew(run_uid), dict.fromkeys(crew, now_s))
                pipe.expire(keys.crew(run_uid), UNREAD_S)
            for machine, data in beats.items():
                pipe.set(keys.machine(machine), data, ex=LIFETIME_S)
            if beats:
                pipe.zadd(keys.MACHINES, dict.fromkeys(beats, now_s))
            pipe.zremrangebyscore(keys.MACHINES, "-inf", now_s - LIFETIME_S)
            await _heard(pipe.execute())

    async def retract(self, machines: Sequence[str]) -> None:
        """Take back heartbeats."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.zrem(keys.MACHINES, *machines)
            for machine in machines:
                pipe.delete(keys.machine(machine))
            await _heard(pipe.execute())

    async def _now_s(self) -> float:
        seconds, microseconds = await _heard(self._client.time())
        return float(seconds) + float(microseconds) / 1e6


async def _heard(answer: Any) -> Any:
    try:
        return await answer
    except (redis.RedisError, OSError) as error:
        raise UpstreamAway(" ".join(str(error).split()) or type(error).__name__) from None

"""A relay's own Redis, which is the head's to all below it: the same keys, the same meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import redis
import redis.asyncio

from fleet import keys
from fleet.connection import BLOCK_S
from fleet.head_broker import CLOSED_WORD_S
from fleet.heartbeat import FRESH_S
from fleet.open_numbers import format_numbers
from fleet.worker_broker import CREW_FRESH_S, UNREAD_S
from search.messages import is_run_uid

CLAIM_S = 5


class DownstreamAway(Exception):
    """The relay's own server does not answer; says why."""


class Downstream:
    """The server below, asked in a few round trips; no access control list is in the way here."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def claim(self, token: bytes) -> bytes | None:
        """Take the place of its relay; ``None`` on success, else the token of the one there."""
        if await _heard(self._client.set(keys.RELAY, token, nx=True, ex=CLAIM_S)):
            return None
        return await _heard(self._client.get(keys.RELAY)) or b""

    async def keep_claim(self, token: bytes) -> Literal["ours", "missing", "another's"]:
        """Say that we are still there, unless nobody is said to be, or another."""
        found = await _heard(self._client.get(keys.RELAY))
        if found == token:
            await _heard(self._client.expire(keys.RELAY, CLAIM_S))
            return "ours"
        return "missing" if found is None else "another's"

    async def drop_claim(self) -> None:
        """Leave the place to another."""
        await _heard(self._client.delete(keys.RELAY))

    async def declare(self, run_uid: str, experiment: bytes) -> None:
        """Have this run here and no other."""
        for uid in await self.runs():
            if uid != run_uid:
                await self.withdraw(uid)
        await _heard(self._client.set(keys.experiment(run_uid), experiment))

    async def runs(self) -> list[str]:
        """Runs that are declared here."""
        found = await self._matching(f"{keys.PREFIX}*:experiment")
        uids = [key.decode(errors="replace").split(":")[1] for key in found]
        return [uid for uid in uids if is_run_uid(uid)]

    async def withdraw(self, run_uid: str) -> None:
        """Have the run here no more. Its records stay: they may still be wanted."""
        await _heard(self._client.zrem(keys.RUNS, run_uid))
        await _heard(self._client.set(keys.open_generations(run_uid), "", ex=CLOSED_WORD_S))
        kept = {keys.open_generations(run_uid).encode(), keys.records(run_uid).encode()}
        found = await self._matching(keys.all_of(run_uid))
        if doomed := [key for key in found if key not in kept]:
            await _heard(self._client.delete(*doomed))

    async def beat(self, run_uid: str, silence_s: float) -> None:
        """Say how long the run's head has not been heard of."""
        score = await self._now_s() - silence_s
        await _heard(self._client.zadd(keys.RUNS, {run_uid: score}))

    async def set_open(self, run_uid: str, numbers: Iterable[int]) -> None:
        """Which generations are open."""
        await _heard(self._client.set(keys.open_generations(run_uid), format_numbers(numbers)))

    async def put_generation(self, run_uid: str, number: int, data: bytes) -> None:
        """Store an encoded generation."""
        await _heard(self._client.set(keys.generation(run_uid, number), data))

    async def retire(self, run_uid: str, numbers: Iterable[int]) -> None:
        """Remove what there is of generations that are open no more."""
        of_one = (keys.generation, keys.tasks, keys.reissues)
        if doomed := [key(run_uid, number) for number in numbers for key in of_one]:
            await _heard(self._client.delete(*doomed))

    async def push(self, run_uid: str, tasks: Sequence[tuple[int, bool, bytes]]) -> None:
        """Queue encoded tasks: the generation's number, whether among reissues, the task."""
        async with self._client.pipeline(transaction=False) as pipe:
            for number, is_reissue, data in tasks:
                queue = keys.reissues if is_reissue else keys.tasks
                pipe.rpush(queue(run_uid, number), data)
            await _heard(pipe.execute())

    async def num_idle(self) -> int:
        """Who waits for a task at this moment: workers, and relays below."""
        listed = await _heard(self._client.client_list(_type="normal"))
        return sum(client["cmd"] == "blpop" and "b" in client["flags"] for client in listed)

    async def num_queued(self, run_uid: str, numbers: Iterable[int]) -> int:
        """Tasks that nobody has begun."""
        async with self._client.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.llen(keys.tasks(run_uid, number))
                pipe.llen(keys.reissues(run_uid, number))
            return sum(await _heard(pipe.execute()))

    async def take_back(self, run_uid: str, numbers: Iterable[int]) -> list[bytes]:
        """The tasks that nobody has begun, taken out of their queues."""
        tasks: list[bytes] = []
        for number in numbers:
            for key in (keys.tasks(run_uid, number), keys.reissues(run_uid, number)):
                tasks += await _heard(self._client.lpop(key, 2**31)) or []
        return tasks

    async def wait_for_records(self, run_uid: str) -> bool:
        """Whether there are records, waiting `BLOCK_S` for some and taking none."""
        key = keys.records(run_uid)
        return (
            await _heard(self._client.blmove(key, key, round(BLOCK_S), "LEFT", "LEFT")) is not None
        )

    async def records(self, run_uid: str, most: int) -> list[bytes]:
        """The oldest encoded batches, which stay where they are."""
        return list(await _heard(self._client.lrange(keys.records(run_uid), 0, most - 1)))

    async def drop_records(self, run_uid: str, count: int) -> None:
        """Remove that many of the oldest."""
        await _heard(self._client.ltrim(keys.records(run_uid), count, -1))

    async def add_record(self, run_uid: str, batch: bytes) -> None:
        """A batch of the relay's own."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.rpush(keys.records(run_uid), batch)
            pipe.expire(keys.records(run_uid), UNREAD_S)
            await _heard(pipe.execute())

    async def crew(self, run_uid: str) -> list[str]:
        """Workers that have lately served the run."""
        since_s = await self._now_s() - CREW_FRESH_S
        found = await _heard(self._client.zrangebyscore(keys.crew(run_uid), since_s, "+inf"))
        return [name.decode(errors="replace") for name in found]

    async def beats(self) -> dict[str, bytes]:
        """Fresh heartbeats from below, encoded, by machine."""
        since_s = await self._now_s() - FRESH_S
        names = await _heard(self._client.zrangebyscore(keys.MACHINES, since_s, "+inf"))
        machines = [name.decode(errors="replace") for name in names]
        if not machines:
            return {}
        found = await _heard(self._client.mget([keys.machine(name) for name in machines]))
        return {name: data for name, data in zip(machines, found, strict=True) if data is not None}

    async def _matching(self, pattern: str) -> list[bytes]:
        try:
            return [key async for key in self._client.scan_iter(pattern, count=1000)]
        except (redis.RedisError, OSError) as error:
            raise DownstreamAway(str(error)) from None

    async def _now_s(self) -> float:
        seconds, microseconds = await _heard(self._client.time())
        return float(seconds) + float(microseconds) / 1e6


async def _heard(answer: Any) -> Any:
    try:
        return await answer
    except (redis.RedisError, OSError) as error:
        raise DownstreamAway(" ".join(str(error).split()) or type(error).__name__) from None

"""What a relay says to the server that it has its work from: the head's, or another relay's.

No other commands than a worker may use, see `fleet.security.acl`; each method raises `OutOfReach`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fleet import keys
from fleet.connection import without_password
from fleet.heartbeat import LIFETIME_S
from fleet.machine.worker_broker import CREW_FRESH_S, HEAD_GONE_S, UNREAD_S, LiveRun
from fleet.relay.client import Notice, Reach, ignore, open_client
from fleet.security.access import Access
from search.messages import is_run_uid

_ANSWER_S = 10.0
_TRANSFER_S = 600.0
"""A generation may be some hundred megabytes, and a line between two sites slow."""


class Word(NamedTuple):
    """What a machine or a worker said, and how long ago."""

    age_s: float
    data: bytes = b""


class Upstream:
    """The server above.

    Args:
        url, access: where it is, and how one gets in.
        notice: where a line for people goes.
    """

    def __init__(self, url: str, access: Access, notice: Notice = ignore) -> None:
        self.shown = without_password(url)
        self.reach = Reach(self.shown, notice)
        self._client = open_client(url, access, answer_s=_ANSWER_S)
        self._transfers = open_client(url, access, answer_s=_TRANSFER_S)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()
        await self._transfers.aclose()

    async def runs(self, ours: Collection[str], serving: str | None) -> list[LiveRun]:
        """Runs whose head has been heard of lately, and ``serving`` as long as it is listed.

        Args:
            ours: the workers behind us, whom `LiveRun.num_workers` leaves out.
        """
        with self.reach.asking():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.zrangebyscore(keys.RUNS, "-inf", "+inf", withscores=True)
                (seconds, microseconds), found = await pipe.execute()
            now_s = float(seconds) + float(microseconds) / 1e6
            silences = {name.decode(errors="replace"): now_s - beat_s for name, beat_s in found}
            silences = {
                uid: silence_s
                for uid, silence_s in silences.items()
                if is_run_uid(uid) and (silence_s < HEAD_GONE_S or uid == serving)
            }
            crews: list[Any] = []
            if silences.keys() - {serving}:  # there is something to choose
                async with self._client.pipeline(transaction=False) as pipe:
                    for uid in silences:
                        pipe.zrangebyscore(keys.crew(uid), now_s - CREW_FRESH_S, "+inf")
                    crews = await pipe.execute()
        runs = []
        for (uid, silence_s), members in zip(
            silences.items(), crews or [()] * len(silences), strict=True
        ):
            crew = frozenset(member.decode(errors="replace") for member in members)
            runs.append(LiveRun(uid, silence_s, len(crew.difference(ours)), crew))
        return runs

    async def experiment(self, run_uid: str) -> bytes | None:
        """The run's encoded declaration."""
        with self.reach.asking():
            data: bytes | None = await self._client.get(keys.experiment(run_uid))
        return data

    async def listed(self, run_uid: str) -> bytes | None:
        """Which generations are open, as `fleet.open_numbers` writes it."""
        with self.reach.asking():
            data: bytes | None = await self._client.get(keys.open_generations(run_uid))
        return data

    async def generation(self, run_uid: str, number: int) -> bytes | None:
        """An open generation, encoded."""
        with self.reach.asking():
            data: bytes | None = await self._transfers.get(keys.generation(run_uid, number))
        return data

    async def take_one(self, queues: Sequence[str], patience_s: float) -> tuple[str, bytes] | None:
        """Take from the first of ``queues`` that holds a task, waiting for one; and which it was.

        Never cancel it: a task may be on its way.
        """
        with self.reach.asking():
            found = await self._client.blpop(list(queues), timeout=patience_s)
        return (found[0].decode(), found[1]) if found is not None else None

    async def take(self, queue: str, count: int) -> list[bytes]:
        """Take up to ``count`` tasks that are there."""
        with self.reach.asking():
            found: list[bytes] | None = await self._client.lpop(queue, count)
        return found or []

    async def send(self, run_uid: str, batches: Sequence[bytes]) -> None:
        """Hand records up."""
        with self.reach.asking():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.rpush(keys.records(run_uid), *batches)
                pipe.expire(keys.records(run_uid), UNREAD_S)
                await pipe.execute()

    async def say(
        self, beats: Mapping[str, Word], run_uid: str | None, crew: Mapping[str, Word]
    ) -> None:
        """Hand up heartbeats by machine, and ``crew`` as workers of the run."""
        with self.reach.asking():
            seconds, microseconds = await self._client.time()
            now_s = float(seconds) + float(microseconds) / 1e6
            async with self._client.pipeline(transaction=False) as pipe:
                if beats:
                    pipe.zadd(keys.MACHINES, {name: now_s - beats[name].age_s for name in beats})
                for name, beat in beats.items():
                    pipe.set(keys.machine(name), beat.data, ex=LIFETIME_S)
                pipe.zremrangebyscore(keys.MACHINES, "-inf", now_s - LIFETIME_S)
                if run_uid is not None and crew:
                    scores = {name: now_s - word.age_s for name, word in crew.items()}
                    pipe.zadd(keys.crew(run_uid), scores)
                    pipe.expire(keys.crew(run_uid), UNREAD_S)
                await pipe.execute()

    async def unsay(
        self, machines: Collection[str], run_uid: str | None, crew: Collection[str]
    ) -> None:
        """These machines are gone, and these workers serve the run no more."""
        if not machines and not (run_uid is not None and crew):
            return
        with self.reach.asking():
            async with self._client.pipeline(transaction=False) as pipe:
                if machines:
                    pipe.zrem(keys.MACHINES, *machines)
                for name in machines:
                    pipe.delete(keys.machine(name))
                if run_uid is not None and crew:
                    pipe.zrem(keys.crew(run_uid), *crew)
                await pipe.execute()

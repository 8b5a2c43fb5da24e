"""What a relay says to its machine's own Redis, which it fills: to the workers there, it is the
head's.

What builds on what is there happens only while the relay holds it, see `fleet.relay.hold`. Each
method raises `OutOfReach`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fleet import keys
from fleet.connection import without_password
from fleet.head.head_broker import CLOSED_WORD_S
from fleet.machine.worker_broker import CREW_FRESH_S, UNREAD_S
from fleet.open_numbers import format_numbers
from fleet.relay.client import Notice, Reach, ignore, open_client
from fleet.relay.hold import WHILE_HELD, Hold
from fleet.relay.upstream import Word
from fleet.security.access import NO_ACCESS, Access
from search.messages import is_run_uid

_ANSWER_S = 30.0
_LINGER_S = 60
"""A worker may be about to read what it has a task of."""
_CHUNK = 1000

_SET = WHILE_HELD + "redis.call('SET', KEYS[2], ARGV[2]) return 1"
_PUSH = WHILE_HELD + "redis.call('RPUSH', KEYS[2], unpack(ARGV, 2)) return 1"
_TRIM = WHILE_HELD + "redis.call('LTRIM', KEYS[2], ARGV[2], -1) return 1"


class Declared(NamedTuple):
    """A run as it is made known here."""

    uid: str
    experiment: bytes | None
    open_numbers: frozenset[int]


class Look(NamedTuple):
    """What is to be seen of the work: clients that wait for some, and tasks that wait for one."""

    blocked: int
    queued: int


class Roll(NamedTuple):
    """Who is there: heartbeats by machine, and the run's workers."""

    machines: dict[str, Word]
    crew: dict[str, Word]


class Downstream:
    """The server below.

    Args:
        url, access: where it is, and how one gets in.
        notice: where a line for people goes.
    """

    def __init__(self, url: str, access: Access = NO_ACCESS, notice: Notice = ignore) -> None:
        self.shown = without_password(url)
        self.reach = Reach(self.shown, notice)
        self._client = open_client(url, access, answer_s=_ANSWER_S)
        self.hold = Hold(self._client, self.reach)
        self._waiting = 0

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def restore(self, run: Declared | None, batches: Mapping[str, Sequence[bytes]]) -> None:
        """Take hold again of a server that has lost everything, and say ``run`` again, all at once.

        Args:
            batches: records by run that go up as if they came from workers.
        """
        with self.reach.asking():
            async with self._client.pipeline(transaction=True) as pipe:
                self.hold.take(pipe)
                if run is not None:
                    self._declare(pipe, run)
                    # Where only our hold has run out, its tasks are given back, too.
                    for number in run.open_numbers:
                        pipe.delete(keys.tasks(run.uid, number), keys.reissues(run.uid, number))
                for run_uid, some in batches.items():
                    _queue(pipe, run_uid, some)
                taken, *_ = await pipe.execute()
            if not taken:
                await self.hold.refuse()

    async def declare(self, run: Declared) -> None:
        """Make ``run`` known here."""
        with self.reach.asking():
            async with self._client.pipeline(transaction=True) as pipe:
                self._declare(pipe, run)
                await pipe.execute()

    async def announce(self, run_uid: str | None, silence_s: float, *, alone: bool = False) -> None:
        """The head of ``run_uid`` beat ``silence_s`` ago; ``alone``: no other run is here."""
        with self.reach.asking():
            seconds, microseconds = await self._client.time()
            beat_s = float(seconds) + float(microseconds) / 1e6 - silence_s
            async with self._client.pipeline(transaction=True) as pipe:
                if alone:
                    pipe.delete(keys.RUNS)
                if run_uid is not None:
                    pipe.zadd(keys.RUNS, {run_uid: beat_s})
                if alone or run_uid is not None:
                    await pipe.execute()

    async def set_open(
        self,
        run_uid: str,
        numbers: Collection[int],
        closed: Collection[int],
        copied: tuple[int, bytes] | None = None,
    ) -> bool:
        """Say which generations are open, and drop what there is of those that no longer are.

        Args:
            copied: a generation's number and bytes, to be stored too.

        Returns:
            Whether we still held the server.
        """
        stored: Sequence[Any] = ()
        with self.reach.asking():
            async with self._client.pipeline(transaction=True) as pipe:
                _say_open(pipe, run_uid, numbers)
                for number in closed:
                    pipe.delete(
                        keys.generation(run_uid, number),
                        keys.tasks(run_uid, number),
                        keys.reissues(run_uid, number),
                    )
                if copied is not None:
                    self.hold.add(pipe, _SET, [keys.generation(run_uid, copied[0])], copied[1])
                stored = await pipe.execute()
        return copied is None or bool(stored[-1])

    async def hand_down(self, queue: str, tasks: Sequence[bytes]) -> bool:
        """Queue encoded tasks; whether we still held the server."""
        for start in range(0, len(tasks), _CHUNK):
            if not await self.hold.script(_PUSH, [queue], *tasks[start : start + _CHUNK]):
                return False
        return True

    async def look(self, run_uid: str, numbers: Collection[int]) -> Look:
        """How much work there is, and who waits for some."""
        with self.reach.asking():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.info("clients")
                for number in numbers:
                    pipe.llen(keys.reissues(run_uid, number))
                    pipe.llen(keys.tasks(run_uid, number))
                # What waits just now does so since before this question is asked.
                waiting = self._waiting
                clients, *lengths = await pipe.execute()
        return Look(int(clients["blocked_clients"]) - waiting, sum(lengths))

    async def tasks(self, run_uid: str, number: int) -> list[bytes]:
        """Encoded tasks of a generation that nobody has begun."""
        with self.reach.asking():
            found: list[bytes] = []
            for queue in (keys.reissues(run_uid, number), keys.tasks(run_uid, number)):
                found += await self._client.lrange(queue, 0, -1)
        return found

    async def take_back(self, run_uid: str, number: int) -> list[bytes]:
        """As `tasks`, and take them away."""
        with self.reach.asking():
            found: list[bytes] = []
            for queue in (keys.reissues(run_uid, number), keys.tasks(run_uid, number)):
                while some := await self._client.lpop(queue, _CHUNK):
                    found += some
        return found

    async def generation(self, run_uid: str, number: int) -> bytes | None:
        """A generation that an earlier relay has left."""
        with self.reach.asking():
            data: bytes | None = await self._client.get(keys.generation(run_uid, number))
        return data

    async def await_records(self, run_uid: str, patience_s: float) -> bool:
        """Wait for records without taking any; whether there are some."""
        key = keys.records(run_uid)
        with self.reach.asking():
            self._waiting += 1
            try:
                # From its head to its head: a wait that leaves the list as it is.
                found = await self._client.blmove(key, key, patience_s, "LEFT", "LEFT")
            finally:
                self._waiting -= 1
        return found is not None

    async def records(self, run_uid: str, count: int) -> list[bytes]:
        """The oldest encoded batches, which stay there."""
        with self.reach.asking():
            found: list[bytes] = await self._client.lrange(keys.records(run_uid), 0, count - 1)
        return found

    async def drop_records(self, run_uid: str, count: int, token: bytes) -> bool:
        """Upstream has so many; whether the hold is still the one of when they were read: else the
        server has been emptied since, and has others.
        """
        return await self.hold.script(_TRIM, [keys.records(run_uid)], count, token=token)

    async def put_records(self, run_uid: str, batches: Sequence[bytes]) -> None:
        """Queue records as if a worker had sent them."""
        if batches:
            with self.reach.asking():
                async with self._client.pipeline(transaction=True) as pipe:
                    _queue(pipe, run_uid, batches)
                    await pipe.execute()

    async def runs_with_records(self) -> list[str]:
        """Uids of all runs that have records here, those that are over too."""
        with self.reach.asking():
            found: list[bytes] = await self._client.keys(keys.records("*"))
        uids = (name.decode(errors="replace").split(":")[1] for name in found)
        return [uid for uid in uids if is_run_uid(uid)]

    async def sweep(self, run_uid: str | None, open_numbers: Collection[int]) -> None:
        """Drop what is left of other runs, and of generations of this one that are not open."""
        with self.reach.asking():
            found: list[bytes] = await self._client.keys(keys.EVERYTHING)
            for name in found:
                _, uid, kind, *rest = [*name.decode(errors="replace").split(":"), "", ""]
                if not is_run_uid(uid) or kind == "records":
                    continue
                if uid != run_uid:
                    if await self._client.ttl(name) < 0:
                        await self._client.expire(name, _LINGER_S)
                elif rest[0].isdecimal() and int(rest[0]) not in open_numbers:
                    await self._client.delete(name)
                elif rest[0]:
                    await self._client.persist(name)  # we were about to forget this run

    async def roll(self, run_uid: str | None) -> Roll:
        """Who has been heard of here lately."""
        with self.reach.asking():
            seconds, microseconds = await self._client.time()
            now_s = float(seconds) + float(microseconds) / 1e6
            listed = await self._client.zrange(keys.MACHINES, 0, -1, withscores=True)
            scores = {name.decode(errors="replace"): beat_s for name, beat_s in listed}
            beats = []
            if scores:
                beats = await self._client.mget([keys.machine(name) for name in scores])
            members: Any = []
            if run_uid is not None:
                members = await self._client.zrangebyscore(
                    keys.crew(run_uid), now_s - CREW_FRESH_S, "+inf", withscores=True
                )
        machines = {
            name: Word(max(0.0, now_s - beat_s), data)
            for (name, beat_s), data in zip(scores.items(), beats, strict=True)
            if data is not None
        }
        crew = {name.decode(errors="replace"): Word(max(0.0, now_s - s)) for name, s in members}
        return Roll(machines, crew)

    def _declare(self, pipe: Any, run: Declared) -> None:
        if run.experiment is not None:
            pipe.set(keys.experiment(run.uid), run.experiment)
        _say_open(pipe, run.uid, run.open_numbers)


def _say_open(pipe: Any, run_uid: str, numbers: Collection[int]) -> None:
    key = keys.open_generations(run_uid)
    pipe.set(key, format_numbers(numbers), ex=None if numbers else CLOSED_WORD_S)


def _queue(pipe: Any, run_uid: str, batches: Sequence[bytes]) -> None:
    pipe.rpush(keys.records(run_uid), *batches)
    pipe.expire(keys.records(run_uid), UNREAD_S)

"""The run that a relay serves, as its machine's own Redis has it: copied, kept true, restored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

from errors import MessageError
from fleet import keys
from fleet.open_numbers import parse_numbers
from fleet.relay.counts import RelayCounts
from fleet.relay.downstream import Declared, Downstream
from fleet.relay.in_hand import InHand, given_back
from fleet.relay.upstream import Upstream
from search.messages import RecordBatch, Task, decode, digest, encode


class RelayRun:
    """The one run, or none. Methods raise `fleet.relay.client.OutOfReach`; what they did until
    then holds.

    Args:
        upstream, downstream: the servers.
        name: of the relay.
        counts: what it has done.

    Attributes:
        uid: of the run; ``None`` where none is served.
        experiment: its encoded declaration, once it is known.
        open_numbers: its open generations.
        in_hand: what is handed down and not answered.
        crew_size, has_relays: workers of the run, and whether some are behind relays of their own.
    """

    def __init__(
        self, upstream: Upstream, downstream: Downstream, name: str, counts: RelayCounts
    ) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._name = name
        self._counts = counts
        # Whoever changes what the local Redis holds of the run does so alone, and never waits for
        # upstream meanwhile: that may take long.
        self._lock = asyncio.Lock()
        self._num_changes = 0
        self._copied: set[tuple[int, str]] = set()
        self._newest = -1
        self._heard_s = 0.0
        self.uid: str | None = None
        self.experiment: bytes | None = None
        self.open_numbers: frozenset[int] = frozenset()
        self.in_hand = InHand()
        self.crew_size = 0
        self.has_relays = False

    @property
    def queues(self) -> dict[str, int]:
        """Where tasks may come from, by generation, those to be served first first: the next one
        may open while we wait.
        """
        if self.uid is None:
            return {}
        numbers = sorted({*self.open_numbers, self._newest + 1})
        return {
            queue: number
            for number in numbers
            for queue in (keys.reissues(self.uid, number), keys.tasks(self.uid, number))
        }

    def heard(self, silence_s: float) -> None:
        """The head beat so long ago."""
        self._heard_s = time.monotonic() - silence_s

    async def announce(self, *, alone: bool = False) -> None:
        """Say here when the head beat last; ``alone``: and that there is no other run."""
        silence_s = time.monotonic() - self._heard_s
        await self._downstream.announce(self.uid, silence_s, alone=alone)

    async def switch(self, run_uid: str | None) -> None:
        """Serve this run, or none, from now on; what nobody has begun of the other goes back."""
        experiment = listed = None
        if run_uid is not None:
            experiment = await self._upstream.experiment(run_uid)
            listed = await self._upstream.listed(run_uid)
        async with self._lock:
            await self._give_back_queued()
            # From here on only the local server can fail, and then all of it is done again.
            previous, self.uid = self.uid, None
            self.in_hand.keep_only(previous, run_uid)
            self._copied.clear()
            self.experiment = experiment
            self.open_numbers = frozenset(parse_numbers(listed))
            self._newest = max(self.open_numbers, default=-1)
            self._num_changes += 1
            self.crew_size = 0
            if run_uid is not None:
                await self._downstream.declare(self._declared(run_uid))
            await self._downstream.sweep(run_uid, self.open_numbers)
            if run_uid is not None:
                await self._adopt(run_uid)
            self.uid = run_uid
            await self.announce(alone=True)

    async def refresh(self) -> bytes | None:
        """Read again which generations are open, and follow; what was read."""
        uid, num_changes = self.uid, self._num_changes
        if uid is None:
            return None
        listed = await self._upstream.listed(uid)
        async with self._lock:
            # A missing key means wait; and what others have read since then is newer.
            if listed is not None and uid == self.uid and num_changes == self._num_changes:
                numbers = frozenset(parse_numbers(listed))
                if numbers != self.open_numbers:
                    await self._open(numbers)
        return listed

    async def refresh_experiment(self) -> None:
        """Read the declaration again: a head that resumes may have another."""
        uid = self.uid
        experiment = await self._upstream.experiment(uid) if uid is not None else None
        async with self._lock:
            if uid is None or uid != self.uid or experiment in (None, self.experiment):
                return
            self.experiment = experiment
            await self._downstream.declare(self._declared(uid))

    async def copy(self, task: Task) -> bool:
        """Have the generation of ``task`` here; whether it is. Where not, the task has gone back,
        or nobody wants it any more.
        """
        name = task.number, task.digest
        if name in self._copied:
            return True
        # It may take long: meanwhile everything else goes on.
        data = await self._upstream.generation(task.run_uid, task.number)
        if data is None or digest(data) != task.digest:
            return False
        self._counts.bytes_down += len(data)
        self._counts.generations += 1
        while True:
            num_changes = self._num_changes
            listed = await self._upstream.listed(task.run_uid)
            async with self._lock:
                if task.run_uid != self.uid:
                    await self._put_given_back([task])
                    return False
                if num_changes == self._num_changes:
                    return await self._store(task, data, listed)

    async def hand_down(self, queue: str, tasks: Sequence[Task]) -> None:
        """Let workers have these tasks, if their generation is here; else they go back."""
        async with self._lock:
            here = [task for task in tasks if self._has(task)]
            if len(here) < len(tasks):
                await self._put_given_back([task for task in tasks if not self._has(task)])
            if not here:
                return
            for task in here:
                self.in_hand.add(task)
            if await self._downstream.hand_down(queue, [encode(task) for task in here]):
                self._counts.tasks += len(here)
            else:
                await self._restore()  # which gives these back, too

    async def restore(self) -> None:
        """Where the local server has lost everything: say everything again, and give back what it
        had.
        """
        async with self._lock:
            if not await self._downstream.hold.keep():
                await self._restore()

    async def leave(self) -> None:
        """Give back what nobody has begun."""
        async with self._lock:
            await self._give_back_queued()

    async def give_back(self, tasks: Sequence[Task]) -> None:
        """Nobody has begun these."""
        async with self._lock:
            await self._put_given_back(tasks)

    async def _store(self, task: Task, data: bytes, listed: bytes | None) -> bool:
        # A missing key means wait; one that leaves it out was written after the task was.
        numbers = self.open_numbers | {task.number}
        if listed is not None:
            numbers = frozenset(parse_numbers(listed))
        if task.number not in numbers:
            await self._open(numbers)
            return False
        if not await self._open(numbers, (task.number, data)):
            self.in_hand.add(task)
            await self._restore()  # which gives it back, too
            return False
        self._copied.add((task.number, task.digest))
        return True

    async def _open(
        self, now_open: frozenset[int], copied: tuple[int, bytes] | None = None
    ) -> bool:
        """Have these open here, and no others; whether what was copied is there."""
        assert self.uid is not None
        closed = (self.open_numbers | {number for number, _ in self._copied}) - now_open
        is_stored = await self._downstream.set_open(self.uid, now_open, closed, copied)
        self.open_numbers = now_open
        self._num_changes += 1
        self._newest = max([self._newest, *now_open])
        self._copied = {name for name in self._copied if name[0] in now_open}
        for number in closed:
            self.in_hand.close(self.uid, number)
        return is_stored

    def _has(self, task: Task) -> bool:
        return task.run_uid == self.uid and (task.number, task.digest) in self._copied

    async def _adopt(self, run_uid: str) -> None:
        """Go on with what an earlier relay has left here."""
        for number in self.open_numbers:
            data = await self._downstream.generation(run_uid, number)
            if data is None:
                continue
            self._copied.add((number, digest(data)))
            for task in self._decoded(await self._downstream.tasks(run_uid, number)):
                self.in_hand.add(task)

    async def _restore(self) -> None:
        self._copied.clear()
        lost = self._encoded_by_run(self.in_hand.given_back(self._name))
        declared = self._declared(self.uid) if self.uid is not None else None
        await self._downstream.restore(declared, lost)
        self._counts.notice("the machine's own Redis had lost everything: filled it again")
        await self.announce()

    async def _give_back_queued(self) -> None:
        if self.uid is None:
            return
        for number in sorted({*self.open_numbers, *(number for number, _ in self._copied)}):
            found = await self._downstream.take_back(self.uid, number)
            await self._put_given_back(self._decoded(found))

    async def _put_given_back(self, tasks: Sequence[Task]) -> None:
        for run_uid, batches in self._encoded_by_run(given_back(tasks, self._name)).items():
            await self._downstream.put_records(run_uid, batches)

    def _decoded(self, found: Sequence[bytes]) -> list[Task]:
        tasks = []
        for data in found:
            try:
                tasks.append(decode(data, Task))
            except MessageError as error:
                self._counts.refuse(error)
        return tasks

    def _encoded_by_run(self, batches: Iterable[RecordBatch]) -> dict[str, list[bytes]]:
        by_run: dict[str, list[bytes]] = {}
        for batch in batches:
            by_run.setdefault(batch.run_uid, []).append(encode(batch))
        return by_run

    def _declared(self, run_uid: str) -> Declared:
        return Declared(run_uid, self.experiment, self.open_numbers)

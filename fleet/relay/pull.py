"""How tasks come down: as many as are wanted, when they are wanted."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from errors import MessageError
from fleet.relay.appetite import Pace, num_hungry, num_wanted, split
from fleet.relay.client import OutOfReach
from fleet.relay.counts import RelayCounts
from fleet.relay.downstream import Downstream
from fleet.relay.run import RelayRun
from fleet.relay.upstream import Upstream
from search.messages import Task, decode

_WAIT_S = 0.5
_NO_RUN_S = 0.1
_LOOK_SOON_S = 0.003
_LOOK_LATE_S = 0.25
_AGAIN_S = 0.2
_FRESH_S = 0.01
_MOST_AT_ONCE = 1000


class Puller:
    """Takes tasks from upstream and hands them down.

    Args:
        upstream, downstream, run, counts: the relay's.
        pace: what workers were seen to do.
        lead_s: work to have at hand where rollouts are shorter than that.
        stirred: set by others when something has happened below.
        is_stopping: whether to come to an end.
    """

    def __init__(
        self,
        upstream: Upstream,
        downstream: Downstream,
        run: RelayRun,
        counts: RelayCounts,
        *,
        pace: Pace,
        lead_s: float,
        stirred: asyncio.Event,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._run = run
        self._counts = counts
        self._pace = pace
        self._lead_s = lead_s
        self._stirred = stirred
        self._is_stopping = is_stopping
        self._look_in_s = _LOOK_SOON_S

    async def step(self) -> None:
        """Take and hand down what is wanted now, or wait a while for something to be."""
        uid, queues = self._run.uid, self._run.queues
        if uid is None or self._run.experiment is None:
            await asyncio.sleep(_NO_RUN_S)
            return
        self._stirred.clear()
        looked_s = time.monotonic()
        look = await self._look()
        if self._num_wanted(*look) <= 0:
            await self._wait()
            return
        found = await self._upstream.take_one(list(queues), _WAIT_S)
        if found is None:
            return
        queue, data = found
        first = self._checked(data, uid, queues[queue])
        if first is not None:
            self._look_in_s = _LOOK_SOON_S
            taken_s = time.monotonic()
            await self._bring(queue, first, look if taken_s - looked_s < _FRESH_S else None)
            # Taking may have been waiting; sending is as far.
            self._pace.carried(time.monotonic() - taken_s + self._counts.sending_s)

    async def _bring(self, queue: str, first: Task, look: tuple[int, int] | None) -> None:
        """Hand ``first`` down, and others of its queue with it.

        Args:
            look: what `_look` has just found.
        """
        # Nothing else is taken before its generation is here: what is in our hands while we may
        # be killed is missed by the head for a while.
        is_copied, seen = await asyncio.gather(self._patiently_copied(first), self._looked(look))
        if not is_copied:
            return
        hungry, queued = seen
        tasks = [first]
        size = first.stop - first.first
        count = math.ceil((self._num_wanted(hungry, queued) - size) / size)
        if count > 0 and not self._is_stopping():
            with suppress(OutOfReach):  # the next step will see
                found = await self._upstream.take(queue, min(count, _MOST_AT_ONCE))
                checked = [self._checked(data, first.run_uid, first.number) for data in found]
                tasks += [task for task in checked if task is not None]
        await self._patiently_handed_down(queue, split(tasks, hungry))

    async def _looked(self, look: tuple[int, int] | None) -> tuple[int, int]:
        """``look``, or a new one; where that cannot be had, as if nobody wanted anything."""
        try:
            return look or await self._look()
        except OutOfReach:
            return 0, 0

    async def _patiently_copied(self, task: Task) -> bool:
        """Whether its generation is here; where that cannot be had, the task goes back."""
        while task.run_uid == self._run.uid and not self._is_stopping():
            try:
                return await self._run.copy(task)
            except OutOfReach:
                await asyncio.sleep(_AGAIN_S)
        await self._run.give_back([task])
        return False

    async def _patiently_handed_down(self, queue: str, tasks: Sequence[Task]) -> None:
        while True:
            try:
                await self._run.hand_down(queue, tasks)
                break
            except OutOfReach:
                if self._is_stopping():
                    raise
                await asyncio.sleep(_AGAIN_S)
        for task in tasks:
            self._pace.handed_down(task)

    async def _look(self) -> tuple[int, int]:
        """Workers that could begin at once, and tasks that are queued."""
        run = self._run
        if run.uid is None:
            return 0, 0
        look = await self._downstream.look(run.uid, run.open_numbers)
        hungry = num_hungry(
            look.blocked, run.crew_size, len(run.in_hand), has_relays=run.has_relays
        )
        return hungry, look.queued

    def _num_wanted(self, hungry: int, queued: int) -> int:
        """Rollouts."""
        num_workers = max(self._run.crew_size, hungry)
        lead = self._pace.lead(self._lead_s, time.monotonic(), num_workers)
        return num_wanted(hungry, queued * self._pace.task_size, lead)

    async def _wait(self) -> None:
        """Until something happens below, or it is time to look again: a worker may have come."""
        try:
            await asyncio.wait_for(self._stirred.wait(), self._look_in_s)
            self._look_in_s = _LOOK_SOON_S
        except TimeoutError:
            self._look_in_s = min(_LOOK_LATE_S, 4 * self._look_in_s)

    def _checked(self, data: bytes, run_uid: str, number: int) -> Task | None:
        try:
            task = decode(data, Task)
        except MessageError as error:
            self._counts.refuse(error)
            return None
        self._counts.bytes_down += len(data)
        # We may serve another run by now, to which it is to go back: not to be dropped for that.
        return task if (task.run_uid, task.number) == (run_uid, number) else None

"""A relay at work on one run: tasks down, records up, and what is open kept the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from errors import MessageError
from fleet.downstream import Downstream, DownstreamAway
from fleet.handed_down import HandedDown, given_back
from fleet.relay_appetite import pieces, rollouts_wanted
from fleet.upstream import Taken, Upstream, UpstreamAway
from search.messages import RecordBatch, Task, decode, digest, encode

LOOK_EVERY_S = 0.05
TEND_EVERY_S = 0.25
LEAVE_S = 2.0
CALM_S = 0.3
BATCHES_AT_ONCE = 500
_MEMORY = 0.9


class Figures(msgspec.Struct):
    """A relay's work since it started; see `fleet.heartbeat.RelayBeat`."""

    tasks: int = 0
    records: int = 0
    batches: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    lag_s: float = 0.0
    refused: int = 0
    upstream_error: str = ""
    downstream_error: str = ""


class RelaySession:
    """One run through one relay.

    Args:
        run_uid: the run.
        experiment: its encoded declaration.
        upstream, downstream: the servers above and below.
        sender: what the relay calls itself in records that give rollouts back.
        lead_s: see `fleet.relay_appetite`.
        figures: counted on.
        notice: where a line for people goes.
    """

    def __init__(
        self,
        run_uid: str,
        experiment: bytes,
        upstream: Upstream,
        downstream: Downstream,
        *,
        sender: str,
        lead_s: float,
        figures: Figures,
        notice: Callable[[str], None],
    ) -> None:
        self.run_uid = run_uid
        self._experiment = experiment
        self._upstream = upstream
        self._downstream = downstream
        self._sender = sender
        self._lead_s = lead_s
        self._figures = figures
        self._notice = notice
        self._stored: dict[int, str] = {}
        self._open: list[int] = []
        self._newest = -1
        self._open_lock = asyncio.Lock()
        self._held = HandedDown()
        self._at_hand: list[tuple[bool, Task]] = []
        self._hungry = asyncio.Event()
        self._is_below_sure = False
        self.doubts = 0
        self._leaving = False
        self.num_workers = 0
        self._rollout_s: float | None = None
        self._rollouts_per_task = 1.0
        self._said_refused = False

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Serve until ``is_over``; then give back what nobody has begun, and send what is there."""
        fetching = asyncio.create_task(self._keep(self._fetch, lambda: self._leaving))
        sending = asyncio.create_task(self._keep(self._send, lambda: False))
        tending = asyncio.create_task(self._keep(self._tend, lambda: self._leaving))
        try:
            while not is_over():
                await asyncio.sleep(LOOK_EVERY_S)
            self._leaving = True
            # Cancelled in a blocking pop, it could lose what it has just been given.
            await asyncio.wait((fetching, tending), timeout=LEAVE_S)
            await self._give_back_unbegun()
        finally:
            for task in (fetching, sending, tending):
                task.cancel()
            await asyncio.gather(fetching, sending, tending, return_exceptions=True)
        await self._flush()

    async def restored(self) -> None:
        """The server below was found empty: declare again, and give back what was in flight."""
        async with self._open_lock:
            self._stored.clear()
            self._open = []
            await self._downstream.declare(self.run_uid, self._experiment)
            for batch in self._held.give_back(self.run_uid, self._sender):
                await self._downstream.add_record(self.run_uid, encode(batch))
        self._is_below_sure = True

    def doubt(self) -> None:
        """Hand nothing down until somebody has looked whether the server below is the same."""
        self.doubts += 1
        self._is_below_sure = False

    def trust(self, doubts: int) -> None:
        """It was, when ``doubts`` stood at this."""
        if doubts == self.doubts:
            self._is_below_sure = True

    async def _keep(self, step: Callable[[], Awaitable[None]], is_done: Callable[[], bool]) -> None:
        """Do ``step`` again and again; a server that is away is waited for."""
        while not is_done():
            try:
                await step()
            except UpstreamAway as error:
                self._figures.upstream_error = str(error)
                await asyncio.sleep(CALM_S)
            except DownstreamAway as error:
                self._figures.downstream_error = str(error)
                self.doubt()
                await asyncio.sleep(CALM_S)

    async def _fetch(self) -> None:
        """Bring down what the workers wait for."""
        if not self._is_below_sure:
            await asyncio.sleep(LOOK_EVERY_S)
            return
        if self._at_hand:
            await self._hand_down(idle=1)
        numbers = list(self._open)
        idle = await self._downstream.num_idle()
        num_tasks = await self._downstream.num_queued(self.run_uid, numbers)
        wanted = rollouts_wanted(
            idle=idle,
            queued=round(num_tasks * self._rollouts_per_task),
            num_workers=max(idle, self.num_workers),
            rollout_s=self._rollout_s,
            lead_s=self._lead_s,
        )
        if not wanted:
            self._hungry.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hungry.wait(), TEND_EVERY_S)
            return
        self._newest = max([self._newest, *numbers])
        count = max(1, round(wanted / self._rollouts_per_task))
        taken = await self._upstream.take(self.run_uid, [*numbers, self._newest + 1], count)
        self._figures.upstream_error = ""
        for one in taken:
            if (task := self._task(one)) is not None:
                self._held.add(task)
                self._at_hand.append((one.is_reissue, task))
        self._figures.bytes_down += sum(len(one.data) for one in taken)
        await self._hand_down(idle)

    async def _hand_down(self, idle: int) -> None:
        """Queue below what is at hand; where a server is away, it stays at hand."""
        queued: list[tuple[int, bool, bytes]] = []
        share = max(1, idle // max(1, len(self._at_hand)))
        num_rollouts = 0
        for is_reissue, task in self._at_hand:
            if await self._has_generation(task):
                num_rollouts += task.stop - task.first
                for first, stop in pieces(task.first, task.stop, share):
                    piece = msgspec.structs.replace(task, first=first, stop=stop)
                    queued.append((task.number, is_reissue, encode(piece)))
        if queued:
            await self._downstream.push(self.run_uid, queued)
            self._rollouts_per_task = num_rollouts / len(queued)
            self._figures.tasks += len(self._at_hand)
        self._at_hand.clear()

    def _task(self, taken: Taken) -> Task | None:
        try:
            task = decode(taken.data, Task)
        except MessageError as error:
            self._refuse(f"a message among the tasks was refused: {error}")
            return None
        if task.run_uid != self.run_uid or task.number != taken.number:
            self._refuse("a task in another generation's queue was refused")
            return None
        return task

    async def _has_generation(self, task: Task) -> bool:
        """Whether the task's generation is below; bring it down where it is not."""
        if self._stored.get(task.number) == task.digest:
            return True
        async with self._open_lock:
            data = await self._upstream.generation(self.run_uid, task.number)
            if data is None or digest(data) != task.digest:
                return False  # closed in the meantime, or opened anew: the head knows
            await self._downstream.put_generation(self.run_uid, task.number, data)
            self._figures.bytes_down += len(data)
            self._stored[task.number] = task.digest
            self._open = sorted({*self._open, task.number})
            await self._downstream.set_open(self.run_uid, self._open)
        return True

    async def _send(self) -> None:
        """Send up what has come in; it stays below until it has arrived."""
        if await self._downstream.wait_for_records(self.run_uid):
            await self._send_some()

    async def _send_some(self) -> bool:
        """Whether there were records to send."""
        batches = await self._downstream.records(self.run_uid, BATCHES_AT_ONCE)
        if not batches:
            return False
        sound = [data for data in batches if self._is_sound(data)]
        started_s = time.monotonic()
        if sound:
            await self._upstream.send(self.run_uid, sound)
            self._figures.upstream_error = ""
        self._figures.lag_s = time.monotonic() - started_s
        await self._downstream.drop_records(self.run_uid, len(batches))
        self._figures.batches += 1
        self._figures.bytes_up += sum(map(len, sound))
        self._hungry.set()
        return True

    def _is_sound(self, data: bytes) -> bool:
        try:
            batch = decode(data, RecordBatch)
        except MessageError as error:
            self._refuse(f"a message among the records was refused: {error}")
            return False
        self._held.answer(batch)
        done = sum(record.status == "ok" for record in batch.records)
        if done and batch.evaluation_s > 0:
            rollout_s = batch.evaluation_s / len(batch.records)
            earlier_s = rollout_s if self._rollout_s is None else self._rollout_s
            self._rollout_s = _MEMORY * earlier_s + (1 - _MEMORY) * rollout_s
        self._figures.records += len(batch.records)
        return True

    async def _tend(self) -> None:
        """Have the same generations open below as above."""
        await asyncio.sleep(TEND_EVERY_S)
        if not self._is_below_sure:
            return
        async with self._open_lock:
            present = await self._upstream.present_numbers(self.run_uid)
            self._figures.upstream_error = ""
            if present is None:
                return  # a missing key means wait
            closed = set(self._stored) - set(present)
            if present != self._open:
                self._open = present
                await self._downstream.set_open(self.run_uid, present)
                await self._downstream.retire(self.run_uid, closed)
            for number in closed:
                del self._stored[number]
                self._held.forget(number)

    async def _give_back_unbegun(self) -> None:
        try:
            unbegun = [task for _, task in self._at_hand]
            for data in await self._downstream.take_back(self.run_uid, self._open):
                unbegun.append(decode(data, Task))
            for task in unbegun:
                batch = given_back(task, self._sender)
                self._held.answer(batch)
                await self._downstream.add_record(self.run_uid, encode(batch))
        except (DownstreamAway, MessageError) as error:
            self._notice(f"what nobody had begun is not given back: {error}")

    async def _flush(self) -> None:
        try:
            while await self._send_some():
                pass
        except (UpstreamAway, DownstreamAway) as error:
            self._notice(f"left with records unsent: {error}")

    def _refuse(self, why: str) -> None:
        self._figures.refused += 1
        if not self._said_refused:
            self._said_refused = True
            self._notice(why)

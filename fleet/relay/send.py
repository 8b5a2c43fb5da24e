"""How records go up: at once, in as large pieces as they come in, kept until upstream has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from errors import MessageError
from fleet.relay.appetite import Pace
from fleet.relay.counts import RelayCounts
from fleet.relay.downstream import Downstream
from fleet.relay.run import RelayRun
from fleet.relay.upstream import Upstream
from search.messages import RecordBatch, decode

_WAIT_S = 0.5
_SWEEP_EVERY_S = 1.0
_MOST_BATCHES = 500
_MOST_BYTES = 256 * 1024


class Sender:
    """Hands records up; the only one that does.

    Args:
        upstream, downstream, run, counts, pace: the relay's.
        stirred: set when records have come, since a worker that sends some may want work.
    """

    def __init__(
        self,
        upstream: Upstream,
        downstream: Downstream,
        run: RelayRun,
        counts: RelayCounts,
        *,
        pace: Pace,
        stirred: asyncio.Event,
    ) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._run = run
        self._counts = counts
        self._pace = pace
        self._stirred = stirred
        self._swept_s = -float("inf")

    async def step(self) -> None:
        """Send what there is, or wait a while for something."""
        uid = self._run.uid
        if uid is None:
            await asyncio.sleep(_WAIT_S)
        elif await self._downstream.await_records(uid, _WAIT_S):
            await self._send(uid)
        if time.monotonic() - self._swept_s > _SWEEP_EVERY_S:
            # Workers may still be at work on the run that we served before.
            await self.send_all(but=uid)
            self._swept_s = time.monotonic()

    async def send_all(self, but: str | None = None) -> None:
        """Send the records of every run but one."""
        for uid in await self._downstream.runs_with_records():
            if uid != but:
                await self._send(uid)

    async def _send(self, run_uid: str) -> None:
        """Until there are none. A lone record goes alone; more come together while it goes."""
        while True:
            token = self._downstream.hold.token
            found = await self._downstream.records(run_uid, _MOST_BATCHES)
            if not found:
                return
            count = len(found)
            found = _up_to(found, _MOST_BYTES)
            self._counts.waiting_since_s = self._counts.waiting_since_s or time.monotonic()
            self._stirred.set()
            batches = [self._checked(data, run_uid) for data in found]
            good = [data for data, one in zip(found, batches, strict=True) if one is not None]
            await self._hand_up(run_uid, good)
            is_held = await self._downstream.drop_records(run_uid, len(found), token)
            self._note(batches)
            if not is_held:  # these are others than we have sent
                await self._run.restore()
            if len(found) == count < _MOST_BATCHES:
                return

    async def _hand_up(self, run_uid: str, good: Sequence[bytes]) -> None:
        if good:
            started_s = time.monotonic()
            await self._upstream.send(run_uid, good)
            self._counts.sending_s = time.monotonic() - started_s
            self._counts.batches += 1
            self._counts.bytes_up += sum(map(len, good))
        self._counts.waiting_since_s = None

    def _note(self, batches: Sequence[RecordBatch | None]) -> None:
        """Upstream has these."""
        now_s = time.monotonic()
        for batch in batches:
            if batch is not None:
                self._run.in_hand.answer(batch)
                self._counts.records += len(batch.records)
                self._pace.answered(len(batch.records), batch.evaluation_s, now_s)

    def _checked(self, data: bytes, run_uid: str) -> RecordBatch | None:
        try:
            batch = decode(data, RecordBatch)
        except MessageError as error:
            self._counts.refuse(error)
            return None
        if batch.run_uid != run_uid:
            self._counts.refuse(f"records of run {batch.run_uid[:8]} among those of {run_uid[:8]}")
            return None
        return batch


def _up_to(batches: list[bytes], most_bytes: int) -> list[bytes]:
    """The first of them, at least one, with no more bytes than that."""
    total = 0
    for count, data in enumerate(batches):
        total += len(data)
        if count and total > most_bytes:
            return batches[:count]
    return batches

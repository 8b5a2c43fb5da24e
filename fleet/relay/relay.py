"""A machine's relay: between the Redis that has the work and the machine's own.

It copies the run it serves to the machine's own Redis once, brings tasks down as workers want
them, and hands records, heartbeats and the crew up. Its upstream may be another relay's Redis. It
keeps nothing that cannot be lost: records stay in the local Redis until upstream has them, and
what the local Redis loses is given back, see `fleet.relay.in_hand`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from fleet.relay.appetite import Pace
from fleet.relay.client import OutOfReach
from fleet.relay.counts import RelayCounts
from fleet.relay.downstream import Downstream
from fleet.relay.follow import Follower
from fleet.relay.pull import Puller
from fleet.relay.run import RelayRun
from fleet.relay.send import Sender
from fleet.relay.upstream import Upstream
from fleet.security.access import NO_ACCESS, Access

LEAD_S = 0.2
_FOLLOW_EVERY_S = 0.5
_KEEP_EVERY_S = 1.0
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_FINISH_S = 0.7
_DRAIN_S = 1.3

Step = Callable[[], Awaitable[None]]


class Relay:
    """One relay, which serves one run at a time.

    Args:
        upstream_url, upstream_access: where its work is.
        local_url, local_access: the machine's own Redis.
        name: what it calls itself in its heartbeat: host, process id, "relay".
        lead_s: how much work to have at hand where rollouts are shorter than that.
        run: uid of the only run to serve; ``None``: the one with the fewest workers.
        notice: where a line for people goes.

    Raises:
        ConfigError: a URL is not one of Redis.
    """

    def __init__(
        self,
        upstream_url: str,
        local_url: str,
        *,
        upstream_access: Access = NO_ACCESS,
        local_access: Access = NO_ACCESS,
        name: str,
        lead_s: float = LEAD_S,
        run: str | None = None,
        notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._upstream = Upstream(upstream_url, upstream_access, notice)
        self._downstream = Downstream(local_url, local_access, notice)
        self.counts = RelayCounts(notice)
        self._run = RelayRun(self._upstream, self._downstream, name, self.counts)
        self._stop = asyncio.Event()
        # By what failed, so that one that does not fail does not hide one that does.
        self._troubles: dict[str, OutOfReach] = {}
        stirred, pace = asyncio.Event(), Pace()
        parts = self._upstream, self._downstream, self._run, self.counts
        self._sender = Sender(*parts, pace=pace, stirred=stirred)
        self._puller = Puller(
            *parts,
            pace=pace,
            lead_s=lead_s,
            stirred=stirred,
            is_stopping=lambda: self._stop.is_set(),
        )
        self._follower = Follower(*parts, name=name, pin=run, trouble=self._trouble)

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until ``stop`` is set; then give back what nobody has begun.

        Servers that are out of reach are waited for, however long.

        Raises:
            ResourceExhausted: another relay is at work on the local Redis.
        """
        self._stop = stop
        try:
            if not await self._persist("claim", self._downstream.hold.claim, once=True):
                return
            loops = [
                asyncio.create_task(self._persist("pull", self._puller.step)),
                asyncio.create_task(self._persist("send", self._sender.step)),
                asyncio.create_task(self._persist("follow", self._follower.step, _FOLLOW_EVERY_S)),
                asyncio.create_task(self._persist("keep", self._keep, _KEEP_EVERY_S)),
            ]
            stopped = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([stopped, *loops], return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    await asyncio.wait(loops, timeout=_FINISH_S)
            finally:
                await _end([stopped, *loops])
            if stop.is_set():
                with suppress(OutOfReach, TimeoutError):
                    await asyncio.wait_for(self._drain(), _DRAIN_S)
        finally:
            await self._upstream.close()
            await self._downstream.close()

    async def _keep(self) -> None:
        if not await self._downstream.hold.keep():
            await self._run.restore()

    async def _drain(self) -> None:
        await self._run.leave()
        await self._sender.send_all()
        await self._follower.retract()
        await self._downstream.hold.release()

    async def _persist(
        self, what: str, step: Step, every_s: float = 0.0, *, once: bool = False
    ) -> bool:
        """Take ``step`` again and again until asked to stop; a server out of reach is waited for,
        longer and longer.

        Returns:
            Whether it was to be done ``once``, and is done.
        """
        wait_s = _FIRST_WAIT_S
        while not self._stop.is_set():
            try:
                await step()
            except OutOfReach as error:
                self._troubles[what] = error
                await self._pause(wait_s)
                wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
                continue
            self._troubles.pop(what, None)
            if once:
                return True
            wait_s = _FIRST_WAIT_S
            if every_s:
                await self._pause(every_s)
        return False

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _trouble(self) -> str:
        return str(next(iter(self._troubles.values()), ""))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what still goes on, and raise what one of them has died of."""
    for task in tasks:
        task.cancel()
    for one in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(one, Exception):
            raise one

"""A relay: between the Redis above, the head's or another relay's, and a machine's own.

Workers below see the same keys with the same meaning. Each declaration and generation comes down
once; tasks come down as workers wait for them; records go up in batches as they come, and stay in
the own Redis until they have arrived. Whatever dies may be started again in any order.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
import psutil

from errors import MessageError, ResourceExhausted
from fleet.access import NO_ACCESS, Access
from fleet.async_connection import open_client
from fleet.connection import without_password
from fleet.downstream import CLAIM_S, Downstream, DownstreamAway
from fleet.heartbeat import BEAT_S, Heartbeat, RelayBeat, encode_beat
from fleet.relay_appetite import LEAD_S
from fleet.relay_session import CALM_S, LOOK_EVERY_S, Figures, RelaySession
from fleet.upstream import Upstream, UpstreamAway
from fleet.worker_broker import LiveRun
from search.code_version import code_version
from search.messages import Experiment, decode

_KEEP_EVERY_S = 0.25
HEAD_QUIET_S = 3.0
"""A head beats every second; one not heard of for so long makes way for another run's."""


class Claim(msgspec.Struct, frozen=True):
    """Who serves a machine's Redis: a process, by its birth too, since numbers come again."""

    host: str
    pid: int
    born_s: float
    token: str

    @classmethod
    def mine(cls) -> Claim:
        """The claim of the process that asks."""
        process = psutil.Process()
        return cls(socket.gethostname(), process.pid, process.create_time(), secrets.token_hex(8))

    @property
    def is_dead(self) -> bool:
        """Whether it was a process of this machine that is no more."""
        if self.host != socket.gethostname():
            return False
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.born_s) > 1.0)
        except psutil.Error:
            return True


class Relay:
    """Serves one run at a time, whichever has the fewest workers, until its head is gone.

    Args:
        upstream_url: the Redis above.
        local_url: the machine's own, which no other relay serves.
        upstream_access: to the one above.
        name: what it calls itself in heartbeats.
        lead_s: work to hold beyond idle workers, where a rollout lasts less than that.
        run: the only run to serve; ``None`` for any.
        notice: where a line for people goes.
    """

    def __init__(
        self,
        upstream_url: str,
        local_url: str,
        *,
        upstream_access: Access = NO_ACCESS,
        name: str,
        lead_s: float = LEAD_S,
        run: str | None = None,
        notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._shown = without_password(upstream_url)
        self._above = open_client(upstream_url, upstream_access)
        self._below = open_client(local_url, NO_ACCESS)
        self._upstream = Upstream(self._above)
        self._downstream = Downstream(self._below)
        self._name = name
        self._lead_s = lead_s
        self._run = run
        self._notice = notice
        self._claim = msgspec.msgpack.encode(Claim.mine())
        self._figures = Figures()
        self._session: RelaySession | None = None
        self._refused: dict[str, str] = {}
        self._is_over = False
        self._is_cut_off = False

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``, then give back what nobody has begun.

        Raises:
            ResourceExhausted: another relay serves this machine's Redis.
        """
        beating: asyncio.Task[None] | None = None
        try:
            await self._take_place(stop)
            beating = asyncio.create_task(self._beat())
            while not stop.is_set() and not beating.done():
                try:
                    await self._serve_one(lambda: stop.is_set() or beating.done())
                except (UpstreamAway, DownstreamAway) as error:
                    self._note_away(error)
                    await asyncio.sleep(CALM_S)
            if beating.done():
                await beating
        finally:
            if beating is not None:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
            await self._leave()

    async def _take_place(self, stop: asyncio.Event) -> None:
        deadline_s = time.monotonic() + CLAIM_S + 1
        while not stop.is_set():
            try:
                there = await self._downstream.claim(self._claim)
            except DownstreamAway as error:
                self._note_away(error)
                await asyncio.sleep(CALM_S)
                continue
            if there is None:
                return
            if _is_dead(there):
                await self._downstream.drop_claim()
            elif time.monotonic() > deadline_s:
                raise ResourceExhausted(
                    "another relay serves this machine's Redis: stop it, or give this one a "
                    "--relay_socket_path of its own"
                )
            await asyncio.sleep(LOOK_EVERY_S)

    async def _serve_one(self, has_to_leave: Callable[[], bool]) -> None:
        uid = await self._choose()
        data = await self._upstream.experiment(uid) if uid is not None else None
        if uid is None or data is None:
            await asyncio.sleep(LOOK_EVERY_S * 4)
            return
        try:
            decode(data, Experiment)
        except MessageError as error:
            self._refused[uid] = str(error)
            self._notice(f"cannot serve run {uid[:8]}: {error}")
            return
        await self._downstream.declare(uid, data)
        session = RelaySession(
            uid,
            data,
            self._upstream,
            self._downstream,
            sender=self._name,
            lead_s=self._lead_s,
            figures=self._figures,
            notice=self._notice,
        )
        await self._downstream.beat(uid, 0.0)
        session.trust(session.doubts)
        self._is_over, self._session = False, session
        try:
            await session.run(lambda: has_to_leave() or self._is_over)
        finally:
            self._session = None
        if self._is_over:
            await self._downstream.withdraw(uid)

    async def _choose(self) -> str | None:
        runs = await self._upstream.live_runs()
        self._note_back()
        self._refused = {u: why for u, why in self._refused.items() if u in {r.uid for r in runs}}
        fit = [r for r in runs if r.uid not in self._refused and self._run in (None, r.uid)]
        beating = [run for run in fit if run.silence_s < HEAD_QUIET_S]
        candidates = beating or fit
        # After a restart of ours the workers still have their run.
        here = set(await self._downstream.runs())
        candidates.sort(key=lambda run: run.uid not in here)
        return candidates[0].uid if candidates else None

    async def _beat(self) -> None:
        """Keep our place; once a second, hand up who is there and see whether the run goes on."""
        report_s = -BEAT_S
        while True:
            try:
                await self._keep_place()
                if time.monotonic() - report_s >= BEAT_S:
                    report_s = time.monotonic()
                    await self._report()
                    self._note_back()
            except (UpstreamAway, DownstreamAway) as error:
                self._note_away(error)
            await asyncio.sleep(_KEEP_EVERY_S)

    async def _keep_place(self) -> None:
        doubts = self._session.doubts if self._session is not None else 0
        found = await self._downstream.keep_claim(self._claim)
        if found == "another's":
            raise ResourceExhausted("another relay has taken this machine's Redis: leaving it")
        session = self._session
        if found == "missing":
            if await self._downstream.claim(self._claim) is None and session is not None:
                self._notice("this machine's Redis had lost everything: declared the run again")
                await session.restored()
        elif session is not None:
            session.trust(doubts)
        self._figures.downstream_error = ""

    async def _report(self) -> None:
        session = self._session
        uid = session.run_uid if session is not None else ""
        crew = await self._downstream.crew(uid) if uid else []
        beats = await self._downstream.beats()
        beats[self._name] = encode_beat(self._heartbeat(uid))
        if session is not None:
            session.num_workers = len(crew)
        await self._upstream.report(uid, crew, beats)
        if uid:
            runs = await self._upstream.live_runs()
            self._is_over = _is_over(uid, runs, pinned=self._run is not None)
            silence_s = next((run.silence_s for run in runs if run.uid == uid), HEAD_QUIET_S)
            await self._downstream.beat(uid, silence_s)
        self._figures.upstream_error = ""

    def _heartbeat(self, run_uid: str) -> Heartbeat:
        figures = self._figures
        return Heartbeat(
            self._name,
            socket.gethostname(),
            code_version(),
            relay=RelayBeat(
                self._shown,
                run_uid,
                figures.tasks,
                figures.records,
                figures.batches,
                figures.bytes_down,
                figures.bytes_up,
                round(figures.lag_s, 6),
                (figures.upstream_error or figures.downstream_error)[:500],
            ),
        )

    async def _leave(self) -> None:
        with suppress(UpstreamAway, TimeoutError):  # what is not taken back runs out
            await asyncio.wait_for(self._upstream.retract([self._name]), 1.0)
        with suppress(DownstreamAway):
            if await self._downstream.keep_claim(self._claim) == "ours":
                await self._downstream.drop_claim()
        await self._above.aclose()
        await self._below.aclose()

    def _note_away(self, error: UpstreamAway | DownstreamAway) -> None:
        if isinstance(error, DownstreamAway):
            self._figures.downstream_error = str(error)
            if self._session is not None:
                self._session.doubt()
            return
        self._figures.upstream_error = str(error)
        if not self._is_cut_off:
            self._is_cut_off = True
            self._notice(f"lost {self._shown} ({error}): workers go on with what they have")

    def _note_back(self) -> None:
        if self._is_cut_off:
            self._is_cut_off = False
            self._notice(f"{self._shown} is back")


def _is_dead(token: bytes) -> bool:
    try:
        return msgspec.msgpack.decode(token, type=Claim).is_dead
    except (msgspec.MsgspecError, ValueError):
        return False


def _is_over(uid: str, runs: list[LiveRun], *, pinned: bool) -> bool:
    """Whether another run, or none, is to be served rather than ``uid``."""
    silence_s = {run.uid: run.silence_s for run in runs}
    ours_s = silence_s.pop(uid, None)
    if ours_s is None:
        return True
    others_call = any(quiet_s < HEAD_QUIET_S for quiet_s in silence_s.values())
    return ours_s > HEAD_QUIET_S and others_call and not pinned

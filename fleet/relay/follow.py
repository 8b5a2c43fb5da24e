"""How a relay follows what goes on above, and tells above what goes on below."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

from fleet.heartbeat import BEAT_S, FRESH_S, Heartbeat, decode_beat, encode_beat
from fleet.machine.worker_broker import HEAD_QUIET_S, LiveRun
from fleet.relay.choice import choose
from fleet.relay.client import OutOfReach
from fleet.relay.counts import RelayCounts
from fleet.relay.downstream import Downstream, Roll
from fleet.relay.run import RelayRun
from fleet.relay.upstream import Upstream, Word
from search.code_version import code_version

_READ_AGAIN_S = 5.0
_ABSENT_S = 2.0
_TRIAL_S = 5.0
_ANOTHER_TRY_S = 60.0
_WORKER = re.compile(r"[A-Za-z0-9._-]{1,80}")


class Follower:
    """Chooses the run, reads its news, and hands up who is there.

    Args:
        upstream, downstream, run, counts: the relay's.
        name: the relay's own, in its heartbeat.
        pin: the only run to serve; ``None`` for any.
        trouble: what is wrong, in a line; empty where nothing is.
    """

    def __init__(
        self,
        upstream: Upstream,
        downstream: Downstream,
        run: RelayRun,
        counts: RelayCounts,
        *,
        name: str,
        pin: str | None,
        trouble: Callable[[], str],
    ) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._run = run
        self._counts = counts
        self._name = name
        self._pin = pin
        self._trouble = trouble
        self._seen_s: dict[str, float] = {}
        self._crew_seen_s: dict[str, float] = {}
        self._refused_s: dict[str, float] = {}
        self._serving_since_s = self._listed_s = self._told_s = self._read_s = -float("inf")

    async def step(self) -> None:
        """Look up and down once; to be called at least once a second."""
        listed = await self._run.refresh()
        now_s = time.monotonic()
        if now_s - self._told_s < BEAT_S * 0.9:
            return
        roll = await self._roll()
        await self._follow(roll, listed)
        await self._tell(roll)
        self._told_s = now_s

    async def retract(self) -> None:
        """Nobody of us is there any more."""
        await self._upstream.unsay([self._name, *self._seen_s], self._run.uid, self._crew_seen_s)

    async def _roll(self) -> Roll:
        try:
            return await self._downstream.roll(self._run.uid)
        except OutOfReach:  # upstream still hears of us, and of this trouble
            return Roll({}, {})

    async def _follow(self, roll: Roll, listed: bytes | None) -> None:
        serving, now_s = self._run.uid, time.monotonic()
        runs = await self._upstream.runs(self._crew_seen_s.keys(), serving)
        runs = [run for run in runs if self._pin in (None, run.uid)]
        mine = next((run for run in runs if run.uid == serving), None)
        if mine is not None:
            self._listed_s = now_s
            self._run.heard(mine.silence_s)
            await self._refuse_where_all_do(roll, serving, now_s)
        elif serving is not None and (listed == b"" or now_s - self._listed_s > HEAD_QUIET_S):
            serving = None  # withdrawn, and not only missing for a moment
        chosen = self._chosen(runs, serving, now_s)
        if chosen != self._run.uid:
            await self._switch(chosen, next((run for run in runs if run.uid == chosen), None))
            return
        if self._run.experiment is None or now_s - self._read_s > _READ_AGAIN_S:
            await self._run.refresh_experiment()
            self._read_s = now_s
        await self._run.announce()

    def _chosen(self, runs: list[LiveRun], serving: str | None, now_s: float) -> str | None:
        refused = {uid for uid, until_s in self._refused_s.items() if now_s < until_s}
        return choose(
            runs,
            serving,
            self._crew_seen_s.keys(),
            name=self._name,
            refused=refused,
            now_s=time.time(),
        )

    async def _switch(self, run_uid: str | None, run: LiveRun | None) -> None:
        left, left_crew = self._run.uid, list(self._crew_seen_s)
        await self._run.switch(run_uid)
        now_s = time.monotonic()
        self._serving_since_s = self._listed_s = self._read_s = now_s
        if run is not None:
            self._run.heard(run.silence_s)
            await self._run.announce()
        self._crew_seen_s.clear()
        await self._upstream.unsay([], left, left_crew)

    async def _refuse_where_all_do(self, roll: Roll, run_uid: str | None, now_s: float) -> None:
        """Try another run, if there is one, where none of our workers can serve this."""
        if run_uid is None or roll.crew or now_s - self._serving_since_s < _TRIAL_S:
            return
        beats = [beat for word in roll.machines.values() if (beat := decode_beat(word.data))]
        up = [worker for beat in beats for worker in beat.workers if worker.is_up]
        if up and all(worker.refusal for worker in up):
            self._refused_s[run_uid] = now_s + _ANOTHER_TRY_S

    async def _tell(self, roll: Roll) -> None:
        now_s, uid = time.monotonic(), self._run.uid
        beats = {name: word for name, word in roll.machines.items() if self._is_beat(name, word)}
        self._seen_s.update(dict.fromkeys(beats, now_s))
        self._run.has_relays = any(
            beat.relay is not None for word in beats.values() if (beat := decode_beat(word.data))
        )
        crew = {name: word for name, word in roll.crew.items() if _WORKER.fullmatch(name)}
        self._run.crew_size = len(crew)
        self._crew_seen_s.update(dict.fromkeys(crew, now_s))
        await self._upstream.say({**beats, self._name: Word(0.0, self._own())}, uid, crew)
        # A local Redis that starts again knows nobody for a moment.
        gone = _absent(self._seen_s, now_s)
        left = _absent(self._crew_seen_s, now_s)
        await self._upstream.unsay(gone, uid, left)
        for name in gone:
            del self._seen_s[name]
        for name in left:
            del self._crew_seen_s[name]

    def _is_beat(self, name: str, word: Word) -> bool:
        if word.age_s > FRESH_S:
            return False
        beat = decode_beat(word.data)
        if beat is None or beat.machine != name:
            self._counts.refuse(f"no heartbeat is what {name[:80]} sent")
            return False
        return True

    def _own(self) -> bytes:
        beat = self._counts.beat(
            self._upstream.shown, self._run.uid or "", time.monotonic(), self._trouble()
        )
        host = socket.gethostname()
        return encode_beat(Heartbeat(self._name, host, code_version(), relay=beat))


def _absent(seen_s: dict[str, float], now_s: float) -> list[str]:
    return [name for name, last_s in seen_s.items() if now_s - last_s > _ABSENT_S]

"""One machine's workers: started, watched, replaced, and given back when it has to go."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import redis

from fleet import heartbeat
from fleet.connection import Client
from fleet.guard import ChildOptions, Guard
from fleet.heartbeat import BEAT_S, Heartbeat, WorkerBeat
from fleet.worker_broker import push_records
from search.code_version import code_version
from search.messages import RecordBatch, encode

_TEND_EVERY_S = 0.05
_GIVE_BACK_S = 3.0


class Supervisor:
    """Keeps ``num_workers`` children at work.

    Args:
        client: of this machine's Redis, for heartbeats and for what dead children leave behind.
        num_workers: children.
        options: what they are started with.
        stop_requested: asked several times a second.
        notice: where a line for people goes.
    """

    def __init__(
        self,
        client: Client,
        num_workers: int,
        options: ChildOptions,
        *,
        stop_requested: Callable[[], bool],
        notice: Callable[[str], None],
    ) -> None:
        self._client = client
        self._stop_requested = stop_requested
        self._notice = notice
        self.machine = f"{_plain(socket.gethostname())}-{os.getpid()}"
        self.guards = [
            Guard(f"{self.machine}-{number}", options, self._report)
            for number in range(num_workers)
        ]
        self._unsent: list[RecordBatch] = []
        self._beat_s = -float("inf")
        self._last_error = ""

    def run(self) -> None:
        """Until asked to stop or, with ``burst``, until the last child has left."""
        try:
            while not self._stop_requested():
                for guard in self.guards:
                    guard.tend()
                if all(guard.is_done and not guard.is_up for guard in self.guards):
                    return
                self._speak()
                time.sleep(_TEND_EVERY_S)
        finally:
            self._stop()

    def _speak(self) -> None:
        """Send what is due; a Redis that is gone hears it when it is back."""
        is_due = time.monotonic() - self._beat_s >= BEAT_S
        if not self._unsent and not is_due:
            return
        try:
            self._send_reports()
            if is_due:
                self._beat_s = time.monotonic()
                heartbeat.send(self._client, self._heartbeat())
        except redis.RedisError:
            return

    def _heartbeat(self) -> Heartbeat:
        beats = tuple(self._worker_beat(guard) for guard in self.guards)
        errors = [beat.last_error for beat in beats if beat.last_error]
        if errors and errors[0] != self._last_error:
            self._last_error = errors[0]
            self._notice(errors[0])
        return Heartbeat(self.machine, socket.gethostname(), code_version(), beats)

    def _worker_beat(self, guard: Guard) -> WorkerBeat:
        state = guard.state
        doing = state.doing if state is not None else None
        return WorkerBeat(
            guard.worker,
            guard.is_up,
            run_uid=doing.run_uid if doing is not None else "",
            rollouts=guard.rollouts,
            deaths=guard.deaths,
            rss_mb=round(guard.rss_mb(), 1),
            last_error=guard.last_error[:500],
            refusal=state.refusal if state is not None else "",
        )

    def _report(self, batch: RecordBatch) -> None:
        self._unsent.append(batch)

    def _send_reports(self) -> None:
        while self._unsent:
            batch = self._unsent[0]
            push_records(self._client, batch.run_uid, [encode(batch)])
            self._unsent.pop(0)

    def _stop(self) -> None:
        deadline_s = time.monotonic() + _GIVE_BACK_S
        for guard in self.guards:
            guard.terminate()
        for guard in self.guards:
            guard.stop(max(0.0, deadline_s - time.monotonic()))
        try:
            self._send_reports()
            heartbeat.retract(self._client, self.machine)
        except redis.RedisError:
            self._notice("Redis is out of reach: the rollouts in hand are not given back")
        for guard in self.guards:
            guard.close()


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)[:40]

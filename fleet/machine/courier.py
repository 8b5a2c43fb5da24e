"""A supervisor's talk with its Redis, in a thread of its own: a server that hangs stops nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import redis

from errors import EsError
from fleet import heartbeat
from fleet.connection import Client
from fleet.heartbeat import Heartbeat
from fleet.machine.worker_broker import WorkerBroker, count_crews, push_records
from search.messages import RecordBatch, encode

_LOOK_EVERY_S = 0.25
_RECONNECT_S = 0.5


class OpenList(NamedTuple):
    """A run's open generations, as of a moment on the monotonic clock."""

    asked_s: float
    numbers: frozenset[int]


class Courier:
    """Carries heartbeats, and records of rollouts that nobody else can answer; asks which
    generations are open. What cannot be delivered is kept and tried again.

    Args:
        connect: gives a client of the Redis; may raise what `fleet.connection.connect` does.
        machine: the heartbeats' name.
    """

    def __init__(self, connect: Callable[[], Client], machine: str) -> None:
        self._connect = connect
        self._machine = machine
        self._batches: deque[RecordBatch] = deque()
        self._beat: Heartbeat | None = None
        self._crews: dict[str, str] = {}
        self._joined: dict[str, str] = {}
        self._open: dict[str, OpenList] = {}
        self._looked_s = -float("inf")
        self._is_leaving = False
        self._awake = threading.Event()
        self.has_spoken = False
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def report(self, batch: RecordBatch) -> None:
        """Deliver ``batch`` to its run's head, now or when the server is back."""
        self._batches.append(batch)
        self._awake.set()

    def say(self, beat: Heartbeat, crews: Mapping[str, str]) -> None:
        """Deliver the newest heartbeat, and count each worker among the crew of its run.

        Args:
            beat: of this machine.
            crews: the uid of the run that each worker serves, by worker.
        """
        self._crews, self._beat = dict(crews), beat
        self._awake.set()

    def open_list(self, run_uid: str) -> OpenList | None:
        """The run's open generations, lately; ``None`` while nobody can know."""
        return self._open.get(run_uid)

    def finish(self, patience_s: float) -> bool:
        """Deliver what is left and say that the machine is gone; whether that worked in time."""
        self._is_leaving = True
        self._awake.set()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        client: Client | None = None
        while True:
            try:
                if client is None:
                    client = self._connect()
                self._deliver(client)
                self.has_spoken, self.trouble = True, ""
                if self._is_leaving and not self._batches:
                    self._retract(client)
                    return
                self._awake.wait(_LOOK_EVERY_S)
            except (redis.RedisError, EsError, OSError) as error:
                self.trouble = " ".join(str(error).split())
                time.sleep(_RECONNECT_S)

    def _deliver(self, client: Client) -> None:
        self._awake.clear()
        while self._batches:
            batch = self._batches[0]
            push_records(client, batch.run_uid, [encode(batch)])
            self._batches.popleft()
        beat, self._beat = self._beat, None
        if beat is not None:
            heartbeat.send(client, beat)
            self._count(client, self._crews)
        if time.monotonic() - self._looked_s > _LOOK_EVERY_S:
            self._look(client)

    def _count(self, client: Client, crews: dict[str, str]) -> None:
        left = {w: uid for w, uid in self._joined.items() if crews.get(w) != uid}
        count_crews(client, crews, left)
        self._joined = crews

    def _look(self, client: Client) -> None:
        found: dict[str, OpenList] = {}
        asked_s = time.monotonic()
        for uid in set(self._crews.values()):
            numbers = WorkerBroker(client, self._machine).present_numbers(uid)
            if numbers is not None:
                found[uid] = OpenList(asked_s, frozenset(numbers))
        self._looked_s, self._open = asked_s, found

    def _retract(self, client: Client) -> None:
        self._count(client, {})
        heartbeat.retract(client, self._machine)

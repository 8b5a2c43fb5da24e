"""One machine's workers: started, watched, replaced, and given back when it has to go."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable

from fleet.connection import Client
from fleet.heartbeat import BEAT_S, Heartbeat
from fleet.machine.courier import Courier
from fleet.machine.guard import ChildOptions, Guard
from search.code_version import code_version
from search.messages import RecordBatch

LEAVE_S = 2.5
_DELIVER_S = 1.5
_RETRACT_S = 0.5


class Supervisor:
    """Keeps ``num_workers`` children at work.

    Args:
        connect: gives a client of this machine's Redis, for heartbeats and for what dead children
            leave behind.
        num_workers: children.
        options: what they are started with.
        notice: where a line for people goes, and each line that a child complains of.
        trouble: what is wrong with the machine itself, in one line; empty where nothing is.
        detour: gives a client of the head's Redis, for heartbeats while the machine itself is in
            trouble and nobody hands them on.
        machine: its name, see `machine_name`.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        num_workers: int,
        options: ChildOptions,
        *,
        notice: Callable[[str], None],
        trouble: Callable[[], str] = lambda: "",
        detour: Callable[[], Client] | None = None,
        machine: str | None = None,
    ) -> None:
        self._notice = notice
        self._trouble = trouble
        self.machine = machine or machine_name()
        self.guards = [
            Guard(f"{self.machine}-{number}", options, self._report, notice)
            for number in range(num_workers)
        ]
        self._courier = Courier(connect, self.machine)
        self._detour = detour
        self._direct: Courier | None = None
        self._beat_s = -float("inf")
        self._said = ""

    @property
    def is_done(self) -> bool:
        """Whether the last child has left for good, as ``burst`` makes them do."""
        return all(guard.is_done and not guard.is_up for guard in self.guards)

    def tend(self) -> None:
        """Look after everything; call it several times a second."""
        for guard in self.guards:
            guard.tend()
            self._pass_on_what_is_open(guard)
        if time.monotonic() - self._beat_s >= BEAT_S:
            self._beat_s = time.monotonic()
            beat = self.heartbeat()
            crews = {one.worker: one.run_uid for one in beat.workers if one.is_up and one.run_uid}
            self._courier.say(beat, crews)
            if beat.last_error and self._detour is not None:
                self._direct = self._direct or Courier(self._detour, self.machine)
                self._direct.say(beat, {})
            self._complain(self._courier.trouble)

    def heartbeat(self) -> Heartbeat:
        """How the machine and its workers are."""
        beats = tuple(guard.beat() for guard in self.guards)
        return Heartbeat(
            self.machine,
            socket.gethostname(),
            code_version(),
            beats,
            last_error=self._trouble()[:500],
        )

    def stop(self) -> None:
        """Have all children leave, and give back what they had in hand."""
        deadline_s = time.monotonic() + LEAVE_S
        for guard in self.guards:
            guard.terminate()
        for guard in self.guards:
            guard.stop(max(0.0, deadline_s - time.monotonic()))
        if not self._courier.finish(_DELIVER_S):
            self._notice("Redis is out of reach: the rollouts in hand are not given back")
        if self._direct is not None:
            self._direct.finish(_RETRACT_S)
        for guard in self.guards:
            guard.close()

    def _pass_on_what_is_open(self, guard: Guard) -> None:
        """Have a child drop what nobody wants any more."""
        doing = guard.state.doing
        if doing is None:
            guard.disown(None)
            return
        listed = self._courier.open_list(doing.run_uid)
        # A list from before the task was taken may not have its generation yet.
        is_closed = (
            listed is not None
            and listed.asked_s > doing.started_s
            and doing.number not in listed.numbers
        )
        guard.disown(doing.digest if is_closed else None)

    def _report(self, batch: RecordBatch) -> None:
        self._courier.report(batch)

    def _complain(self, trouble: str) -> None:
        if trouble != self._said:
            self._said = trouble
            self._notice(trouble or "Redis is there again")


def machine_name() -> str:
    """Of this process on this machine; no other has it, not even on a copy of the machine."""
    return f"{_plain(socket.gethostname())}-{os.getpid()}-{secrets.token_hex(4)}"


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)[:40]

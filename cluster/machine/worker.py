"""A cluster's worker machine: ``python -m cluster.machine.worker machine.json``.

Waits for the head, runs workers for it, and for the next head when there is another. Gives back
what is in hand when the machine is taken away. Ends the machine when there is nobody to work for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from cluster.machine.child_process import ChildProcess, in_words
from cluster.machine.head_redis import WORKER_PASSWORD
from cluster.machine.lookout import Lookout
from cluster.machine.machine_program import TICK_S, Stop, await_spec, run_program, say
from cluster.machine.platform import MachineSettings, Notice, Platform
from cluster.machine.worker_command import worker_command, worker_environment
from cluster.spec import ClusterSpec
from cluster.store import HeadAddress
from errors import EsError

ALONE_S = 30 * 60.0
_LEFT_OVER_S = 5 * 60.0
_GIVE_BACK_S = 15.0
_AGAIN_S = 2.0
_MOST_AGAIN_S = 60.0
_STEADY_S = 60.0
_GONE_S = 60.0


class Worker:
    """The workers' service of one machine.

    Args:
        settings: this machine's.
        platform: who provides it.
        spec: the cluster's.
        stop: asked for from outside.
        lookout: what is known of the outside; already at it.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        settings: MachineSettings,
        platform: Platform,
        spec: ClusterSpec,
        stop: Stop,
        lookout: Lookout,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._spec = spec
        self._stop = stop
        self._lookout = lookout
        self._clock = clock
        self._password = ""
        self._workers: ChildProcess | None = None
        self._head: HeadAddress | None = None
        self._began_s = self._next_s = 0.0
        self._again_s = _AGAIN_S

    def run(self) -> int:
        """Work until the machine ends, or is asked to; the exit code."""
        say("waiting for the head")
        try:
            while not self._stop:
                if (notice := self._lookout.notice) is not None:
                    return self._leave(notice)
                if (why := self.why_to_end()) is not None:
                    return self._end(why)
                self._tend()
                time.sleep(TICK_S)
            say("asked to stop: what is in hand is given back")
            return 0
        finally:
            self._stop_workers()

    def why_to_end(self) -> str | None:
        """Why this machine should end itself; None: it should not."""
        now_s, ended = self._clock(), self._lookout.ended
        if now_s >= self._spec.ends_s:
            return f"max_hours={self._spec.max_hours:g} are over"
        if ended is not None and not self._spec.keep and now_s - ended.time_s > _LEFT_OVER_S:
            return f"the run has ended ({ended.why}), and nobody has ended this machine"
        if now_s - self._lookout.seen_s > ALONE_S:
            return f"no head has been seen for {ALONE_S / 60:.0f} minutes"
        return None

    def _tend(self) -> None:
        head = self._lookout.head
        if head is None:
            return
        if self._head is None or _way_to(head) != _way_to(self._head):
            if self._head is not None:
                say(f"another head: {head.machine} at {head.host}")
            self._stop_workers()
            self._next_s, self._again_s = 0.0, _AGAIN_S
        self._head = head
        now_s = time.monotonic()
        if self._workers is not None and (code := self._workers.poll()) is not None:
            is_steady = now_s - self._began_s > _STEADY_S
            self._again_s = _AGAIN_S if is_steady else min(2 * self._again_s, _MOST_AGAIN_S)
            say(f"the workers {in_words(code)}; again in {self._again_s:g} s")
            self._workers, self._next_s = None, now_s + self._again_s
        if self._workers is None and now_s >= self._next_s:
            self._start(head)

    def _start(self, head: HeadAddress) -> None:
        self._began_s = time.monotonic()
        try:
            self._password = self._password or self._platform.secret(WORKER_PASSWORD)
        except EsError as error:
            say(f"{error}; trying again")
            self._next_s = self._began_s + self._again_s
            return
        ca_file = Path(self._settings.work_dir) / "head.crt"
        ca_file.write_text(head.certificate)
        command = worker_command(self._spec, head, self._settings.include)
        environment = worker_environment(head, self._password, str(ca_file))
        say(f"working for {head.machine} at {head.host}")
        self._workers = ChildProcess("workers", command, environment)

    def _stop_workers(self) -> None:
        if self._workers is not None:
            self._workers.stop(_GIVE_BACK_S)
            self._workers = None

    def _leave(self, notice: Notice) -> int:
        say(f"{notice.kind}: {notice.text}; what is in hand is given back")
        self._stop_workers()
        if notice.kind == "rebalance":
            # Another machine takes its place at once, where this one would only wait for the end.
            self._end_machine(f"rebalance: {notice.text}")
        return 0

    def _end(self, why: str) -> int:
        say(f"{why}: this machine ends")
        self._stop_workers()
        while not self._stop:
            self._end_machine(why)
            self._stop.wait(_GONE_S)
        return 0

    def _end_machine(self, why: str) -> None:
        try:
            self._platform.end_machine(why)
        except EsError as error:
            say(f"{error}; trying again")


def _way_to(head: HeadAddress) -> tuple[str, int, str]:
    """What workers have been told of it; one that comes back at the same place finds them there."""
    return head.host, head.port, head.certificate


def _body(settings: MachineSettings, platform: Platform, stop: Stop) -> int:
    spec = await_spec(platform.store, stop)
    if spec is None:
        return 0
    lookout = Lookout(platform)
    lookout.start()
    return Worker(settings, platform, spec, stop, lookout).run()


if __name__ == "__main__":
    sys.exit(run_program(sys.argv, _body))

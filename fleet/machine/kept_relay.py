"""A relay in a process of its own, started again when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable

from fleet.child_process import cause_of
from fleet.connection import URL_VARIABLE
from fleet.machine.restarts import Restarts
from fleet.machine.watched_process import WatchedProcess
from fleet.security.access import MIRROR_FILE_VARIABLE, MIRROR_VARIABLE, NO_ACCESS, Access

_STABLE_S = 5.0
_LEAVE_S = 2.5


class KeptRelay:
    """``python -m fleet.relay.process`` between two servers.

    Args:
        upstream_url, access: where it gets its work.
        local_url, local_access: of the machine's own Redis.
        name: what it calls itself in heartbeats.
        run: the only run that it serves; ``None`` for any.
        notice: where a line for people goes, and each line that it says.
    """

    is_done = False

    def __init__(
        self,
        upstream_url: str,
        access: Access,
        local_url: str,
        *,
        name: str,
        run: str | None,
        notice: Callable[[str], None],
        local_access: Access = NO_ACCESS,
    ) -> None:
        # In the environment and not in argv, which every user of the machine can read.
        self._environment = {
            **access.environment(),
            URL_VARIABLE: upstream_url,
            MIRROR_VARIABLE: local_access.password or "",
            MIRROR_FILE_VARIABLE: "",
        }
        self._arguments = ["--local-url", local_url, "--name", name]
        if run is not None:
            self._arguments += ["--run", run]
        self._notice = notice
        self._restarts = Restarts("the relay")
        self._process: WatchedProcess | None = None
        self._started_s = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id, while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def trouble(self) -> str:
        """One line where it dies again and again, else nothing."""
        return self._restarts.trouble(time.monotonic())

    def tend(self) -> None:
        """Look after it; call it several times a second."""
        now_s = time.monotonic()
        if self._process is None:
            if now_s >= self._restarts.start_at_s:
                self._start(now_s)
        elif (code := self._process.poll()) is not None:
            how = cause_of(code)
            if code > 0 and self._process.last_line:
                how = self._process.last_line
            self._process = None
            self._died(now_s, how)

    def stop(self) -> None:
        """Have it give back what nobody has begun, and leave."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_LEAVE_S)
            self._process = None

    def _start(self, now_s: float) -> None:
        self._started_s = now_s
        try:
            self._process = WatchedProcess(
                "fleet.relay.process",
                self._arguments,
                hear=self._notice,
                environment=self._environment,
            )
        except OSError as error:  # no memory, files or processes left: for now, maybe
            self._died(now_s, f"could not be started ({error.strerror})")

    def _died(self, now_s: float, how: str) -> None:
        in_vain = now_s - self._started_s < _STABLE_S
        if line := self._restarts.died(now_s, how, in_vain=in_vain):
            self._notice(line)

"""The machine's own Redis, kept at one place: started again when it dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from errors import EsError
from fleet.redis_server import RedisServer
from fleet.restarts import Restarts

_STABLE_S = 5.0
_LEAVE_S = 1.0
_POLL_S = 0.01


class Mirror:
    """A `RedisServer` on a unix socket; what was in it is lost when it dies, and nobody minds: its
    relay fills it again.

    Args:
        socket_path: in a folder that only we can enter.
        notice: where a line for people goes.
        port, bind, password: listen there too, so that other machines' relays can come.
        no_tls: without TLS although ``bind`` is not this machine alone.

    Raises:
        ConfigError, ResourceExhausted, ServiceUnavailable: as `RedisServer`, of its first start.
    """

    is_done = False

    def __init__(
        self,
        socket_path: Path,
        notice: Callable[[str], None],
        *,
        port: int | None = None,
        bind: str = "127.0.0.1",
        password: str | None = None,
        no_tls: bool = False,
    ) -> None:
        self._notice = notice
        self._start = partial(
            RedisServer, port, bind, socket_path=socket_path, password=password, no_tls=no_tls
        )
        self._restarts = Restarts("the machine's own Redis")
        self._server: RedisServer | None = self._start()
        self._started_s = time.monotonic()
        self.url = self._server.url
        self.access = self._server.access
        self.tcp_url = self._server.tcp_url

    @property
    def pid(self) -> int | None:
        """The server's process id, while there is one."""
        return self._server.pid if self._server is not None else None

    @property
    def trouble(self) -> str:
        """One line where it dies again and again, else nothing."""
        return self._restarts.trouble(time.monotonic())

    def tend(self) -> None:
        """Look after it; call it several times a second."""
        now_s = time.monotonic()
        if self._server is None:
            if now_s >= self._restarts.start_at_s:
                self._start_again(now_s)
        elif (code := self._server.poll()) is not None:
            self._server.stop()
            self._server = None
            self._died(now_s, f"its process ended with code {code}")

    def stop(self) -> None:
        """End it, by force if need be."""
        if self._server is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._server.pid, signal.SIGTERM)
            deadline_s = time.monotonic() + _LEAVE_S
            while self._server.poll() is None and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
            if self._server.poll() is None:
                os.kill(self._server.pid, signal.SIGKILL)
        self._server.stop()
        self._server = None

    def _start_again(self, now_s: float) -> None:
        try:
            self._server = self._start()
            self._started_s = time.monotonic()
        except (EsError, OSError) as error:  # OSError: no memory, files or processes left
            self._died(now_s, str(error))

    def _died(self, now_s: float, how: str) -> None:
        in_vain = now_s - self._started_s < _STABLE_S
        if line := self._restarts.died(now_s, how, in_vain=in_vain):
            self._notice(line)

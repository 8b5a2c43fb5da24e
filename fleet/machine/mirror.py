"""The machine's own Redis, kept at one place: started again when it dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from errors import EsError
from fleet.machine.restarts import Restarts
from fleet.security.access import WORKER_USER, Access
from fleet.security.credentials import Credentials
from fleet.server import server_file
from fleet.server.redis_server import RedisServer

_STABLE_S = 5.0
_LEAVE_S = 1.0
_POLL_S = 0.01


class Below(NamedTuple):
    """Where machines below find this one's Redis, and what it asks them for.

    Attributes:
        port, bind: where it listens, besides its socket.
        credentials: their relays show the workers' password; the other is for this machine.
        no_tls: without TLS although ``bind`` is not this machine alone.
    """

    port: int
    bind: str
    credentials: Credentials
    no_tls: bool = False


class Mirror:
    """A `RedisServer` on a unix socket; what was in it is lost when it dies, and nobody minds: its
    relay fills it again.

    Args:
        socket_path: in a folder that only we can enter.
        notice: where a line for people goes.
        below: listen there too, so that relays of other machines can come. Redis's users are the
            same on all that it listens on: the socket then asks for a password, too, which the
            commands of this machine find beside it.

    Attributes:
        url: of the socket.
        tcp_url: for machines below; ``None`` without any.
        access: to do everything.
        worker_access: for workers of this machine.

    Raises:
        ConfigError, ResourceExhausted, ServiceUnavailable: as `RedisServer`, of its first start.
    """

    is_done = False

    def __init__(
        self,
        socket_path: Path,
        notice: Callable[[str], None],
        below: Below | None = None,
    ) -> None:
        self._socket_path = socket_path
        self._notice = notice
        self._below = below
        self._open = ExitStack()
        self._restarts = Restarts("the machine's own Redis")
        self._server: RedisServer | None = self._start()
        self._started_s = time.monotonic()
        self.url = self._server.url
        self.tcp_url = self._server.tcp_url
        self.access = self.worker_access = self._server.access
        if below is not None and below.credentials.worker_password is not None:
            self.worker_access = Access(WORKER_USER, below.credentials.worker_password)

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
            self._close()
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
        self._close()

    def _start(self) -> RedisServer:
        below, path = self._below, self._socket_path
        with ExitStack() as stack:
            if below is None:
                server = stack.enter_context(RedisServer(socket_path=path))
            else:
                how = below.credentials
                server = stack.enter_context(
                    RedisServer(
                        below.port,
                        below.bind,
                        socket_path=path,
                        password=how.password,
                        worker_password=how.worker_password,
                        tls=how.tls,
                        no_tls=below.no_tls,
                    )
                )
                named = server_file.written(below.port, server, below.bind, how, path)
                stack.enter_context(named)
            self._open = stack.pop_all()
        return server

    def _close(self) -> None:
        self._open.close()
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

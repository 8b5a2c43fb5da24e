"""The Redis of a cluster's head: ``es/head.py run-server``, kept alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cluster.machine.child_process import ChildProcess, in_words, python
from cluster.machine.machine_program import say
from cluster.machine.platform import MachineSettings, Platform
from cluster.store import HeadAddress
from errors import ResourceExhausted

PASSWORD = "redis-password"
WORKER_PASSWORD = "worker-password"
START_S = 60.0
_LOOK_S = 2.0
_AGAIN_S = 2.0
STOP_S = 8.0


class HeadRedis:
    """The server on this machine's address; plain on loopback, TLS beyond.

    Args:
        settings: port, and where its certificate is kept.
        platform: address and passwords.

    Attributes:
        address: what workers are told.
        url: without its password.
        environment: how our commands on this machine get into it.

    Raises:
        ResourceExhausted: it does not come up.
    """

    def __init__(
        self, settings: MachineSettings, platform: Platform, stopped: Callable[[], bool]
    ) -> None:
        self._folder = Path(settings.work_dir) / "config"
        self._host, self._port = platform.address(), settings.redis_port
        self._password = platform.secret(PASSWORD)
        self._worker_password = platform.secret(WORKER_PASSWORD)
        self._has_tls = not _is_loopback(self._host)
        self._next_start_s = 0.0
        self._server = self._start()
        self._await(stopped)
        certificate = self._certificate.read_text() if self._has_tls else ""
        self.address = HeadAddress(
            host=self._host,
            port=self._port,
            certificate=certificate,
            since_s=time.time(),
            machine=platform.name(),
        )

    @property
    def pid(self) -> int:
        """Process id of the program that serves it."""
        return self._server.pid

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'rediss' if self._has_tls else 'redis'}://{host}:{self._port}/0"

    @property
    def environment(self) -> dict[str, str]:
        found = {"ES_REDIS_URL": self.url, "ES_REDIS_PASSWORD": self._password}
        return found | ({"ES_REDIS_CA_FILE": str(self._certificate)} if self._has_tls else {})

    def tend(self) -> None:
        """Start it again when it has ended: whoever uses it waits, and writes again what it held.

        Never waits long.
        """
        code = self._server.poll()
        if code is not None and time.monotonic() >= self._next_start_s:
            say(f"Redis {in_words(code)}; starting it again")
            self._server = self._start()

    def stop(self) -> None:
        """End it. May be called twice."""
        self._server.stop(STOP_S)

    def __enter__(self) -> HeadRedis:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _certificate(self) -> Path:
        return self._folder / "walking-es" / f"redis-{self._port}" / "server.crt"

    def _start(self) -> ChildProcess:
        self._next_start_s = time.monotonic() + _AGAIN_S
        secrets = {
            "ES_REDIS_PASSWORD": self._password,
            "ES_REDIS_WORKER_PASSWORD": self._worker_password,
            "XDG_CONFIG_HOME": str(self._folder),
        }
        words = ["run-server", f"--bind={self._host}", f"--port={self._port}"]
        return ChildProcess("redis", python("es/head.py", *words), secrets)

    def _await(self, stopped: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s and not stopped():
            code = self._server.poll()
            if code is not None:
                raise ResourceExhausted(f"Redis at {self.url} {in_words(code)}: see the line above")
            if self._answers():
                return
            time.sleep(0.1)
        self.stop()
        raise ResourceExhausted(f"Redis at {self.url} does not answer within {START_S:g} s")

    def _answers(self) -> bool:
        if self._has_tls and not self._certificate.is_file():
            return False
        try:
            with redis.Redis.from_url(
                self.url,
                password=self._password or None,
                socket_timeout=_LOOK_S,
                socket_connect_timeout=_LOOK_S,
                retry=Retry(NoBackoff(), 0),
                **({"ssl_ca_certs": str(self._certificate)} if self._has_tls else {}),
            ) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

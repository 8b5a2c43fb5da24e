"""The head's Redis as an operator keeps it: the same address again whenever it has died."""

from __future__ import annotations

import socket
import time

import psutil
import redis
from own_processes import kill
from redis.backoff import NoBackoff
from redis.retry import Retry

from errors import ResourceExhausted
from fleet import keys
from fleet.run_report import RunReport, decode_report
from fleet.server.redis_server import RedisServer

_PATIENCE_S = 10.0
_ONCE = Retry(NoBackoff(), 0)


class HeadsRedis:
    """On one port for its whole life, however often it is killed; it forgets everything then."""

    def __init__(self) -> None:
        self.port = free_port()
        self.server = RedisServer(self.port)
        self._start_at_s: float | None = None

    @property
    def url(self) -> str:
        return self.server.url

    def kill(self, gone_s: float) -> bool:
        """By SIGKILL, to be back after ``gone_s``; whether it was there."""
        if self._start_at_s is not None:
            return False
        self._start_at_s = time.monotonic() + gone_s
        return kill(psutil.Process(self.server.pid))

    def tend(self) -> None:
        """Start it again when it is time."""
        if self._start_at_s is None or time.monotonic() < self._start_at_s:
            return
        self.server.stop()
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.server = RedisServer(self.port)
                break
            except ResourceExhausted:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)
        self._start_at_s = None

    def report(self) -> RunReport | None:
        """What the head of the only run has last said of it here."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1.0, retry=_ONCE) as client:
                for key in client.scan_iter(keys.report("*"), count=1000):
                    return decode_report(client.get(key))
        except redis.RedisError:
            pass
        return None

    def stop(self) -> None:
        self.server.stop()


def free_port(address: str = "127.0.0.1") -> int:
    """One that nobody listens at now."""
    with socket.create_server((address, 0)) as probe:
        return int(probe.getsockname()[1])

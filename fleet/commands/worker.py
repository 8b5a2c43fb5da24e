"""What ``python es/worker.py`` does, once it is known what: kept apart from its options, so that
``--help`` need not load any of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from errors import AccessRefused, ConfigError
from fleet.connection import connect, url_of, url_or_default, without_password
from fleet.machine.guard import ChildOptions
from fleet.machine.kept_relay import KeptRelay
from fleet.machine.machine import TEND_EVERY_S, await_server, behind_a_relay, keep
from fleet.machine.mirror import Below, Mirror
from fleet.machine.supervisor import Supervisor, machine_name
from fleet.provision import num_cores
from fleet.security.access import MIRROR_VARIABLE, Access
from fleet.security.credentials import Given, credentials_for, given_for_server
from fleet.security.find_access import find_access, find_mirror_access
from fleet.security.invitation import invitation_of_workers
from fleet.server.runtime_folder import runtime_folder

_PORT = 6379

_SOCKET = "redis"
_AT_ONCE = 130
_NAMED_S = 1.0


class Stop:
    """Ctrl-C, SIGTERM or a closed terminal: the first asks, the second ends all at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self.folder: Path | None = None
        signal.signal(signal.SIGINT, self._hear)
        signal.signal(signal.SIGTERM, self._hear)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(signal.SIGHUP, self._hear)

    def __call__(self) -> bool:
        return self.is_asked

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_asked:
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)
            os._exit(_AT_ONCE)  # what we have started dies with us
        self.is_asked = True


def start_workers(
    redis_url: str | None, force_relay: bool, num_workers: int | None, **given: Any
) -> None:
    """Workers on the head's machine, looked after until somebody asks to stop."""
    url = url_or_default(redis_url)
    access = _access(url, given)  # may ask, and Ctrl-C then ends it
    stop = Stop()
    options = _options(url, access, given)
    count = num_workers or num_cores()
    if force_relay:
        _serve_behind_a_relay(options, None, count, stop, None)
        return
    connect(url, access=access).close()
    _say(f"{_workers(count)} on {without_password(url)}; Ctrl-C ends them")
    workers = Supervisor(lambda: connect(url, access=access), count, options, notice=_say)
    keep([workers], stop)


def join_fleet(
    master_host: str,
    master_port: int,
    no_tls: bool,
    relay_socket_path: Path | None,
    num_workers: int | None,
    serve_bind: str | None,
    serve_port: int | None,
    **given: Any,
) -> None:
    """A machine of a fleet: a Redis of its own, a relay to the head's, and workers."""
    url = url_of(master_host, master_port, no_tls=no_tls)
    access = _access(url, given)
    stop = Stop()
    options = _options(url, access, given)
    below = _below(serve_port, serve_bind, Given(no_tls=no_tls))
    _serve_behind_a_relay(options, relay_socket_path, num_workers or num_cores(), stop, below)


def carry(
    master_host: str,
    master_port: int,
    no_tls: bool,
    relay_socket_path: Path,
    mirror_password_file: Path | None,
    run: str | None,
    **given: Any,
) -> None:
    """A relay between the head's Redis and that of `serve_mirror`."""
    url = url_of(master_host, master_port, no_tls=no_tls)
    access = _access(url, given)
    stop = Stop()
    local_url = f"unix://{quote(str(relay_socket_path.absolute()))}"
    local_access = _await_mirror(local_url, mirror_password_file, stop)
    if local_access is None:
        return
    upstream = await_server(url, access, _say, stop)
    if upstream is None:
        return
    upstream.close()
    name = f"{machine_name()}-relay"
    _say(f"relay from {without_password(url)} to {relay_socket_path}; Ctrl-C ends it")
    relay = KeptRelay(
        url, access, local_url, local_access=local_access, name=name, run=run, notice=_say
    )
    keep([relay], stop)


def serve_mirror(
    relay_socket_path: Path | None, port: int | None, bind: str | None, **given: Any
) -> None:
    """The Redis of this machine, which `carry` fills."""
    named = [f"--{name}" for name, value in given.items() if value]
    if named and port is None and bind is None:
        raise ConfigError(
            f"{', '.join(named)}: for other machines, and without --bind or --port none can come; "
            "the socket is closed to other users of this one"
        )
    stop = Stop()
    below = _below(port, bind, given_for_server(**given))
    with _socket(relay_socket_path, stop) as path:
        mirror = Mirror(path, _say, below)
        _invite(below)
        too = f" and {mirror.tcp_url}" if mirror.tcp_url is not None else ""
        _say(f"Redis at {path}{too}; Ctrl-C ends it")
        keep([mirror], stop)


def _below(port: int | None, bind: str | None, given: Given) -> Below | None:
    if port is None and bind is None:
        return None
    port, bind = port or _PORT, bind or "127.0.0.1"
    return Below(port, bind, credentials_for(bind, port, given), given.no_tls)


def _invite(below: Below | None) -> None:
    if below is not None:
        words = below.bind, below.port, below.credentials
        for line in invitation_of_workers(*words, whose="this machine's own"):
            _say(line)


def _await_mirror(url: str, password_file: Path | None, stop: Stop) -> Access | None:
    """The way into the Redis of a `run-mirror`, which may not be up yet, and says what that is only
    a moment after; ``None`` where asked to stop.
    """
    refused_s = 0.0
    while True:
        access = find_mirror_access(url, password_file)
        try:
            client = await_server(url, access, _say, stop)
        except AccessRefused:
            refused_s = refused_s or time.monotonic()
            if access.password is None and time.monotonic() - refused_s < _NAMED_S:
                time.sleep(TEND_EVERY_S)
                continue
            raise AccessRefused(
                f"Redis at {url} wants its own password: run-mirror keeps it where it makes it, "
                f"else set {MIRROR_VARIABLE} or --mirror_password_file to what it was given"
            ) from None
        if client is None:
            return None
        client.close()
        return access


def _serve_behind_a_relay(
    options: ChildOptions,
    socket_path: Path | None,
    count: int,
    stop: Stop,
    below: Below | None,
) -> None:
    upstream = await_server(options.redis_url, options.access, _say, stop)
    if upstream is None:
        return
    upstream.close()
    with _socket(socket_path, stop) as path:
        parts = behind_a_relay(path, count, options, _say, below)
        _invite(below)
        shown = without_password(options.redis_url)
        _say(f"{_workers(count)} on {path}, relay to {shown}; Ctrl-C ends them")
        keep(parts, stop)


@contextmanager
def _socket(given: Path | None, stop: Stop) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with runtime_folder() as folder:
        stop.folder = folder
        yield folder / _SOCKET


def _access(url: str, given: dict[str, Any]) -> Access:
    names = ("password_file", "worker_password_file", "tls_ca")
    return find_access(url, as_worker=True, **{name: given[name] for name in names})


def _options(url: str, access: Access, given: dict[str, Any]) -> ChildOptions:
    include, noise_dir = given["include"], given["noise_dir"]
    return ChildOptions(
        url,
        include.resolve() if include is not None else None,
        noise_dir.resolve() if noise_dir is not None else None,
        given["run"],
        given["burst"],
        access=access,
    )


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _say(line: str) -> None:
    with suppress(OSError):  # a terminal that has been closed stops nobody
        print(line, file=sys.stderr, flush=True)

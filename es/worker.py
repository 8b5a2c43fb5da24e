"""Workers: ``python es/worker.py start-workers --num_workers=7``; ``workers`` on other machines.

Workers wait for a run on the Redis they are pointed at, evaluate its rollouts, and go on to the
next run when it ends. They survive what they simulate: a process that hangs, leaks or crashes is
replaced, and what it had in hand is reported or given back. Behind a relay they see their own
machine's Redis only.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import click

from errors import AccessRefused, ConfigError, EsError
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
from search.messages import is_run_uid

_SOCKET = "redis"
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_AT_ONCE = 130
_PORT = 6379
_NAMED_S = 1.0

Command = Callable[..., None]


def option(name: str, **settings: Any) -> Callable[[Command], Command]:
    """An option whose name may be written with ``_`` and with ``-``."""
    return click.option(*dict.fromkeys([name, "--" + name[2:].replace("_", "-")]), **settings)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def _run_uid(_context: click.Context, _option: click.Parameter, uid: str | None) -> str | None:
    if uid is not None and not is_run_uid(uid):
        raise ConfigError(f"--run={uid}: expected a run's uid, 32 hexadecimal digits")
    return uid


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


_ACCESS = together(
    option("--password_file", type=_FILE,
           help="File of mode 0600 with the head's password; also ES_REDIS_PASSWORD."),
    option("--worker_password_file", type=_FILE,
           help="The same with the workers' password; also ES_REDIS_WORKER_PASSWORD."),
    option("--tls_ca", type=_FILE,
           help="Certificate of the head's Redis, or of who signed it; also ES_REDIS_CA_FILE."),
)  # fmt: skip
_MASTER = together(
    option("--master_host", default="127.0.0.1", show_default=True, metavar="HOST|URL",
           help="Where the head's Redis is; as a URL, also another machine's."),
    option("--master_port", default=6379, show_default=True, type=click.IntRange(1, 65535)),
    option("--no_tls", is_flag=True, help="Speak plainly with hosts beyond this machine."),
    _ACCESS,
)  # fmt: skip
_SOCKET_PATH = option(
    "--relay_socket_path", type=click.Path(path_type=Path),
    help="Unix socket for this machine's own Redis.  [default: in a private folder]",
)  # fmt: skip
_RUN = option("--run", metavar="UID", callback=_run_uid, help="Serve only this run.")
_SERVE = together(
    option("--serve_bind", metavar="ADDRESS",
           help="Let machines below use this one as it uses the head's; 0.0.0.0 is all addresses."),
    option("--serve_port", type=click.IntRange(1, 65535),
           help=f"Port for --serve_bind.  [default: {_PORT}]"),
)  # fmt: skip
_LISTEN = together(
    option("--bind", metavar="ADDRESS",
           help="Listen there too, for machines below; 0.0.0.0 is all addresses."),
    option("--port", type=click.IntRange(1, 65535),
           help=f"Port for --bind, by itself on 127.0.0.1.  [default: {_PORT}]"),
    option("--password_file", type=_FILE,
           help="File of mode 0600 with this Redis's password, written if missing; also "
                "ES_REDIS_PASSWORD."),
    option("--worker_password_file", type=_FILE,
           help="The same for user `worker`; also ES_REDIS_WORKER_PASSWORD."),
    option("--tls_cert", type=_FILE, help="Certificate, PEM.  [default: self-signed]"),
    option("--tls_key", type=_FILE, help="Its key, PEM."),
    option("--no_tls", is_flag=True, help="Speak plainly although other machines listen."),
)  # fmt: skip
_WORKERS = together(
    option("--num_workers", type=click.IntRange(min=1),
           help="Worker processes.  [default: one a core]"),
    option("--include", type=_FOLDER, help="Folder with your own environments and policies."),
    option("--noise_dir", envvar="ES_NOISE_DIR", type=_FOLDER,
           help="Folder of the shared noise table.  [default: shared memory]"),
    _RUN,
    option("--burst", is_flag=True, help="Leave when there is no run to serve."),
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Evaluate rollouts for whatever run is on Redis."""


@cli.command("start-workers")
@option("--redis_url", help="The head's Redis; also ES_REDIS_URL.")
@option("--force_relay", is_flag=True, help="As `workers`: with a Redis and a relay of their own.")
@_WORKERS
@_ACCESS
def start_workers(
    redis_url: str | None, force_relay: bool, num_workers: int | None, **given: Any
) -> None:
    """Start workers on the head's machine.

    Looks after them until Ctrl-C, which gives back what is in hand; a second one does not wait for
    that.
    """
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


@cli.command("workers")
@_MASTER
@_SOCKET_PATH
@_WORKERS
@_SERVE
def workers_command(
    master_host: str,
    master_port: int,
    no_tls: bool,
    relay_socket_path: Path | None,
    num_workers: int | None,
    serve_bind: str | None,
    serve_port: int | None,
    **given: Any,
) -> None:
    """Make this machine part of a fleet.

    Starts a Redis of its own, a relay to the head's and workers, and starts again what dies. Waits
    for a head that is not there yet; Ctrl-C gives back what is in hand, a second one does not wait
    for that.

    With --serve_bind other machines get their work here and need not reach the head. Says what to
    type there, and makes and keeps the passwords and the certificate that this takes.
    """
    url = url_of(master_host, master_port, no_tls=no_tls)
    access = _access(url, given)
    stop = Stop()
    options = _options(url, access, given)
    below = _below(serve_port, serve_bind, Given(no_tls=no_tls))
    _serve_behind_a_relay(options, relay_socket_path, num_workers or num_cores(), stop, below)


@cli.command("run-relay")
@_MASTER
@option("--relay_socket_path", required=True, type=click.Path(path_type=Path),
        help="Unix socket that run-mirror serves.")  # fmt: skip
@option("--mirror_password_file", type=_FILE,
        help="File of mode 0600 with run-mirror's password, where it does not keep it itself; "
             "also ES_MIRROR_PASSWORD.")  # fmt: skip
@_RUN
def run_relay(
    master_host: str,
    master_port: int,
    no_tls: bool,
    relay_socket_path: Path,
    mirror_password_file: Path | None,
    run: str | None,
    **given: Any,
) -> None:
    """Carry work to this machine, and records back."""
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


@cli.command("run-mirror")
@_SOCKET_PATH
@_LISTEN
def run_mirror(
    relay_socket_path: Path | None, port: int | None, bind: str | None, **given: Any
) -> None:
    """Serve this machine's own Redis, for run-relay.

    With --bind machines below may use it as they would the head's. It then speaks TLS there, and
    makes and keeps the passwords and the certificate that are not given.
    """
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
        access,
    )


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _say(line: str) -> None:
    with suppress(OSError):  # a terminal that has been closed stops nobody
        click.echo(line, err=True)


def main() -> None:
    """Run the command; an error of ours is one line."""
    try:
        cli(standalone_mode=True)
    except EsError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

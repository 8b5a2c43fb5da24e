"""Workers: ``python es/worker.py start-workers --num_workers=7``; ``workers`` on other machines.

Workers wait for a run on the Redis they are pointed at, evaluate its rollouts, and go on to the
next run when it ends. They survive what they simulate: a process that hangs, leaks or crashes is
replaced, and what it had in hand is reported or given back. Behind a relay they see their own
machine's Redis only.

What the commands do is in `fleet.commands.worker`, loaded when one of them is asked for: it takes
longer to load than ``--help`` may take to answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from errors import ConfigError, EsError

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_PORT = 6379

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
    from search.messages import is_run_uid

    if uid is not None and not is_run_uid(uid):
        raise ConfigError(f"--run={uid}: expected a run's uid, 32 hexadecimal digits")
    return uid


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
def start_workers(**given: Any) -> None:
    """Start workers on the head's machine.

    Looks after them until Ctrl-C, which gives back what is in hand; a second one does not wait for
    that.
    """
    from fleet.commands import worker

    worker.start_workers(**given)


@cli.command("workers")
@_MASTER
@_SOCKET_PATH
@_WORKERS
@_SERVE
def workers_command(**given: Any) -> None:
    """Make this machine part of a fleet.

    Starts a Redis of its own, a relay to the head's and workers, and starts again what dies. Waits
    for a head that is not there yet; Ctrl-C gives back what is in hand, a second one does not wait
    for that.

    With --serve_bind other machines get their work here and need not reach the head. Says what to
    type there, and makes and keeps the passwords and the certificate that this takes.
    """
    from fleet.commands import worker

    worker.join_fleet(**given)


@cli.command("run-relay")
@_MASTER
@option("--relay_socket_path", required=True, type=click.Path(path_type=Path),
        help="Unix socket that run-mirror serves.")  # fmt: skip
@option("--mirror_password_file", type=_FILE,
        help="File of mode 0600 with run-mirror's password, where it does not keep it itself; "
             "also ES_MIRROR_PASSWORD.")  # fmt: skip
@_RUN
def run_relay(**given: Any) -> None:
    """Carry work to this machine, and records back."""
    from fleet.commands import worker

    worker.carry(**given)


@cli.command("run-mirror")
@_SOCKET_PATH
@_LISTEN
def run_mirror(**given: Any) -> None:
    """Serve this machine's own Redis, for run-relay.

    With --bind machines below may use it as they would the head's. It then speaks TLS there, and
    makes and keeps the passwords and the certificate that are not given.
    """
    from fleet.commands import worker

    worker.serve_mirror(**given)


def main() -> None:
    """Run the command; an error of ours is one line."""
    try:
        cli(standalone_mode=True)
    except EsError as error:
        with suppress(OSError):  # a terminal that has been closed stops nobody
            click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

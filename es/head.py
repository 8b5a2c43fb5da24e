"""The head's Redis: ``python es/head.py run-server``, ``acl``, ``flush``, ``status``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click
import redis

from errors import EsError, ServiceUnavailable
from fleet.connection import connect, url_or_default, without_password
from fleet.flush import flush_everything
from fleet.security.access import WORKER_USER
from fleet.security.acl import make_worker, worker_lines
from fleet.security.credentials import credentials_for, given_for_server, worker_credentials
from fleet.security.find_access import find_access
from fleet.security.invitation import invitation
from fleet.server import server_file
from fleet.server.redis_server import RedisServer
from fleet.status.overview_watch import Watch

_FILE = click.Path(dir_okay=False, path_type=Path)

Command = Callable[..., None]


def option(name: str, **settings: Any) -> Callable[[Command], Command]:
    """An option whose name may be written with ``_`` and with ``-``."""
    return click.option(name, *({name.replace("_", "-")} - {name}), **settings)


def access_options(command: Command) -> Command:
    """How to get into the Redis that a command is about."""
    for name, what in (
        ("--tls_ca", "The server's certificate, or its signer's; also ES_REDIS_CA_FILE."),
        ("--password_file", "Of mode 0600 with the password; also ES_REDIS_PASSWORD."),
    ):
        command = option(name, type=_FILE, help=what)(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Serve Redis, look at what is on it, or clear it."""


@cli.command("run-server")
@option("--port", default=6379, show_default=True, type=click.IntRange(1, 65535))
@option("--bind", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 is all of them.")
@option(
    "--password_file",
    type=_FILE,
    help="Of mode 0600 with the head's password, written if missing; also ES_REDIS_PASSWORD.",
)
@option(
    "--worker_password_file",
    type=_FILE,
    help="The same for user `worker`; also ES_REDIS_WORKER_PASSWORD.",
)
@option("--tls_cert", type=_FILE, help="Certificate, PEM.  [default: self-signed]")
@option("--tls_key", type=_FILE, help="Its key, PEM.")
@option("--no_tls", is_flag=True, help="Speak plainly although other machines listen.")
@click.option("--stop", is_flag=True, help="First stop the server that we started earlier, if any.")
def run_server(
    port: int,
    bind: str,
    password_file: Path | None,
    worker_password_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    no_tls: bool,
    stop: bool,
) -> None:
    """Serve Redis until Ctrl-C.

    On 127.0.0.1 it asks for a password only if one is given. For other machines (--bind) it speaks
    TLS, and makes and keeps the passwords and the certificate that are not given.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if stop and (pid := server_file.stop(port)) is not None:
        click.echo(f"stopped the server of process {pid}")
    given = given_for_server(
        password_file=password_file,
        worker_password_file=worker_password_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        no_tls=no_tls,
    )
    credentials = credentials_for(bind, port, given)
    with (
        RedisServer(
            port,
            bind,
            password=credentials.password,
            worker_password=credentials.worker_password,
            tls=credentials.tls,
            no_tls=no_tls,
        ) as server,
        server_file.written(port, server, bind, credentials),
    ):
        for line in invitation(bind, port, credentials):
            click.echo(line)
        click.echo(f"Redis at {server.url}; Ctrl-C ends it")
        try:
            code = server.wait()
        except KeyboardInterrupt:
            click.echo("stopped")
            return
    if code not in (0, -15):
        raise ServiceUnavailable(f"the Redis server ended with code {code}: start it again")


@cli.command()
@option(
    "--worker_password_file",
    type=_FILE,
    help="Of mode 0600, written if missing; also ES_REDIS_WORKER_PASSWORD.",
)
@option("--redis_url", help="Make the user there, now, instead of printing it.")
@access_options
def acl(worker_password_file: Path | None, redis_url: str | None, **given: Any) -> None:
    """Print the lines that keep workers to their own keys, for a redis.conf of your own."""
    file, password = worker_credentials(worker_password_file)
    if redis_url is None:
        for line in worker_lines(password):
            click.echo(line)
    else:
        with connect(url_or_default(redis_url), access=find_access(redis_url, **given)) as client:
            make_worker(client, password)
        click.echo(f"made user {WORKER_USER} at {without_password(redis_url)}, until it restarts")
    if file is not None:
        click.echo(f"the workers' password: {file}", err=True)


@cli.command()
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
@access_options
def flush(redis_url: str | None, **given: Any) -> None:
    """Delete all our keys, and nobody else's; workers then wait for the next run.

    A head that is still at work declares its run again within a second: stop it first.
    """
    url = url_or_default(redis_url)
    client = connect(url, access=find_access(url, **given))
    click.echo(f"deleted {flush_everything(client)} keys")


@cli.command()
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
@access_options
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look, on a line.")
def status(redis_url: str | None, watch: bool, as_json: bool, **given: Any) -> None:
    """Show runs, generations, queues and workers, and why nothing moves.

    A terminal gets one screen; anything else gets lines to grep, one for each worker.
    """
    url = url_or_default(redis_url)
    client = connect(url, access=find_access(url, **given))
    shown = Watch(client, without_password(url), sys.stdout, as_json=as_json)
    if not watch:
        shown.once()
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    with suppress(KeyboardInterrupt):
        shown.until_interrupted()


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """A second Ctrl-C must not hinder giving the terminal back."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Run the command; an error of ours is one line."""
    try:
        cli(standalone_mode=True)
    except EsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except redis.RedisError as error:
        click.echo(f"error: lost Redis ({error}): try again", err=True)
        sys.exit(ServiceUnavailable.exit_code)


if __name__ == "__main__":
    main()

"""The head's Redis: ``python es/head.py run-server [--stop]``, ``flush``, ``status``."""

from __future__ import annotations

import signal
import sys

import click
import redis

from errors import EsError, ServiceUnavailable
from fleet import server_file
from fleet.access import access_given
from fleet.connection import connect, url_or_default, without_password
from fleet.flush import flush_everything
from fleet.overview import overview_of
from fleet.overview_lines import lines
from fleet.readings import read
from fleet.reasons import reasons
from fleet.redis_server import RedisServer


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Serve Redis, look at what is on it, or clear it."""


@cli.command("run-server")
@click.option("--port", default=6379, show_default=True, type=click.IntRange(1, 65535))
@click.option("--stop", is_flag=True, help="First stop the server that we started earlier, if any.")
def run_server(port: int, stop: bool) -> None:
    """Serve Redis on this machine until Ctrl-C.

    Listens on 127.0.0.1 only; a password in ES_REDIS_PASSWORD is asked of its clients.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if stop and (pid := server_file.stop(port)) is not None:
        click.echo(f"stopped the server of process {pid}")
    with (
        RedisServer(port, password=access_given().password) as server,
        server_file.written(port, server),
    ):
        click.echo(f"Redis at {server.url}; Ctrl-C ends it")
        try:
            code = server.wait()
        except KeyboardInterrupt:
            click.echo("stopped")
            return
    if code not in (0, -15):
        raise ServiceUnavailable(f"the Redis server ended with code {code}: start it again")


@cli.command()
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
def flush(redis_url: str | None) -> None:
    """Delete all our keys, and nobody else's; workers then wait for the next run.

    A head that is still at work declares its run again within a second: stop it first.
    """
    client = connect(url_or_default(redis_url), access=access_given())
    click.echo(f"deleted {flush_everything(client)} keys")


@cli.command()
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
def status(redis_url: str | None) -> None:
    """Show runs, generations, queues and workers, and why nothing moves."""
    url = url_or_default(redis_url)
    client = connect(url, access=access_given())
    overview = overview_of(read(client))
    for line in lines(overview, reasons(overview), without_password(url)):
        click.echo(line)


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

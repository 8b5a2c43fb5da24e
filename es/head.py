"""The head's Redis: ``python es/head.py run-server``, ``acl``, ``flush``, ``status``.

What the commands do is in `fleet.commands.head`, loaded when one of them is asked for: it takes
longer to load than ``--help`` may take to answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from errors import EsError

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
def run_server(**given: Any) -> None:
    """Serve Redis until Ctrl-C.

    On 127.0.0.1 it asks for a password only if one is given. For other machines (--bind) it speaks
    TLS, and makes and keeps the passwords and the certificate that are not given.
    """
    from fleet.commands import head

    head.run_server(**given)


@cli.command()
@option(
    "--worker_password_file",
    type=_FILE,
    help="Of mode 0600, written if missing; also ES_REDIS_WORKER_PASSWORD.",
)
@option("--redis_url", help="Make the user there, now, instead of printing it.")
@access_options
def acl(**given: Any) -> None:
    """Print the lines that keep workers to their own keys, for a redis.conf of your own."""
    from fleet.commands import head

    head.acl(**given)


@cli.command()
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
@access_options
def flush(**given: Any) -> None:
    """Delete all our keys, and nobody else's; workers then wait for the next run.

    A head that is still at work declares its run again within a second: stop it first.
    """
    from fleet.commands import head

    head.flush(**given)


@cli.command()
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
@access_options
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look, on a line.")
def status(**given: Any) -> None:
    """Show runs, generations, queues and workers, and why nothing moves.

    A terminal gets one screen; anything else gets lines to grep, one for each worker.
    """
    from fleet.commands import head

    head.status(**given)


def main() -> None:
    """Run the command; an error of ours is one line."""
    try:
        cli(standalone_mode=True)
    except EsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

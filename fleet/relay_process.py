"""A relay in a process of its own: ``python -m fleet.relay_process``, started by a supervisor."""

from __future__ import annotations

import asyncio
import signal
import sys

import click

from errors import EsError
from fleet.access import access_given
from fleet.connection import url_or_default
from fleet.parent import die_with_parent
from fleet.relay import Relay


async def serve(relay: Relay) -> None:
    """Run ``relay`` until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await relay.run(stop)


@click.command(hidden=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--local-url", required=True)
@click.option("--name", required=True)
@click.option("--run")
def main(parent_pid: int, local_url: str, name: str, run: str | None) -> None:
    """Relay between the Redis in ES_REDIS_URL and the one at --local-url."""
    die_with_parent(parent_pid)
    relay = Relay(
        url_or_default(None),
        local_url,
        upstream_access=access_given(),
        name=name,
        run=run,
        notice=say,
    )
    try:
        asyncio.run(serve(relay))
    except EsError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)


def say(line: str) -> None:
    """A line into the machine's log."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

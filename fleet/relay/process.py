"""A relay in a process of its own: ``python -m fleet.relay.process``, started by a machine's
supervisor, with which it dies.

Where its work is and how to get there is in the environment, which not every user of the machine
can read: see `fleet.connection` and `fleet.security.access`. SIGTERM has it give back what nobody
has begun and leave with code 0.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import click

from errors import EsError
from fleet.child_process import leave_no_core
from fleet.connection import url_or_default
from fleet.parent import die_with_parent
from fleet.relay.relay import Relay
from fleet.security.access import Access, access_given, mirror_access_given


async def run(
    upstream_url: str,
    upstream_access: Access,
    local_url: str,
    local_access: Access,
    *,
    name: str,
    run_uid: str | None,
    notice: Callable[[str], None],
) -> None:
    """Relay until SIGTERM.

    Raises:
        ConfigError, ResourceExhausted: as `fleet.relay.relay.Relay`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C is the supervisor's to answer.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    relay = Relay(
        upstream_url,
        local_url,
        upstream_access=upstream_access,
        local_access=local_access,
        name=name,
        run=run_uid,
        notice=notice,
    )
    await relay.run(stop)


@click.command(hidden=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--lifeline-fd", type=int)
@click.option("--local-url", required=True)
@click.option("--name", required=True)
@click.option("--run", "run_uid")
def main(
    parent_pid: int, lifeline_fd: int | None, local_url: str, name: str, run_uid: str | None
) -> None:
    """Relay between ES_REDIS_URL and --local-url."""
    die_with_parent(parent_pid, lifeline_fd)
    leave_no_core()
    try:
        asyncio.run(
            run(
                url_or_default(None),
                access_given(),
                local_url,
                mirror_access_given(),
                name=name,
                run_uid=run_uid,
                notice=_say,
            )
        )
    except EsError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

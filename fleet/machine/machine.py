"""One machine of a fleet: its own Redis, a relay to the head's, and workers, all kept alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from errors import AccessRefused, ServiceUnavailable
from fleet.connection import Client, connect
from fleet.machine.guard import ChildOptions
from fleet.machine.kept_relay import KeptRelay
from fleet.machine.mirror import Below, Mirror
from fleet.machine.supervisor import Supervisor, machine_name
from fleet.security.access import Access

TEND_EVERY_S = 0.05
_KNOCK_EVERY_S = 1.0
_RELAY_PATIENCE_S = 10.0
"""Of workers that leave where there is no run: a relay first has to look upstream."""

Notice = Callable[[str], None]


class Part(Protocol):
    """Something that is kept alive: a server, a relay, workers."""

    @property
    def is_done(self) -> bool:
        """Whether it has nothing more to do."""
        ...

    def tend(self) -> None:
        """Look after it, never waiting long."""
        ...

    def stop(self) -> None:
        """End it, and give back what it has in hand."""
        ...


def keep(parts: Sequence[Part], stop_requested: Callable[[], bool]) -> None:
    """Look after ``parts`` until asked to stop or one of them is done; stop them, last one first.

    Args:
        parts: each may need those before it.
        stop_requested: asked several times a second.
    """
    with ExitStack() as stack:
        for part in parts:
            stack.callback(part.stop)
        while not stop_requested() and not any(part.is_done for part in parts):
            for part in parts:
                part.tend()
            time.sleep(TEND_EVERY_S)


def behind_a_relay(
    socket_path: Path,
    num_workers: int,
    options: ChildOptions,
    notice: Notice,
    below: Below | None = None,
) -> tuple[Mirror, KeptRelay, Supervisor]:
    """Workers that see no other Redis than the machine's own, and all that this takes.

    Args:
        socket_path: of the machine's own Redis.
        num_workers: children.
        options: what they would be started with on the head's Redis, or on another relay's.
        notice: where a line for people goes.
        below: where other machines' relays may use this one as it uses the head's.

    Raises:
        ConfigError, ResourceExhausted, ServiceUnavailable: as `fleet.machine.mirror.Mirror`.
    """
    mirror = Mirror(socket_path, notice, below)
    name, upstream, access = machine_name(), options.redis_url, options.access
    relay = KeptRelay(
        upstream,
        access,
        mirror.url,
        local_access=mirror.access,
        name=f"{name}-relay",
        run=options.run,
        notice=notice,
    )
    workers = Supervisor(
        lambda: connect(mirror.url, access=mirror.worker_access),
        num_workers,
        options._replace(
            redis_url=mirror.url, access=mirror.worker_access, patience_s=_RELAY_PATIENCE_S
        ),
        notice=notice,
        trouble=lambda: mirror.trouble or relay.trouble,
        detour=lambda: connect(upstream, access=access),
        machine=name,
    )
    return mirror, relay, workers


def await_server(
    url: str, access: Access, notice: Notice, stop_requested: Callable[[], bool]
) -> Client | None:
    """A client of the server at ``url`` once it is there: a machine may boot before its head.

    Returns:
        ``None`` where asked to stop in the meantime.

    Raises:
        AccessRefused: it is there, and does not let us in.
        ConfigError: ``url`` is none.
    """
    said = ""
    while not stop_requested():
        try:
            return connect(url, access=access)
        except AccessRefused:
            raise
        except ServiceUnavailable as error:
            if str(error) != said:
                said = str(error)
                notice(f"{said}; trying again every {_KNOCK_EVERY_S:g} s")
        knock_s = time.monotonic() + _KNOCK_EVERY_S
        while time.monotonic() < knock_s and not stop_requested():
            time.sleep(TEND_EVERY_S)
    return None

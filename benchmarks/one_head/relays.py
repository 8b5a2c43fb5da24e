"""Real relays, many in one process: ``python -m one_head.relays SETTINGS REPORT``.

Started by `one_head.whole_fleet`; ends when its standard input closes. All share one event loop, as
the machines of a real fleet would not.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from fleet.relay.relay import Relay
from fleet.security.access import NO_ACCESS


class RelaySettings(msgspec.Struct, frozen=True):
    """The relays of one process by name: from ``upstream_url`` to each of ``local_urls``."""

    run_uid: str
    upstream_url: str
    local_urls: dict[str, str]


class RelayReport(msgspec.Struct, frozen=True):
    """Processor time of the whole process, in seconds."""

    cpu_s: float


class Said:
    """Prints a line when it is first said; a hundred relays may have the same to say."""

    def __init__(self) -> None:
        self._lines: set[str] = set()

    def add(self, line: str) -> None:
        """Say ``line``."""
        if line not in self._lines:
            self._lines.add(line)
            print(f"relay: {line}", file=sys.stderr, flush=True)


async def serve(settings: RelaySettings) -> RelayReport:
    """Be all of these relays until standard input closes."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(sys.stdin, stop.set)
    said = Said()
    relays = [
        Relay(
            settings.upstream_url,
            url,
            upstream_access=NO_ACCESS,
            name=name,
            run=settings.run_uid,
            notice=said.add,
        )
        for name, url in settings.local_urls.items()
    ]
    await asyncio.gather(*(relay.run(stop) for relay in relays))
    return RelayReport(time.process_time())


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=RelaySettings)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(asyncio.run(serve(given))))

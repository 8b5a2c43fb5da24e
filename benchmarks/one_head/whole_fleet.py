"""A whole fleet on one machine: the head's Redis and each machine's, relays, workers, a head.

Every part is the real one but the workers, which sleep (`one_head.workers`). The head has a process
of its own, and so has every Redis; workers share processes, and so do relays.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from one_head.diary import Told
from one_head.head import HeadSettings
from one_head.relays import RelayReport, RelaySettings
from one_head.schedule import Durations
from one_head.workers import Machine, WorkerReport, WorkerSettings

from fleet.parent import dying_with
from fleet.server.redis_server import RedisServer

_BENCHMARKS = Path(__file__).resolve().parents[1]
RELAYS_A_PROCESS = 60


class Fleet(msgspec.Struct, frozen=True):
    """What there is.

    Attributes:
        slowness_m: by how much longer each machine takes.
        durations: of the rollouts; ``None``: workers answer at once.
        through_relays: else all workers are at the head's Redis itself.
    """

    slowness_m: tuple[float, ...]
    workers_per_machine: int
    durations: Durations | None
    through_relays: bool = True
    keep_stays: bool = False

    @property
    def num_workers(self) -> int:
        return len(self.slowness_m) * self.workers_per_machine


class Search(msgspec.Struct, frozen=True):
    """What the head is to do; see `one_head.head.HeadSettings`."""

    num_parameters: int
    pop_size: int
    num_generations: int
    overlap: int = 0
    min_task_runtime_s: float = 0.05
    snapshot_every_s: float = 30.0
    watch_traffic: bool = False


class Outcome(NamedTuple):
    """What all said afterwards."""

    told: list[Told]
    workers: WorkerReport
    relays: list[RelayReport]


def run(fleet: Fleet, search: Search) -> Outcome:
    """Train on a fleet that is built for it and gone afterwards.

    Raises:
        SystemExit: a part of it failed; it has said why.
    """
    uid = secrets.token_hex(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer(port=free_port()))
        local_urls = [server.url for _ in fleet.slowness_m]
        relays: list[Helper] = []
        if fleet.through_relays:
            local_urls = [stack.enter_context(RedisServer()).url for _ in fleet.slowness_m]
            named = [(f"machine-{number}-relay", url) for number, url in enumerate(local_urls)]
            for first in range(0, len(named), RELAYS_A_PROCESS):
                some = dict(named[first : first + RELAYS_A_PROCESS])
                relay_settings = RelaySettings(uid, server.url, some)
                relays.append(stack.enter_context(helper("relays", relay_settings, folder)))
        machines = [
            Machine(f"machine-{number}", url, fleet.workers_per_machine, slowness)
            for number, (url, slowness) in enumerate(zip(local_urls, fleet.slowness_m, strict=True))
        ]
        settings = WorkerSettings(uid, machines, fleet.durations, fleet.keep_stays)
        workers = stack.enter_context(helper("workers", settings, folder))
        told = _lead(uid, server, fleet, search, folder)
        return Outcome(
            told,
            workers.report(WorkerReport),
            [relay.report(RelayReport) for relay in relays],
        )


def _lead(uid: str, server: RedisServer, fleet: Fleet, search: Search, folder: Path) -> list[Told]:
    settings = HeadSettings(
        uid,
        server.url,
        server.pid,
        str(folder),
        fleet.num_workers,
        search.num_parameters,
        search.pop_size,
        search.num_generations,
        search.overlap,
        search.min_task_runtime_s,
        search.snapshot_every_s,
        search.watch_traffic,
    )
    with helper("head", settings, folder) as head:
        told: list[Told] = head.report(list[Told])
        return told


class Helper:
    """A process of ours that reads its settings from a file and writes its report to another.

    ``-m`` looks for it where the process is started: in benchmarks/, as a benchmark itself looks.
    """

    def __init__(self, module: str, settings: object, folder: Path) -> None:
        self._module = module
        name = f"{module}-{len(list(folder.glob(f'{module}*.settings')))}"
        self._report = folder / f"{name}.report"
        given = folder / f"{name}.settings"
        given.write_bytes(msgspec.json.encode(settings))
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"one_head.{module}", given, self._report],
            cwd=_BENCHMARKS,
            stdin=subprocess.PIPE,
            preexec_fn=dying_with(os.getpid(), signal.SIGKILL),
        )

    def report(self, kind: Any) -> Any:
        """Have it end, or wait for its end where it does not listen; what it reports."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if code := self._process.wait():
            raise SystemExit(f"one_head.{self._module} ended with exit code {code}")
        return msgspec.json.decode(self._report.read_bytes(), type=kind)

    def kill(self) -> None:
        """End it, however it is."""
        self._process.kill()
        self._process.wait()


@contextmanager
def helper(module: str, settings: object, folder: Path) -> Iterator[Helper]:
    """A `Helper`, gone at the end."""
    made = Helper(module, settings, folder)
    try:
        yield made
    finally:
        made.kill()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A real Redis with whatever runs and machines a test of `status` wants on it."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import msgspec
from real_fleet import experiment_of
from rich.console import Console

from fleet import heartbeat, keys
from fleet.connection import Client
from fleet.head.head_broker import HeadBroker
from fleet.heartbeat import Heartbeat, RelayBeat, WorkerBeat, redis_time_s
from fleet.run_report import RunReport, encode_report
from fleet.status.overview import Overview, overview_of, remembered
from fleet.status.overview_screen import Screen
from fleet.status.readings import read
from fleet.status.reason import Reason
from fleet.status.reasons import reasons
from search.code_version import code_version
from search.messages import Experiment, GuardSpec, NoiseSpec, Task, encode

URL = "redis://127.0.0.1:6379/0"
NOISE = NoiseSpec(1, 10_000, "0" * 16)
REPORT = RunReport(
    run_id="7",
    env="Trouble-v0",
    host="boss",
    pid=42,
    generation=12,
    done=143,
    total=200,
    open_numbers=(12,),
    rollouts=3000,
    env_steps=9000,
    rollouts_per_s=12.5,
)


class Seen(NamedTuple):
    """What `status` makes of a Redis."""

    overview: Overview
    why: tuple[Reason, ...]

    @property
    def kinds(self) -> set[str]:
        return {reason.kind for reason in self.why}

    @property
    def stopping(self) -> list[str]:
        return [reason.kind for reason in self.why if reason.stops]

    def text(self, kind: str) -> str:
        """What is said of the only trouble of this kind."""
        (found,) = [reason.text for reason in self.why if reason.kind == kind]
        return found


def look(client: Client, before: Seen | None = None) -> Seen:
    """As `status` looks, after it has looked ``before``."""
    earlier = before.overview if before is not None else None
    overview = overview_of(read(client, remembered(earlier)), earlier)
    return Seen(overview, reasons(overview))


def screen(seen: Seen, width: int = 80, height: int = 24, encoding: str = "utf-8") -> list[str]:
    """The lines on a terminal of that size."""
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(Screen(console, URL).draw(seen.overview, seen.why))
    return buffer.getvalue().decode(encoding).splitlines()


def declare(
    client: Client,
    report: RunReport | None = REPORT,
    tasks: int = 0,
    silence_s: float = 0.0,
    **changes: Any,
) -> Experiment:
    """A run with one open generation, whose head last beat ``silence_s`` ago."""
    experiment = msgspec.structs.replace(experiment_of(NOISE, GuardSpec()), **changes)
    uid = experiment.run_uid
    broker = HeadBroker(client, uid)
    broker.declare(encode(experiment))
    waiting = [Task(3, uid, 12, "0" * 32, i, i + 1, 0, i) for i in range(tasks)]
    broker.publish(12, b"generation", waiting, "12")
    if report is not None:
        client.set(keys.report(uid), encode_report(report))
    client.zadd(keys.RUNS, {uid: redis_time_s(client) - silence_s})
    return experiment


def machine(
    client: Client,
    *workers: WorkerBeat,
    host: str = "gpu1",
    version: str | None = None,
    silence_s: float = 0.0,
    last_error: str = "",
) -> str:
    """A machine that last beat ``silence_s`` ago; its name."""
    named = tuple(
        msgspec.structs.replace(beat, worker=f"{host}-99-{number}")
        for number, beat in enumerate(workers)
    )
    beat = Heartbeat(f"{host}-99", host, version or code_version(), named, last_error=last_error)
    return send(client, beat, silence_s)


def relay(client: Client, host: str = "gpu1", **facts: Any) -> str:
    """A relay of the head's Redis; its name."""
    beat = RelayBeat(upstream="redis://boss:6379/0", **facts)
    return send(client, Heartbeat(f"{host}-98-relay", host, code_version(), relay=beat))


def send(client: Client, beat: Heartbeat, silence_s: float = 0.0) -> str:
    heartbeat.send(client, beat)
    client.zadd(keys.MACHINES, {beat.machine: redis_time_s(client) - silence_s})
    return beat.machine


def worker(*, is_up: bool = True, **facts: Any) -> WorkerBeat:
    """One for `machine`, which gives it its name."""
    return WorkerBeat("worker", is_up, **facts)

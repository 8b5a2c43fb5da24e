"""Workers that sleep instead of simulating: many in one process, each its own client of Redis.

Started by `one_head.whole_fleet` as ``python -m one_head.workers SETTINGS REPORT``; ends, and
writes its report, when its standard input closes. Each worker has a connection of its own and says
what `fleet.machine.worker_broker` says: the records of the last task, which generations are open,
the next task, in one round trip; the run's crew every two seconds. Each machine says what a
supervisor says once a second. Only decoding a generation is shared: once in this process, not once
in each worker.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray
from one_head.schedule import Durations, Stay
from one_head.wire import Connection

from fleet import keys
from fleet.connection import BLOCK_S
from fleet.heartbeat import BEAT_S, LIFETIME_S, Heartbeat, WorkerBeat, encode_beat
from fleet.machine.worker_broker import UNREAD_S
from fleet.open_numbers import parse_numbers
from search.code_version import code_version
from search.messages import (
    MESSAGE_VERSION,
    Generation,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
    digest,
    encode,
)

_KEPT_GENERATIONS = 4
_FLUSH_S = 0.5
_JOIN_EVERY_S = 2.0
_STEPS_PER_S = 1000.0


class Machine(msgspec.Struct, frozen=True):
    """``num_workers`` workers at the Redis of ``url``, each ``slowness`` times as slow."""

    name: str
    url: str
    num_workers: int
    slowness: float = 1.0


class WorkerSettings(msgspec.Struct, frozen=True):
    """What one process of workers is started with.

    Attributes:
        durations: of the rollouts; ``None``: workers answer at once.
        keep_stays: whether the report tells each rollout's beginning and end.
    """

    run_uid: str
    machines: list[Machine]
    durations: Durations | None
    keep_stays: bool = False


class WorkerReport(msgspec.Struct):
    """What the workers have to say afterwards; times are of the system-wide monotonic clock.

    Attributes:
        num_batches: in how many pieces the records of each generation were sent.
        first_step_s: when the first worker began with each generation.
        last_sent_s: when the last records of each were sent.
        stays: who was busy with what, workers numbered through.
        cpu_s: of this process.
    """

    num_batches: dict[int, int] = {}
    first_step_s: dict[int, float] = {}
    last_sent_s: dict[int, float] = {}
    stays: list[Stay] = []
    cpu_s: float = 0.0


class Crew:
    """What the workers of this process share."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.report = WorkerReport()
        self._generations: dict[str, tuple[Generation, NDArray[Any] | None]] = {}

    def generation(self, data: bytes) -> tuple[Generation, NDArray[Any] | None]:
        """What ``data`` holds, and how long each of its rollouts takes."""
        name = digest(data)
        if name not in self._generations:
            generation = decode(data, Generation)
            durations = self.settings.durations
            durations_r = None
            if durations is not None:
                count = generation.num_rollouts
                durations_r = durations.of_generation(generation.number, count)
            while len(self._generations) >= _KEPT_GENERATIONS:
                del self._generations[next(iter(self._generations))]
            self._generations[name] = generation, durations_r
        return self._generations[name]


class SleepingWorker:
    """One worker; see `fleet.machine.run_service` for the one that works."""

    def __init__(self, crew: Crew, machine: Machine, index: int, number: int) -> None:
        self.name = f"{machine.name}-{index}"
        self.rollouts = self.env_steps = 0
        self._crew = crew
        self._machine = machine
        self._number = number
        self._uid = crew.settings.run_uid
        self._known: dict[str, tuple[Generation, NDArray[Any] | None]] = {}

    async def run(self) -> None:
        """Serve the run until cancelled."""
        self._redis = await Connection.to(self._machine.url)
        newest = -1
        batch: bytes | None = None
        joined_s = waiting_since_s = time.monotonic()
        await self._join()
        (listed,) = await self._redis.ask(("GET", keys.open_generations(self._uid)))
        try:
            while True:
                open_numbers = parse_numbers(listed)
                newest = max([newest, *open_numbers])
                numbers = sorted({*open_numbers, max(0, newest), newest + 1})
                task, listed = await self._exchange(batch, numbers)
                batch = None
                if task is not None:
                    newest = max(newest, task.number)
                    batch = await self._work(task, time.monotonic() - waiting_since_s)
                    waiting_since_s = time.monotonic()
                if time.monotonic() - joined_s > _JOIN_EVERY_S:
                    joined_s = time.monotonic()
                    await self._join()
        finally:
            self._redis.close()

    async def _join(self) -> None:
        ((seconds, _),) = await self._redis.ask(("TIME",))
        await self._redis.ask(
            ("ZADD", keys.crew(self._uid), int(seconds), self.name),
            ("EXPIRE", keys.crew(self._uid), UNREAD_S),
        )

    async def _exchange(
        self, batch: bytes | None, numbers: list[int]
    ) -> tuple[Task | None, bytes | None]:
        queues: list[str] = []
        for number in numbers:
            queues += [keys.reissues(self._uid, number), keys.tasks(self._uid, number)]
        commands: list[tuple[bytes | str | int | float, ...]] = []
        if batch is not None:
            commands += self._sending(batch)
        commands += [
            ("GET", keys.open_generations(self._uid)),
            ("BLPOP", *queues, BLOCK_S),
        ]
        *_, listed, popped = await self._redis.ask(*commands)
        return (decode(popped[1], Task) if popped is not None else None), listed

    def _sending(self, batch: bytes) -> list[tuple[bytes | str | int | float, ...]]:
        key = keys.records(self._uid)
        return [("RPUSH", key, batch), ("EXPIRE", key, UNREAD_S)]

    async def _work(self, task: Task, obtaining_s: float) -> bytes | None:
        if task.digest not in self._known:
            (data,) = await self._redis.ask(("GET", keys.generation(self._uid, task.number)))
            if data is None or digest(data) != task.digest:
                return None
            self._known = {task.digest: self._crew.generation(data)}
        _, durations_r = self._known[task.digest]
        report = self._crew.report
        report.first_step_s.setdefault(task.number, time.monotonic())
        if durations_r is None:
            return self._answer_at_once(task, obtaining_s)
        records: list[RolloutRecord] = []
        started_s = time.monotonic()
        for rollout in range(task.first, task.stop):
            begun_s = time.monotonic()
            duration_s = float(durations_r[rollout]) * self._machine.slowness
            await asyncio.sleep(duration_s)
            if self._crew.settings.keep_stays:
                # Waking up late is overhead, not work.
                stay = Stay(self._number, task.number, rollout, begun_s, begun_s + duration_s)
                report.stays.append(stay)
            records.append(self._record(task, rollout, duration_s))
            spent_s = time.monotonic() - started_s
            if spent_s > _FLUSH_S and rollout + 1 < task.stop:
                batch = self._batch(task, records, spent_s, obtaining_s)
                await self._redis.ask(*self._sending(batch))
                records, obtaining_s, started_s = [], 0.0, time.monotonic()
        return self._batch(task, records, time.monotonic() - started_s, obtaining_s)

    def _answer_at_once(self, task: Task, obtaining_s: float) -> bytes:
        started_s = time.monotonic()
        records = [
            RolloutRecord(rollout, task.attempt, "ok", 0, rollout % 97, 10)
            for rollout in range(task.first, task.stop)
        ]
        self.rollouts += len(records)
        self.env_steps += 10 * len(records)
        return self._batch(task, records, time.monotonic() - started_s, obtaining_s)

    def _record(self, task: Task, rollout: int, duration_s: float) -> RolloutRecord:
        length = int(duration_s / self._machine.slowness * _STEPS_PER_S)
        self.rollouts += 1
        self.env_steps += length
        return RolloutRecord(rollout, task.attempt, "ok", fitness=rollout % 97, length=length)

    def _batch(
        self, task: Task, records: list[RolloutRecord], evaluation_s: float, obtaining_s: float
    ) -> bytes:
        report = self._crew.report
        report.num_batches[task.number] = report.num_batches.get(task.number, 0) + 1
        report.last_sent_s[task.number] = time.monotonic()
        return encode(
            RecordBatch(
                MESSAGE_VERSION,
                self._uid,
                task.number,
                task.digest,
                self.name,
                tuple(records),
                evaluation_s=evaluation_s,
                obtaining_s=obtaining_s,
            )
        )


async def beat(machine: Machine, workers: list[SleepingWorker], run_uid: str) -> None:
    """Say once a second what the machine's supervisor would."""
    redis, version = await Connection.to(machine.url), code_version()
    while True:
        beats = tuple(
            WorkerBeat(worker.name, True, run_uid, worker.rollouts, worker.env_steps, rss_mb=100.0)
            for worker in workers
        )
        heartbeat = Heartbeat(machine.name, machine.name, version, beats)
        ((seconds, microseconds),) = await redis.ask(("TIME",))
        now_s = int(seconds) + int(microseconds) / 1e6
        await redis.ask(
            ("ZADD", keys.MACHINES, now_s, machine.name),
            ("SET", keys.machine(machine.name), encode_beat(heartbeat), "EX", LIFETIME_S),
            ("ZREMRANGEBYSCORE", keys.MACHINES, "-inf", now_s - LIFETIME_S),
        )
        await asyncio.sleep(BEAT_S)


async def serve(settings: WorkerSettings) -> WorkerReport:
    """Be all of these workers until standard input closes."""
    crew = Crew(settings)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(sys.stdin, stop.set)
    jobs: list[asyncio.Task[None]] = []
    number = 0
    for machine in settings.machines:
        workers = []
        for index in range(machine.num_workers):
            workers.append(SleepingWorker(crew, machine, index, number))
            number += 1
        jobs += [loop.create_task(worker.run()) for worker in workers]
        jobs.append(loop.create_task(beat(machine, workers, settings.run_uid)))
    stopping = loop.create_task(stop.wait())
    await asyncio.wait([stopping, *jobs], return_when=asyncio.FIRST_COMPLETED)
    failed = [job for job in jobs if job.done()]
    for job in [stopping, *jobs]:
        job.cancel()
    await asyncio.gather(stopping, *jobs, return_exceptions=True)
    for job in failed:
        job.result()
    crew.report.cpu_s = time.process_time()
    return crew.report


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerSettings)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(asyncio.run(serve(given))))

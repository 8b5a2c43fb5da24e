"""What a head's recorder notes of each generation: milestones, what was used, what steps took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
from numpy.typing import NDArray

from fleet.connection import Client
from search.protocol import PoolStatus


class Spent(msgspec.Struct):
    """What one of a generation's steps took: by the clock, and of the head's processor."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


class Traffic(msgspec.Struct, frozen=True):
    """Bytes through a Redis since it started, those of a watcher left out.

    Attributes:
        from_head, to_head: of the head's own connections.
        from_others, to_others: workers' or relays'.
    """

    from_head: int = 0
    to_head: int = 0
    from_others: int = 0
    to_others: int = 0


class Told(msgspec.Struct):
    """A generation's milestones on the system-wide monotonic clock, and what was used by then.

    Attributes:
        published_s: its tasks were in Redis.
        heard_s: its last record was in the head's hands.
        learnt_s: theta had moved.
        synced_s: that was on the disk.
        head_cpu_s, redis_cpu_s: user and system time of both processes since they started.
        traffic: through Redis, since it started.
        spent: by step, since the generation before was on the disk; see `STEPS`.
        journal_bytes, snapshot_bytes: length of the log, and of the last snapshot.
        peak_mb: most memory that the head ever had, the noise table left out.
    """

    published_s: float = 0.0
    heard_s: float = 0.0
    learnt_s: float = 0.0
    synced_s: float = 0.0
    head_cpu_s: float = 0.0
    redis_cpu_s: float = 0.0
    traffic: Traffic = Traffic()
    spent: dict[str, Spent] = {}
    journal_bytes: int = 0
    snapshot_bytes: int = 0
    peak_mb: float = 0.0
    reissued: int = 0


STEPS = ("ask", "publish", "collect", "tell", "journal", "snapshot")
"""Drawing candidates and encoding them; tasks and theta to Redis; records from there, and retiring
the generation; learning; the log, on the disk; the state as a whole, on the disk.
"""


class Diary:
    """A recorder that keeps the milestones.

    Args:
        num_generations: of the run.
        redis_pid: of its Redis server, whose processor time is told too.
        watcher: a client called "watcher" that asks that server what it has sent to whom;
            ``None``: nobody asks.
    """

    def __init__(self, num_generations: int, redis_pid: int, watcher: Client | None) -> None:
        self._redis = psutil.Process(redis_pid)
        self._client = watcher
        self.told = [Told() for _ in range(num_generations)]
        self._spent: dict[str, Spent] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What happens meanwhile is of this step."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        yield
        spent = self._spent.setdefault(name, Spent())
        spent.wall_s += time.perf_counter() - wall_s
        spent.cpu_s += time.process_time() - cpu_s

    def progress(self, number: int, done: int, total: int, status: PoolStatus) -> None:
        """Of `search.protocol.Recorder`."""
        self.told[number].reissued = status.reissued

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Of `search.protocol.Recorder`: what has been used."""
        told = self.told[number]
        told.head_cpu_s = time.process_time()
        used = self._redis.cpu_times()
        told.redis_cpu_s = used.user + used.system
        told.spent, self._spent = self._spent, {}
        told.peak_mb = peak_mb()
        if self._client is not None:
            told.traffic = traffic(self._client)

    def times(self, times: object) -> None:
        """Nothing to keep."""

    def checkpoint(
        self, number: int, arrays: Mapping[str, NDArray[Any]], *, is_best: bool, is_last: bool
    ) -> None:
        """Of `search.protocol.Recorder`."""

    def notice(self, line: str) -> None:
        """Of `search.protocol.Recorder`."""
        print(f"head: {line}", file=sys.stderr, flush=True)


def traffic(client: Client) -> Traffic:
    """What has gone through the server.

    One that does not tell what went to whom (Redis before 8, Valkey before 8) says it was all of
    others.
    """
    stats: Any = client.info("stats")
    listed: Any = client.client_list()
    came = {one["name"]: int(one.get("tot-net-in", 0)) for one in listed}
    went = {one["name"]: int(one.get("tot-net-out", 0)) for one in listed}
    return Traffic(
        came["head"],
        went["head"],
        int(stats["total_net_input_bytes"]) - came["watcher"] - came["head"],
        int(stats["total_net_output_bytes"]) - went["watcher"] - went["head"],
    )


def peak_mb() -> float:
    """Most memory of this process so far, in 10^6 bytes, but for what it shares: the noise table.

    0 where the system does not tell.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    peak_kb, shared_kb = (int(fields[name].split()[0]) for name in ("VmHWM", "RssShmem"))
    return (peak_kb - shared_kb) * 1024 / 1e6

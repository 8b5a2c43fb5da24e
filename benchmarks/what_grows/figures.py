"""What grows with what, as measured: the structure of ``growth.json``, which the pictures, the
tables and `scaling` are computed from.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from one_head.diary import STEPS, Told, Traffic

FIGURES = Path(__file__).with_name("growth.json")
WORKERS_A_MACHINE = 8


class Steps(msgspec.Struct, frozen=True):
    """A whole run on two cores: simulator steps per second by round, of so many workers."""

    num_workers: int
    steps_per_s: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.steps_per_s)


class Head(msgspec.Struct, frozen=True):
    """A head's generation, medians over several.

    Attributes:
        is_single: each rollout is a task of its own, as where one lasts longer than a task should;
            else the pool cuts spans for workers that answer at once.
        wall_s, cpu_s: by step of `one_head.diary.STEPS`, and of all else in ``rest``.
        redis_cpu_s: of its Redis.
        traffic: bytes through that, of one fetching of theta by each worker.
        journal_bytes: written to the log.
        snapshot_bytes: of one snapshot.
        peak_mb: most memory that the head ever had, the noise table left out.
    """

    num_parameters: int
    pop_size: int
    is_single: bool
    num_workers: int
    wall_s: dict[str, float]
    cpu_s: dict[str, float]
    redis_cpu_s: float
    traffic: Traffic
    journal_bytes: float
    snapshot_bytes: int
    peak_mb: float

    @property
    def busy_s(self) -> float:
        """Processor time of all but snapshots, which come every 30 s only."""
        return sum(seconds for step, seconds in self.cpu_s.items() if step != "snapshot")

    @property
    def serial_s(self) -> float:
        """From the last record to the next generation's tasks in Redis, no snapshot between."""
        return sum(self.wall_s[step] for step in ("tell", "journal", "ask", "publish", "rest"))


class Beats(msgspec.Struct, frozen=True):
    """What hearing so many machines (a supervisor of 8 workers and a relay each) takes, once."""

    num_machines: int
    num_bytes: int
    head_cpu_s: float
    redis_cpu_s: float


class Relaying(msgspec.Struct, frozen=True):
    """What a relay takes of processors.

    Attributes:
        idle_cpu_per_s: of its own, while its workers are at it for long.
        idle_redis_cpu_per_s: of the head's Redis in the meantime.
        cpu_per_rollout_s: of its own, for a rollout down and its record up, each by itself.
    """

    idle_cpu_per_s: float
    idle_redis_cpu_per_s: float
    cpu_per_rollout_s: float


class Memory(msgspec.Struct, frozen=True):
    """A role's memory, in 10^6 bytes.

    Attributes:
        uss_mb: its own alone: what a further one of it costs.
        pss_mb: and its part of what it shares, the noise table included.
    """

    role: str
    uss_mb: float
    pss_mb: float


class Connections(msgspec.Struct, frozen=True):
    """To the head's Redis, of one each."""

    head: int
    relay: int
    direct_worker: int
    direct_supervisor: int


class Growth(msgspec.Struct):
    """Everything, with the load that it was measured under."""

    steps: list[Steps] = []
    dimensions: list[Head] = []
    populations: list[Head] = []
    populations_at_once: list[Head] = []
    beats: list[Beats] = []
    relaying: Relaying | None = None
    memory: list[Memory] = []
    connections: Connections | None = None
    load: dict[str, float] = {}

    @property
    def is_complete(self) -> bool:
        """Whether all is there that `what_grows.scaling_model` computes from."""
        parts = self.dimensions, self.populations, self.beats, self.relaying, self.connections
        return all(parts)


def load(path: Path) -> Growth:
    """What has been measured so far; nothing where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Growth) if path.exists() else Growth()


def save(path: Path, growth: Growth) -> None:
    """Write it for people to read too."""
    data = msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(growth))), indent=1)
    path.write_bytes(data + b"\n")


def head_of(told: Sequence[Told], size: int, pop_size: int, workers: int, *, single: bool) -> Head:
    """Medians over all generations but the first, and the last snapshot."""
    wall_s: dict[str, float] = {}
    cpu_s: dict[str, float] = {}
    for step in STEPS:
        spent = [one.spent[step] for one in told[1:] if step in one.spent]
        wall_s[step] = statistics.median(one.wall_s for one in spent)
        cpu_s[step] = statistics.median(one.cpu_s for one in spent)
    pairs = list(itertools.pairwise(told))
    rest = [b.head_cpu_s - a.head_cpu_s - sum(s.cpu_s for s in b.spent.values()) for a, b in pairs]
    wall_s["rest"] = cpu_s["rest"] = max(0.0, statistics.median(rest))
    first, last, count = told[0], told[-1], len(told) - 1
    traffic = Traffic(
        *(
            round((getattr(last.traffic, way) - getattr(first.traffic, way)) / count)
            for way in Traffic.__struct_fields__
        )
    )
    return Head(
        size,
        pop_size,
        single,
        workers,
        wall_s,
        cpu_s,
        (last.redis_cpu_s - first.redis_cpu_s) / count,
        traffic,
        (last.journal_bytes - first.journal_bytes) / count,
        max(one.snapshot_bytes for one in told),
        max(one.peak_mb for one in told),
    )


def _rounded(value: object) -> object:
    """With four digits of each float: there are no more in it."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return value

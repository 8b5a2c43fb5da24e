"""Who was busy when: workers, or machines where there are many, by moments of the run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from tracking.reporting.worker_times import WorkerTimes

Array = NDArray[np.float64]

MOST_ROWS = 24


@dataclass(frozen=True)
class Lane:
    """A worker's, or a machine's, whole part of a run.

    Attributes:
        name: as short as tells it from the others.
        workers: how many worked in it.
        rollouts: answered and accepted.
        busy_s, waiting_s: summed over its workers.
    """

    name: str
    workers: int
    rollouts: int
    busy_s: float
    waiting_s: float

    @property
    def utilisation(self) -> float:
        """Share of its workers' time that went into rollouts."""
        total_s = self.busy_s + self.waiting_s
        return self.busy_s / total_s if total_s > 0 else 0.0


@dataclass(frozen=True)
class Lanes:
    """Lanes of a timeline, and which of its workers is in which.

    Attributes:
        kind: ``worker`` or ``machine``.
        lanes: those shown, in order.
        lane_w: of each worker its lane, -1 where it is not shown.
        left_out: how many are not shown.
    """

    kind: str
    lanes: tuple[Lane, ...]
    lane_w: NDArray[np.int64]
    left_out: int


def lanes_of(times: WorkerTimes) -> Lanes:
    """A lane for each worker; where they are more than `MOST_ROWS`, for each machine, unless there
    is only one; of more lanes than that, the half that had least to do and the half that had most.
    """
    kind, name_w = "worker", list(times.workers)
    machines = [name.rpartition("-")[0] or name for name in name_w]
    if len(name_w) > MOST_ROWS and len(set(machines)) > 1:
        kind, name_w = "machine", machines
    names = sorted(set(name_w), key=_natural)
    index = {name: number for number, name in enumerate(names)}
    key_w = np.array([index[name] for name in name_w])
    lanes = _sums(times, short_names(names), key_w, is_machine=kind == "machine")
    shown = list(range(len(lanes)))
    if len(lanes) > MOST_ROWS:
        by_use = sorted(shown, key=lambda number: (lanes[number].utilisation, lanes[number].name))
        half = MOST_ROWS // 2
        shown = by_use[:half] + by_use[-half:]
    place = np.full(len(lanes), -1)
    place[shown] = np.arange(len(shown))
    return Lanes(
        kind, tuple(lanes[n] for n in shown), place[key_w], left_out=len(lanes) - len(shown)
    )


def busy_grid(times: WorkerTimes, lanes: Lanes, num_columns: int) -> Array:
    """``(lanes, num_columns)``: share of its workers' time that a lane spent in rollouts, over
    equal stretches of the run's own clock. A part's time is spread over the generation, up to its
    last answer.
    """
    grid = np.zeros((len(lanes.lanes), num_columns))
    lane_p = lanes.lane_w[times.part_worker_p]
    is_shown = lane_p >= 0
    lane_p, busy_p = lane_p[is_shown], times.busy_p[is_shown]
    column_s = max(times.length_s, 1e-9) / num_columns
    start_p = times.on_clock(times.published_t)[times.part_generation_p[is_shown]] / column_s
    stop_p = times.on_clock(times.last_p[is_shown]) / column_s
    stop_p = np.maximum(stop_p, start_p + 1e-6)
    first_p = np.clip(start_p.astype(np.int64), 0, num_columns - 1)
    last_p = np.clip(stop_p.astype(np.int64), 0, num_columns - 1)
    for step in range(int((last_p - first_p).max(initial=0)) + 1):
        column_p = first_p + step
        overlap_p = np.minimum(stop_p, column_p + 1) - np.maximum(start_p, column_p)
        inside = (column_p <= last_p) & (overlap_p > 0)
        share_p = overlap_p[inside] / (stop_p - start_p)[inside]
        np.add.at(grid, (lane_p[inside], column_p[inside]), busy_p[inside] * share_p)
    workers = np.array([[lane.workers] for lane in lanes.lanes], dtype=float)
    clipped: Array = np.clip(grid / (workers * column_s), 0.0, 1.0)
    return clipped


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split("-")]


def short_names(names: list[str]) -> list[str]:
    """``names`` without what all of them begin with, cut between their parts.

    >>> short_names(["vm-29-6ffe-0", "vm-29-6ffe-1"]), short_names(["vm-29-6ffe-0"])
    (['0', '1'], ['vm-29-6ffe-0'])
    """
    if len(names) < 2:
        return names
    parts = [name.split("-") for name in names]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
    cut = min(len(list(shared)), min(map(len, parts)) - 1)
    return ["-".join(part[cut:]) for part in parts]


def _sums(
    times: WorkerTimes, names: list[str], key_w: NDArray[np.int64], *, is_machine: bool
) -> list[Lane]:
    key_p = key_w[times.part_worker_p]

    def total(values_p: Array) -> Array:
        return np.bincount(key_p, values_p, minlength=len(names)).astype(np.float64)

    rollouts, busy, waiting = map(total, (times.rollouts_p, times.busy_p, times.waiting_p))
    workers_l = np.bincount(key_w, minlength=len(names))
    if is_machine and len(times.workers) == len(names):
        workers_l = np.maximum(workers_l, _at_once(times, key_p, len(names)))
    return [
        Lane(name, int(workers_l[n]), int(rollouts[n]), float(busy[n]), float(waiting[n]))
        for n, name in enumerate(names)
    ]


def _at_once(times: WorkerTimes, key_p: NDArray[np.int64], num_lanes: int) -> NDArray[np.int64]:
    """How many workers each must have been, where the timeline names machines only: its seconds
    in a generation over the seconds that the generation took, the median over generations.
    """
    length_p = times.last_p - times.published_t[times.part_generation_p]
    at_once_p = (times.busy_p + times.waiting_p) / np.maximum(length_p, 1e-9)
    return np.array([round(np.median(at_once_p[key_p == n])) for n in range(num_lanes)])

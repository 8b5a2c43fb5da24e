"""A run's timeline, read line by line: who worked how long, when, and what failed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from errors import RunError
from search.timeline import GenerationTimes

Array = NDArray[np.float64]

_LEAST_PAUSE_S = 60.0
_PAUSE_IN_GENERATIONS = 5.0


@dataclass(frozen=True)
class Failure:
    """Rollouts that failed alike: how many, and in which generations first and last."""

    kind: str
    count: int
    first: int
    last: int


@dataclass(frozen=True)
class Pause:
    """A time in which nobody worked on the run, between two sessions for instance.

    Attributes:
        at_s: where on the run's own clock, which stands still meanwhile.
        length_s: how long it was.
    """

    at_s: float
    length_s: float


@dataclass(frozen=True)
class WorkerTimes:
    """The timeline as arrays: ``(T,)`` about generations, ``(P,)`` about workers' parts of them.

    Attributes:
        published_t, complete_t, told_t: Unix seconds, in order of publishing.
        part_worker_p: an index in ``workers``; ``part_generation_p``: one of the arrays above.
        rollouts_p, busy_p, waiting_p: of a part; seconds.
        last_p: Unix seconds at which its last answer came.
        failures: most frequent first.
        left_out: lines that hold no generation of their own: damaged, or written again.
    """

    published_t: Array
    complete_t: Array
    told_t: Array
    workers: tuple[str, ...]
    part_worker_p: NDArray[np.int64]
    part_generation_p: NDArray[np.int64]
    rollouts_p: Array
    busy_p: Array
    waiting_p: Array
    last_p: Array
    failures: tuple[Failure, ...]
    left_out: int

    @cached_property
    def pauses(self) -> tuple[Pause, ...]:
        """Where the run stood still for a minute or more, and for several generations' time."""
        if len(self.published_t) < 2:
            return ()
        generation_s = float(np.median(self.told_t - self.published_t))
        least_s = max(_LEAST_PAUSE_S, _PAUSE_IN_GENERATIONS * generation_s)
        until_t = np.maximum.accumulate(self.told_t)[:-1]
        gaps_t = self.published_t[1:] - until_t
        found, before_s = [], float(self.published_t[0])
        for index in np.flatnonzero(gaps_t >= least_s):
            found.append(Pause(float(until_t[index]) - before_s, float(gaps_t[index])))
            before_s += float(gaps_t[index])
        return tuple(found)

    @property
    def length_s(self) -> float:
        """From the first generation's beginning to the last one's end, pauses left out."""
        return float(self.on_clock(np.array([self.told_t.max()]))[0])

    def on_clock(self, unix_s: Array) -> Array:
        """Seconds on the run's own clock, which stands still in `pauses`."""
        clock_s = unix_s - self.published_t[0]
        passed_s: Array = clock_s.copy()
        before_s = 0.0
        for pause in self.pauses:
            into_s = clock_s - (pause.at_s + before_s)
            passed_s -= np.clip(into_s, 0.0, pause.length_s)
            before_s += pause.length_s
        return passed_s


def read_worker_times(path: Path) -> WorkerTimes | None:
    """The timeline in ``path``; ``None`` where there is none, or nothing in it.

    Raises:
        RunError: it is there, and cannot be read.
    """
    try:
        last_line, num_lines = _last_lines(path)
        return _gather(path, last_line, num_lines) if last_line else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error})") from None


def _lines(path: Path) -> Iterator[tuple[int, GenerationTimes | None]]:
    decode = msgspec.json.Decoder(GenerationTimes).decode
    with path.open("rb") as file:
        for index, line in enumerate(file):
            if not line.strip():
                continue
            try:
                yield index, decode(line)
            except msgspec.MsgspecError:
                yield index, None


def _last_lines(path: Path) -> tuple[dict[int, int], int]:
    """Of each generation the line that counts, and how many lines there are."""
    last: dict[int, int] = {}
    num_lines = 0
    for index, times in _lines(path):
        num_lines += 1
        if times is not None:
            last[times.number] = index
    return last, num_lines


def _gather(path: Path, last_line: Mapping[int, int], num_lines: int) -> WorkerTimes:
    moments = array("d")
    parts = array("d")
    workers: dict[str, int] = {}
    failures: dict[str, Failure] = {}
    num_generations = 0
    for index, times in _lines(path):
        if times is None or last_line[times.number] != index:
            continue
        moments.extend((times.published_s, times.complete_s, times.told_s))
        for share in times.shares:
            worker = workers.setdefault(share.worker, len(workers))
            parts.extend((worker, num_generations, share.rollouts))
            parts.extend((share.busy_s, share.waiting_s, share.last_s))
        for kind, count in times.failures.items():
            failures[kind] = _failed_too(failures.get(kind), kind, count, times.number)
        num_generations += 1
    published_t, complete_t, told_t = np.frombuffer(moments).reshape(-1, 3).T
    order = np.argsort(published_t, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    parts_p6 = np.frombuffer(parts).reshape(-1, 6)
    return WorkerTimes(
        published_t=published_t[order],
        complete_t=complete_t[order],
        told_t=told_t[order],
        workers=tuple(workers),
        part_worker_p=parts_p6[:, 0].astype(np.int64),
        part_generation_p=place[parts_p6[:, 1].astype(np.int64)],
        rollouts_p=parts_p6[:, 2],
        busy_p=parts_p6[:, 3],
        waiting_p=parts_p6[:, 4],
        last_p=parts_p6[:, 5],
        failures=tuple(sorted(failures.values(), key=lambda failure: -failure.count)),
        left_out=num_lines - num_generations,
    )


def _failed_too(before: Failure | None, kind: str, count: int, number: int) -> Failure:
    """``before`` and ``count`` more of its kind in generation ``number``."""
    if before is None:
        return Failure(kind, count, number, number)
    first, last = min(before.first, number), max(before.last, number)
    return Failure(kind, before.count + count, first, last)

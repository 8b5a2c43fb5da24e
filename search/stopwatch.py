"""Times the open generations: when published, when each answer came, when complete and told."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from search.messages import RecordBatch, RolloutRecord
from search.open_generation import OpenGeneration
from search.timeline import GenerationTimes, WorkerShare

MAX_WORKERS = 512
_NUMBER = re.compile(r"\d[\d.,]*")
_MAX_KIND_CHARS = 60


class Stopwatch:
    """One for a run's session.

    Args:
        clock: monotonic seconds, by which everything is measured.
        wall_clock: Unix seconds, asked once: a clock that is set right in mid-run moves nothing.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float] = time.time):
        self._clock = clock
        self._unix_offset_s = wall_clock() - clock()
        self._published_s: dict[int, float] = {}
        self._came_s: dict[int, list[float]] = {}
        self._complete_s: dict[int, float] = {}

    def published(self, opened: OpenGeneration) -> None:
        """``opened`` is handed to the pool; what it has from an earlier session came just now."""
        number, now_s = opened.generation.number, self._now_s()
        self._published_s[number] = now_s
        self._came_s[number] = [now_s] * len(opened.batches)

    def came(self, number: int) -> None:
        """A batch of generation ``number`` was taken."""
        self._came_s[number].append(self._now_s())

    def completed(self, number: int) -> float:
        """The last answer is in; seconds since it was published."""
        self._complete_s[number] = self._now_s()
        return self._complete_s[number] - self._published_s[number]

    def told(self, opened: OpenGeneration, number: int) -> GenerationTimes:
        """Its times, for the generation that people know by ``number``; they are forgotten here."""
        own_number = opened.generation.number
        return GenerationTimes(
            number,
            self._published_s.pop(own_number),
            self._complete_s.pop(own_number),
            self._now_s(),
            shares_of(opened.batches, self._came_s.pop(own_number)),
            failures_by_kind(opened.failures),
        )

    def _now_s(self) -> float:
        return self._unix_offset_s + self._clock()


def shares_of(batches: Sequence[RecordBatch], came_s: Sequence[float]) -> tuple[WorkerShare, ...]:
    """What each worker did, from its ``batches`` and when each came, in Unix seconds."""
    names = {batch.worker for batch in batches}
    by_machine = len(names) > MAX_WORKERS
    found: dict[str, WorkerShare] = {}
    for batch, last_s in zip(batches, came_s, strict=True):
        name = batch.worker.rpartition("-")[0] if by_machine else batch.worker
        before = found.get(name) or WorkerShare(name, 0, 0.0, 0.0, 0.0)
        found[name] = WorkerShare(
            name,
            before.rollouts + len(batch.records),
            before.busy_s + batch.evaluation_s,
            before.waiting_s + batch.obtaining_s,
            max(before.last_s, last_s),
        )
    return tuple(found[name] for name in sorted(found))


def failures_by_kind(failed: Iterable[RolloutRecord]) -> dict[str, int]:
    """How many failed of what."""
    return dict(Counter(kind_of(record.error) for record in failed).most_common())


def kind_of(error: str) -> str:
    """What errors of one kind have in common: what stands before the colon, numbers left out."""
    kind = _NUMBER.sub("N", error.partition(":")[0]).strip()
    return kind[:_MAX_KIND_CHARS] or "unknown"

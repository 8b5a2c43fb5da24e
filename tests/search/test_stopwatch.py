from __future__ import annotations

import pytest

from search.messages import (
    MESSAGE_VERSION,
    Generation,
    Genomes,
    RecordBatch,
    RolloutRecord,
    SeedRule,
)
from search.open_generation import OpenGeneration
from search.stopwatch import MAX_WORKERS, Stopwatch, kind_of, shares_of

UID = "ab" * 16


def opened(number: int = 3) -> OpenGeneration:
    import numpy as np

    theta = np.zeros(2, dtype=np.float32)
    candidates = Genomes.of(theta, np.zeros((4, 2), dtype=np.float32))
    generation = Generation(
        version=MESSAGE_VERSION,
        run_uid=UID,
        number=number,
        candidates=candidates,
        num_episodes=1,
        num_validation=0,
        seeds=SeedRule(1),
    )
    return OpenGeneration(generation)


def batch(
    of: OpenGeneration,
    worker: str,
    *rollouts: int,
    busy_s: float,
    waiting_s: float,
    error: str = "",
) -> RecordBatch:
    status = "failed" if error else "ok"
    records = tuple(RolloutRecord(r, 0, status, error=error) for r in rollouts)  # type: ignore[arg-type]
    return RecordBatch(
        MESSAGE_VERSION, UID, of.generation.number, of.digest, worker, records, busy_s, waiting_s
    )


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_generation_is_told_by_whom_it_was_computed_and_when() -> None:
    clock = Clock()
    watch = Stopwatch(clock, wall_clock=lambda: 5000.0)
    generation = opened()
    watch.published(generation)
    for now_s, worker, rollouts in (
        (1002.0, "b-1", (0, 1)),
        (1003.0, "a-0", (2,)),
        (1007.0, "b-1", (3,)),
    ):
        clock.now_s = now_s
        generation.add(batch(generation, worker, *rollouts, busy_s=1.5, waiting_s=0.25))
        watch.came(3)
    clock.now_s = 1008.0
    assert watch.completed(3) == 8.0
    clock.now_s = 1008.5
    times = watch.told(generation, 7)
    assert (times.number, times.published_s, times.complete_s, times.told_s) == (
        7,
        5000.0,
        5008.0,
        5008.5,
    )
    first, second = times.shares
    assert (first.worker, first.rollouts, first.busy_s, first.last_s) == ("a-0", 1, 1.5, 5003.0)
    assert (second.worker, second.rollouts, second.waiting_s) == ("b-1", 3, 0.5)
    assert second.last_s == 5007.0
    assert times.busy_s == 4.5


def test_what_came_before_a_resume_came_when_the_session_began() -> None:
    clock = Clock()
    watch = Stopwatch(clock, wall_clock=lambda: 5000.0)
    generation = opened()
    generation.add(batch(generation, "a-0", 0, 1, 2, 3, busy_s=1.0, waiting_s=0.0))
    clock.now_s += 2.0
    watch.published(generation)
    watch.completed(3)
    assert watch.told(generation, 3).shares[0].last_s == 5002.0


def test_failures_are_counted_by_kind_without_their_numbers() -> None:
    generation = opened()
    watch = Stopwatch(Clock(), wall_clock=lambda: 0.0)
    watch.published(generation)
    for rollout, error in enumerate(
        (
            "took longer than rollout_timeout_s=600",
            "took longer than rollout_timeout_s=5",
            "ValueError: x",
            "",
        )
    ):
        generation.add(batch(generation, "a-0", rollout, busy_s=1.0, waiting_s=0.0, error=error))
        watch.came(3)
    watch.completed(3)
    times = watch.told(generation, 3)
    assert times.failures == {"took longer than rollout_timeout_s=N": 2, "ValueError": 1}


@pytest.mark.parametrize(
    ("error", "kind"), [("", "unknown"), (": x", "unknown"), ("a 1.5 b: c", "a N b")]
)
def test_kinds_of_odd_errors(error: str, kind: str) -> None:
    assert kind_of(error) == kind


def test_very_many_workers_are_told_by_machine() -> None:
    generation = opened()
    many = [
        batch(generation, f"host-{n % 3}-{n}", 0, busy_s=1.0, waiting_s=0.0)
        for n in range(MAX_WORKERS + 1)
    ]
    shares = shares_of(many, [0.0] * len(many))
    assert [share.worker for share in shares] == ["host-0", "host-1", "host-2"]
    assert sum(share.busy_s for share in shares) == MAX_WORKERS + 1

"""A run's counters, which only accepted records may move."""

from __future__ import annotations

import msgspec

from search.open_generation import OpenGeneration


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts since the beginning of the run, over every session of it.

    Attributes:
        generations: generations told.
        rollouts, env_steps, failed: training and validation rollouts.
        host_failures: failures that another machine might not have had; a run with none is
            reproducible to the bit.
        reissued, lost: copies handed out again, and copies whose worker died.
        wall_s: seconds spent in the loop.
        best_candidate: best mean fitness of a candidate.
        current: latest validation fitness of theta.
        best_current, best_generation: best validation fitness of theta, and in which generation,
            counted as they were told.
    """

    generations: int = 0
    rollouts: int = 0
    env_steps: int = 0
    failed: int = 0
    host_failures: int = 0
    reissued: int = 0
    lost: int = 0
    wall_s: float = 0.0
    best_candidate: float | None = None
    current: float | None = None
    best_current: float | None = None
    best_generation: int | None = None


def totals_after(
    before: Totals, opened: OpenGeneration, *, reissued: int, lost: int, wall_s: float
) -> Totals:
    """``before`` and a complete generation together; the keywords are the run's new totals."""
    records = opened.records
    candidates_c = opened.candidate_means_c()
    validation_v = opened.validation_v()
    current = float(validation_v.mean()) if len(validation_v) else before.current
    is_best = len(validation_v) > 0 and _better(current, before.best_current)
    best_candidate = float(candidates_c.max()) if len(candidates_c) else None
    return Totals(
        generations=before.generations + 1,
        rollouts=before.rollouts + len(records),
        env_steps=before.env_steps + sum(record.length for record in records),
        failed=before.failed + sum(record.status == "failed" for record in records),
        host_failures=before.host_failures + sum(record.host_failure for record in records),
        reissued=reissued,
        lost=lost,
        wall_s=wall_s,
        best_candidate=best_candidate
        if _better(best_candidate, before.best_candidate)
        else before.best_candidate,
        current=current,
        best_current=current if is_best else before.best_current,
        best_generation=before.generations if is_best else before.best_generation,
    )


def _better(value: float | None, than: float | None) -> bool:
    return value is not None and (than is None or value > than)

"""A run's counters, which only accepted records may move."""

from __future__ import annotations

import msgspec


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
        best_current, best_generation: best validation fitness of theta, and in which generation.
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
    best_current: float | None = None
    best_generation: int | None = None

"""How much work a relay asks for: by who is idle and by time, never by a fixed count."""

from __future__ import annotations

import itertools

LEAD_S = 0.2
"""Work held beyond idle workers. One rollout a worker would cost a fleet a fifth, simulated."""


def rollouts_wanted(
    *, idle: int, queued: int, num_workers: int, rollout_s: float | None, lead_s: float = LEAD_S
) -> int:
    """Rollouts to fetch now.

    Args:
        idle: workers that wait for work at this moment.
        queued: rollouts at hand that nobody has begun.
        num_workers: all of them.
        rollout_s: what one lasts here; ``None`` before any was measured.
        lead_s: work to hold beyond idle workers, where a rollout lasts less than that.
    """
    lead = 0
    if rollout_s is not None and rollout_s < lead_s:
        lead = int(num_workers * lead_s / max(rollout_s, 1e-6))
    return max(0, idle + lead - queued)


def pieces(first: int, stop: int, idle: int) -> list[tuple[int, int]]:
    """A range of rollouts cut so that ``idle`` workers have one each, as equal as can be."""
    parts = max(1, min(stop - first, idle))
    bounds = [first + (stop - first) * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(bounds))

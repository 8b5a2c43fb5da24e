"""How long rollouts take here, measured: what a task should hold, and when a copy is overdue."""

from __future__ import annotations

import math
from collections import deque

from search.messages import RecordBatch

ENOUGH = 20
# Below this, a machine that swaps or a laptop's lid would count as a death.
LEAST_PATIENCE_S = 5.0
_REMEMBERED = 1000
_LONGEST_S = 1e6


class Pace:
    """Measurements of the last rollouts.

    Args:
        min_task_runtime_s: a task's rollouts together last about this long, where they are short.
        rollout_timeout_s: no rollout takes longer.
    """

    def __init__(self, min_task_runtime_s: float, rollout_timeout_s: float) -> None:
        self._min_task_runtime_s = min_task_runtime_s
        self._timeout_s = rollout_timeout_s
        self._rollout_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._step_s: deque[float] = deque(maxlen=_REMEMBERED)

    def measure(self, batch: RecordBatch) -> None:
        """Learn from a batch, where it says how long it took."""
        if not 0 < batch.evaluation_s < _LONGEST_S:
            return
        steps = sum(record.length for record in batch.records if record.status == "ok")
        if steps:
            self._rollout_s.append(batch.evaluation_s / len(batch.records))
            self._step_s.append(batch.evaluation_s / steps)

    @property
    def mean_s(self) -> float:
        """What a rollout takes; no end of it before one was measured."""
        if not self._rollout_s:
            return math.inf
        return math.fsum(self._rollout_s) / len(self._rollout_s)

    def max_span(self) -> int:
        """Rollouts in one task at most."""
        if not self._rollout_s:
            return 1
        return max(1, int(self._min_task_runtime_s / max(self.mean_s, 1e-6)))

    def patience_s(self, max_steps: int | None) -> float:
        """How long a copy may take: ``max_steps`` of the slowest step of a hundred, in each rollout
        of its task; the guard's limit where too little is known.
        """
        if len(self._step_s) < ENOUGH or max_steps is None:
            return self._timeout_s
        slow_step_s = sorted(self._step_s)[int(0.99 * len(self._step_s))]
        needed_s = slow_step_s * max_steps * self.max_span()
        return min(self._timeout_s, max(LEAST_PATIENCE_S, needed_s))

"""When a process has done enough and should make way for a fresh one."""

from __future__ import annotations

import psutil

from search.messages import GuardSpec

_MB = 2**20


class Wear:
    """One process's rollouts and memory, against what its run allows.

    Args:
        spec: the run's limits.
        pid: the process; ``None`` for this one.
    """

    def __init__(self, spec: GuardSpec, pid: int | None = None) -> None:
        self._spec = spec
        self._process = psutil.Process(pid)
        self._first_mb: float | None = None

    def is_worn(self, rollouts: int) -> bool:
        """Whether the process should be replaced; to be asked after each of its ``rollouts``.

        Memory counts from its first rollout on: what an environment loads once is not growth.
        """
        if rollouts >= self._spec.max_rollouts_per_process:
            return True
        own_mb = self._own_mb()
        if self._first_mb is None:
            self._first_mb = own_mb
        return own_mb - self._first_mb > self._spec.max_rss_mb

    def _own_mb(self) -> float:
        """Resident memory without what it shares: a noise table fills it row by row, and a fresh
        process would have just as much of that.
        """
        try:
            memory = self._process.memory_info()
        except psutil.Error:  # it has just died, which others will notice
            return 0.0
        resident: int = memory.rss - getattr(memory, "shared", 0)
        return resident / _MB

"""Where a generation's time went: who computed how long, who waited, and what failed of what.

Data alone, which whoever writes it down and whoever reads it share; `search.stopwatch` fills it in.
"""

from __future__ import annotations

import msgspec


class WorkerShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One worker's part of a generation.

    Attributes:
        worker: its id; of the machine's workers together where there are very many.
        rollouts: answered by it and accepted.
        busy_s, waiting_s: in its rollouts, and for its tasks before.
        last_s: Unix seconds at which the head took its last answer.
    """

    worker: str
    rollouts: int
    busy_s: float
    waiting_s: float
    last_s: float


class GenerationTimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One generation on the clock. Times are Unix seconds.

    Attributes:
        number: as in the metrics.
        published_s: handed to the pool.
        complete_s: the last answer came.
        told_s: the search has learnt from it.
        shares: of each worker with an accepted answer, by name.
        failures: failed training rollouts by kind.
    """

    number: int
    published_s: float
    complete_s: float
    told_s: float
    shares: tuple[WorkerShare, ...]
    failures: dict[str, int] = {}

    @property
    def num_workers(self) -> int:
        return len(self.shares)

    @property
    def busy_s(self) -> float:
        """Of all workers together."""
        return sum(share.busy_s for share in self.shares)

"""What a cluster on AWS has cost, counted by its head while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from cluster.store import PROGRESS_KEY, Progress, Store

COUNT_EVERY_S = 60.0


class Paid(NamedTuple):
    """A machine that is paid for.

    Attributes:
        since_s: when it was started, seconds since 1970.
        usd_per_hour: all that it costs.
    """

    since_s: float
    usd_per_hour: float


class CostMeter:
    """Adds up what machines cost that are there when it looks, once a minute.

    A machine that comes and goes between two looks is missed, and one that goes is counted to the
    last look that saw it: a minute's error for each. A head that takes over goes on with what its
    predecessor counted, and pays in full for the time in between.

    Args:
        machines: those of the cluster, now.
        store: where the head's progress is.
        clock: seconds since 1970.

    Attributes:
        usd_per_hour: of the machines that were there at the last look; 0 before the first.
    """

    def __init__(
        self,
        machines: Callable[[], Iterable[Paid]],
        store: Store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._machines = machines
        self._store = store
        self._clock = clock
        self._usd: float | None = None
        self._counted_s = 0.0
        self.usd_per_hour = 0.0

    def usd(self) -> float:
        """USD so far, estimated.

        Raises:
            ServiceUnavailable: nobody tells what machines there are.
        """
        now_s = self._clock()
        if self._usd is None:
            self._usd, self._counted_s = self._before()
        elif now_s - self._counted_s < COUNT_EVERY_S:
            return self._usd
        machines = list(self._machines())
        for machine in machines:
            paid_s = now_s - max(self._counted_s, machine.since_s)
            self._usd += machine.usd_per_hour * max(0.0, paid_s) / 3600
        self._counted_s = now_s
        self.usd_per_hour = sum(machine.usd_per_hour for machine in machines)
        return self._usd

    def _before(self) -> tuple[float, float]:
        """What an earlier head counted, and when; 0 at the beginning of time."""
        data = self._store.get(PROGRESS_KEY)
        if data is None:
            return 0.0, 0.0
        progress = msgspec.json.decode(data, type=Progress)
        return (0.0, 0.0) if progress.usd is None else (progress.usd, progress.time_s)

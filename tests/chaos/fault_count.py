"""What was broken, by kind, and only what was broken while work was in flight."""

from __future__ import annotations

import threading
from collections import Counter

KILLS = ("worker", "relay", "supervisor", "local redis", "head's redis", "head")
WIRES = ("cut", "silent", "delayed", "throttled", "reset in mid-message")
RECORDS = ("duplicated", "reordered", "stale", "malformed")


class FaultCount:
    """Counts of each kind in ``kinds``; any thread may add to them."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.kinds = kinds
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str) -> None:
        assert kind in self.kinds, kind
        with self._lock:
            self._counts[kind] += 1

    def __getitem__(self, kind: str) -> int:
        with self._lock:
            return self._counts[kind]

    @property
    def total(self) -> int:
        with self._lock:
            return self._counts.total()

    def missing(self, least: int) -> dict[str, int]:
        """Kinds that happened fewer than ``least`` times, and how often they did."""
        return {kind: self[kind] for kind in self.kinds if self[kind] < least}

    def table(self) -> str:
        """For people."""
        lines = [f"{kind:<22}{self[kind]:>5}" for kind in self.kinds]
        return "\n".join([f"{'fault':<22}{'count':>5}", *lines, f"{'all':<22}{self.total:>5}"])

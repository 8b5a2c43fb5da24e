"""What a head has counted since it started."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from fleet.ledger import Ledger
from search.messages import RecordBatch

_RATE_OVER_S = 10.0


class LedgerCounts(NamedTuple):
    """A ledger's own counts, or those of several together; see `fleet.ledger.Ledger`."""

    reissued: int = 0
    lost: int = 0
    duplicates: int = 0
    failed: int = 0
    audited: int = 0
    disagreed: int = 0
    unaudited: int = 0

    def plus(self, ledger: Ledger) -> LedgerCounts:
        """With those of ``ledger``."""
        return LedgerCounts(
            self.reissued + ledger.reissued,
            self.lost + ledger.lost,
            self.duplicates + ledger.duplicates,
            self.failed + ledger.failed,
            self.audited + ledger.audited,
            self.disagreed + ledger.disagreed,
            self.unaudited + ledger.unaudited,
        )


class Tally:
    """Counts over all generations, open and closed.

    Attributes:
        rollouts, env_steps: accepted.
        failed: final failures among them; first_error: what the first of them said.
        refused: messages that were none.
        stale: batches for generations that are not open.
        outvoted: how often each machine was, in audits.
    """

    def __init__(self) -> None:
        self.rollouts = self.env_steps = self.failed = 0
        self.first_error = ""
        self.refused = self.stale = 0
        self.outvoted: Counter[str] = Counter()
        self._closed = LedgerCounts()
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, batch: RecordBatch) -> None:
        """Count an accepted batch."""
        for record in batch.records:
            self.env_steps += record.length
            if record.status != "ok":
                self.failed += 1
                self.first_error = self.first_error or record.error
        self.rollouts += len(batch.records)

    def close(self, ledger: Ledger) -> None:
        """Remember what ``ledger`` has counted."""
        self._closed = self._closed.plus(ledger)

    def counts(self, ledgers: Sequence[Ledger]) -> LedgerCounts:
        """Of the closed ones, and of these that are open."""
        counts = self._closed
        for ledger in ledgers:
            counts = counts.plus(ledger)
        return counts

    def rate(self, now_s: float) -> float:
        """Rollouts accepted a second, over the last seconds; call it about every second."""
        self._samples.append((now_s, self.rollouts))
        while now_s - self._samples[0][0] > _RATE_OVER_S:
            self._samples.popleft()
        then_s, then = self._samples[0]
        return (self.rollouts - then) / (now_s - then_s) if now_s > then_s else 0.0

"""What a head has counted since it started, and says of it every second."""

from __future__ import annotations

import os
import socket
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from fleet.figures import harmless
from fleet.head.audit import Disagreement
from fleet.head.ledger import Ledger
from fleet.run_report import RunReport
from search.messages import Experiment, RecordBatch

_RATE_OVER_S = 10.0
_ENOUGH_FAILURES = 3


class LedgerCounts(NamedTuple):
    """A ledger's own counts, or those of several together; see `fleet.head.ledger.Ledger`."""

    reissued: int = 0
    lost: int = 0
    duplicates: int = 0
    failed: int = 0
    mended: int = 0
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
            self.mended + ledger.mended,
            self.audited + ledger.audited,
            self.disagreed + ledger.disagreed,
            self.unaudited + ledger.unaudited,
        )


class Tally:
    """Counts over all generations, open and closed.

    Attributes:
        rollouts, env_steps: accepted; a rollout that was mended is among them twice.
        failed: final failures among them; first_error: what the first of them said.
        refused: messages that were none, and records that nobody can have.
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

    def outvote(self, number: int, found: Disagreement) -> str:
        """Count who was outvoted in generation ``number``; a line about it, or nothing: of each
        machine the first time, and then ever less often.
        """
        self.outvoted.update(found.outvoted)
        times = [self.outvoted[machine] for machine in found.outvoted]
        if not any(count.bit_count() == 1 for count in times):
            return ""
        believed = " and ".join(found.believed) or "each other, and nobody agrees with any"
        return (
            f"audit: in rollout {found.rollout} of generation {number}, "
            f"{' and '.join(found.outvoted)} differs from {believed} ({max(times)} times so far): "
            "look for a fault there, or for somebody who lies"
        )

    def hopeless(self, ledgers: Sequence[Ledger]) -> str:
        """That every attempt fails, where that is so; also while things move."""
        failed = self.counts(ledgers).failed
        if self.rollouts > self.failed or failed < _ENOUGH_FAILURES:
            return ""
        error = harmless(self._first_error(ledgers)) or "no word"
        return f"all {failed} attempts at rollouts have failed so far, the first with: {error}"

    def report(
        self,
        experiment: Experiment,
        ledgers: Sequence[Ledger],
        *,
        generation: int,
        oldest: Ledger | None,
        open_numbers: Sequence[int],
        note: str,
        now_s: float,
    ) -> RunReport:
        """All of it, for people who look from elsewhere; see `RunReport`.

        Args:
            ledgers: of the open generations; oldest: of the oldest of them.
        """
        counts = self.counts(ledgers)
        return RunReport(
            run_id=harmless(experiment.run_id),
            env=harmless(experiment.env.name),
            host=harmless(socket.gethostname()),
            pid=os.getpid(),
            generation=generation,
            done=oldest.num_done if oldest is not None else 0,
            total=oldest.num_rollouts if oldest is not None else 0,
            open_numbers=tuple(open_numbers),
            rollouts=self.rollouts - counts.mended,
            env_steps=self.env_steps,
            rollouts_per_s=self.rate(now_s),
            failed=self.failed - counts.mended,
            first_error=harmless(self._first_error(ledgers)),
            reissued=counts.reissued,
            lost=counts.lost,
            duplicates=counts.duplicates + self.stale,
            refused=self.refused,
            audited=counts.audited,
            disagreed=counts.disagreed,
            unaudited=counts.unaudited,
            note=harmless(note),
        )

    def _first_error(self, ledgers: Sequence[Ledger]) -> str:
        """Of a final failure, else of any attempt."""
        errors = [self.first_error, *(ledger.first_error for ledger in ledgers)]
        return next((error for error in errors if error), "")

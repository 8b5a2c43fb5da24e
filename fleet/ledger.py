"""Which rollout is where: one generation's bookkeeping, shared by all pools.

Pure: time is an argument, nothing is sent. A rollout is *unanswered* until it is `ok` or finally
`failed`; a copy of it is handed out as part of a `Span`. Whatever order answers, deaths and
duplicates come in, each rollout gets one final answer (an `ok` may follow a final `failed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from search.messages import MAX_ERROR_CHARS, RecordBatch, RolloutRecord

MAX_ATTEMPTS = 2


class Span(NamedTuple):
    """Rollouts ``first`` to ``stop - 1``, handed out together as ``attempt``.

    ``copy`` is different each time something is handed out, so that a loss that is reported twice
    is counted once.
    """

    first: int
    stop: int
    attempt: int
    copy: int


class _Copies:
    """An unanswered rollout's copies: which may still answer, which were lost, which failed."""

    __slots__ = ("due_s", "failed_attempts", "live", "lost", "patience")

    def __init__(self) -> None:
        self.live: set[int] = set()
        self.lost: set[int] = set()
        self.failed_attempts: set[int] = set()
        self.due_s = float("inf")
        self.patience = 1.0

    @property
    def attempt(self) -> int:
        """The first that has not failed yet."""
        return next(a for a in range(MAX_ATTEMPTS) if a not in self.failed_attempts)


class Ledger:
    """The rollouts of one generation.

    Args:
        num_rollouts: C*E + V.
        num_training: C*E; ranges never reach across it, so that validation comes last.
        known: rollouts that already have their answer.
        max_losses: how often a rollout may be lost before that is its answer.
        first_copy: where copies are numbered from; a head that resumes takes another than the one
            before it, so that losses of that one's copies are not taken for its own.
    """

    def __init__(
        self,
        num_rollouts: int,
        num_training: int,
        known: Iterable[int] = (),
        max_losses: int = 8,
        first_copy: int = 1,
    ) -> None:
        self._num_training = num_training
        self._max_losses = max_losses
        already = set(known)
        self._unanswered = {r: _Copies() for r in range(num_rollouts) if r not in already}
        self._failed: set[int] = set()
        self._reissues: list[Span] = []
        self._first_copy = self._next_copy = first_copy
        self.reissued = 0
        self.lost = 0
        self.duplicates = 0

    @property
    def num_unanswered(self) -> int:
        return len(self._unanswered)

    def plan(self, num_workers: int, max_span: int) -> list[Span]:
        """Hand out every unanswered rollout: long spans first, single ones at the end.

        Guided self-scheduling (Polychronopoulos and Kuck 1987): each span is the remaining work
        over twice the workers, at most ``max_span``. Whatever was handed out before, and not
        answered yet, is taken to be lost without a word.
        """
        self._reissues.clear()
        spans: list[Span] = []
        remaining = len(self._unanswered)
        for first, stop in _runs(sorted(self._unanswered), self._num_training):
            while first < stop:
                length = max(1, min(max_span, remaining // (2 * max(1, num_workers))))
                span = self._span(first, min(stop, first + length))
                spans.append(span)
                remaining -= span.stop - first
                first = span.stop
        return spans

    def accept(self, batch: RecordBatch) -> RecordBatch | None:
        """The part of ``batch`` that is new and final; ``None`` where nothing is."""
        records = tuple(
            final for record in batch.records if (final := self._answer(record)) is not None
        )
        return msgspec.structs.replace(batch, records=records) if records else None

    def reissues(self) -> list[Span]:
        """Copies that now have to be handed out; each is given once."""
        due, self._reissues = self._reissues, []
        return [span for span in due if span.first in self._unanswered]

    def start_clocks(self, now_s: float, patience_s: float) -> None:
        """Nothing waits in the queue any more: from now on a copy may be overdue.

        Call it again as often as one likes; a clock that runs is left alone.
        """
        for copies in self._unanswered.values():
            if copies.due_s == float("inf"):
                copies.due_s = now_s + patience_s * copies.patience

    def reissue_overdue(self, now_s: float) -> None:
        """Have another copy of each overdue rollout handed out, with twice the patience.

        The overdue one no longer counts as living: its worker may have vanished without a word.
        """
        for rollout, copies in self._unanswered.items():
            if copies.due_s <= now_s:
                copies.live.clear()
                copies.patience *= 2
                self._hand_out_again(rollout, copies)

    def _span(self, first: int, stop: int) -> Span:
        """Hand out ``first`` and what follows it in the same attempt, before ``stop``."""
        attempt = self._unanswered[first].attempt
        span_stop = first + 1
        while span_stop < stop and self._unanswered[span_stop].attempt == attempt:
            span_stop += 1
        span = Span(first, span_stop, attempt, self._new_copy())
        for rollout in range(first, span_stop):
            self._unanswered[rollout].live = {span.copy}
            self._unanswered[rollout].due_s = float("inf")
        return span

    def _answer(self, record: RolloutRecord) -> RolloutRecord | None:
        copies = self._unanswered.get(record.rollout)
        if copies is None:
            return self._late_answer(record)
        if record.status == "ok":
            del self._unanswered[record.rollout]
            return record
        copies.live.discard(record.copy)
        final = None
        if record.status == "lost":
            final = self._lose(record, copies)
        elif record.status == "failed":
            final = self._fail(record, copies)
        if final is not None:
            del self._unanswered[record.rollout]
            self._failed.add(record.rollout)
        elif not copies.live:
            self._hand_out_again(record.rollout, copies)
        return final

    def _late_answer(self, record: RolloutRecord) -> RolloutRecord | None:
        if record.status == "ok" and record.rollout in self._failed:
            self._failed.discard(record.rollout)
            return record
        if record.status in ("ok", "failed"):
            self.duplicates += 1
        return None

    def _fail(self, record: RolloutRecord, copies: _Copies) -> RolloutRecord | None:
        if record.attempt in copies.failed_attempts or record.attempt >= MAX_ATTEMPTS:
            self.duplicates += 1
            return None
        copies.failed_attempts.add(record.attempt)
        if len(copies.failed_attempts) >= MAX_ATTEMPTS:
            return record
        # Another copy of the attempt that failed tells nothing new: the next one starts now.
        copies.live.clear()
        return None

    def _lose(self, record: RolloutRecord, copies: _Copies) -> RolloutRecord | None:
        is_ours = self._first_copy <= record.copy < self._next_copy
        if record.copy in copies.lost or not is_ours:
            self.duplicates += 1
            return None
        self.lost += 1
        copies.lost.add(record.copy)
        if len(copies.lost) < self._max_losses:
            return None
        error = f"lost {len(copies.lost)} times with the worker that ran it"
        if record.error:
            error = f"{error}; the last time {record.error}"[:MAX_ERROR_CHARS]
        return RolloutRecord(
            record.rollout, copies.attempt, "failed", error=error, host_failure=True
        )

    def _hand_out_again(self, rollout: int, copies: _Copies) -> None:
        copies.due_s = float("inf")
        self.reissued += 1
        span = Span(rollout, rollout + 1, copies.attempt, self._new_copy())
        copies.live.add(span.copy)
        self._reissues.append(span)

    def _new_copy(self) -> int:
        self._next_copy += 1
        return self._next_copy - 1


def _runs(rollouts: Sequence[int], boundary: int) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, stop), cut at ``boundary``."""
    runs: list[tuple[int, int]] = []
    for rollout in rollouts:
        if runs and runs[-1][1] == rollout != boundary:
            runs[-1] = runs[-1][0], rollout + 1
        else:
            runs.append((rollout, rollout + 1))
    return runs

"""Which rollout is where: one generation's bookkeeping, shared by all pools.

Pure: time is an argument, nothing is sent. A rollout is *unanswered* until it is `ok` or finally
`failed`; a copy of it is handed out as part of a `Span`, and lives until somebody says what became
of it or it is given up. Whatever order answers, deaths and duplicates come in, each rollout gets
one final answer (an `ok` may follow a final `failed`), and no more than `MAX_LIVE` copies of it
live at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import is_
from typing import NamedTuple

import msgspec

from fleet.head.audit import Ballot, Disagreement, machine_of
from search.messages import MAX_ERROR_CHARS, RecordBatch, RolloutRecord

MAX_ATTEMPTS = 2
MAX_LIVE = 2
NEVER_S = float("inf")


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
    """An unanswered rollout's copies.

    Attributes:
        live: attempt by copy, the oldest first.
        fresh_from: those numbered from here on are not overdue.
        failed_attempts: those that somebody has failed in.
        losses: copies that ended without an answer.
        due_s: when the next copy is handed out for want of an answer.
        patience: how much longer than the first copy's time the next one has.
        ballot: of an audited rollout.
    """

    __slots__ = (
        "ballot",
        "due_s",
        "failed_attempts",
        "fresh_from",
        "live",
        "losses",
        "patience",
    )

    def __init__(self, ballot: Ballot | None) -> None:
        self.live: dict[int, int] = {}
        self.fresh_from = 0
        self.failed_attempts: frozenset[int] = frozenset()
        self.losses = 0
        self.due_s = NEVER_S
        self.patience = 1.0
        self.ballot = ballot

    @property
    def attempt(self) -> int:
        """The first that has not failed yet."""
        if not self.failed_attempts:
            return 0  # nearly always, and asked of every rollout of every generation
        return next(a for a in range(MAX_ATTEMPTS) if a not in self.failed_attempts)

    @property
    def num_wanting(self) -> int:
        """Copies to hand out so that an answer can be expected; not of those that are overdue."""
        fresh = [attempt for copy, attempt in self.live.items() if copy >= self.fresh_from]
        if self.ballot is not None:
            wanted = 1 if self.ballot.num_machines else 2
            return min(wanted - len(fresh), MAX_LIVE - len(self.live))
        # What else lives of an attempt that has failed tells nothing new.
        return int(self.attempt not in fresh)


class Ledger:
    """The rollouts of one generation.

    Args:
        num_rollouts: C*E + V.
        num_training: C*E; ranges never reach across it, so that validation comes last.
        known: rollouts that already have their answer.
        max_losses: how often a rollout may be lost before that is its answer.
        first_copy: where copies are numbered from; a head that resumes takes another than the one
            before it, so that losses of that one's copies are not taken for its own.
        audited: rollouts that two machines have to agree in.

    Attributes:
        num_rollouts: C*E + V.
        reissued, lost: copies handed out again, and copies that ended without an answer.
        failed: attempts that failed; first_error: what the first of them said.
        mended: rollouts that had failed for good, and were answered all the same.
        duplicates: records that told nothing new.
        audited, disagreed, unaudited: rollouts compared, those of them in which machines differ,
            and those that one machine alone has answered, however often it was tried.
    """

    def __init__(
        self,
        num_rollouts: int,
        num_training: int,
        known: Iterable[int] = (),
        max_losses: int = 8,
        first_copy: int = 1,
        audited: Collection[int] = (),
    ) -> None:
        self.num_rollouts = num_rollouts
        self._num_training = num_training
        self._max_losses = max_losses
        already = set(known)
        self._unanswered = {
            r: _Copies(Ballot() if r in audited else None)
            for r in range(num_rollouts)
            if r not in already
        }
        self._failed: set[int] = set()
        self._reissues: list[Span] = []
        self._disagreements: list[Disagreement] = []
        self._next_copy = first_copy
        self.reissued = self.lost = self.duplicates = 0
        self.failed = self.mended = 0
        self.first_error = ""
        self.audited = self.disagreed = self.unaudited = 0

    @property
    def num_unanswered(self) -> int:
        return len(self._unanswered)

    @property
    def unanswered(self) -> Collection[int]:
        """Rollouts that have no final answer yet."""
        return self._unanswered.keys()

    @property
    def num_done(self) -> int:
        return self.num_rollouts - len(self._unanswered)

    def live_copies(self, rollout: int) -> tuple[int, ...]:
        """Copies of ``rollout`` that may still bring its answer, the oldest first."""
        copies = self._unanswered.get(rollout)
        return tuple(copies.live) if copies is not None else ()

    def plan(self, num_workers: int, max_span: int) -> list[Span]:
        """Hand out every unanswered rollout: long spans first, single ones at the end.

        Guided self-scheduling (Polychronopoulos and Kuck 1987): each span is the remaining work
        over twice the workers, at most ``max_span``. Whatever was handed out before, and not
        answered yet, is taken to be lost without a word. Second copies of what is audited come
        first: by the time of the others, somebody else will take those.
        """
        self._reissues.clear()
        for copies in self._unanswered.values():
            copies.live.clear()
            copies.due_s = NEVER_S
        twice = [r for r, c in self._unanswered.items() if c.ballot and c.num_wanting > 1]
        spans = self._chop(twice, num_workers, max_span) if twice else []
        spans += self._chop(self._unanswered, num_workers, max_span)
        return sorted(spans, key=lambda span: span.first >= self._num_training)

    def accept(self, batch: RecordBatch) -> RecordBatch | None:
        """The part of ``batch`` that is new and final; ``None`` where nothing is."""
        unanswered = self._unanswered
        final: list[RolloutRecord] = []
        for record in batch.records:
            copies = unanswered.get(record.rollout)
            if copies is None:
                answer = self._late_answer(record)
            elif record.status == "ok" and copies.ballot is None:
                del unanswered[record.rollout]
                answer = record
            else:
                answer = self._judge(record, copies, batch.worker)
            if answer is not None:
                final.append(answer)
        if not final:
            return None
        if len(final) == len(batch.records) and all(map(is_, final, batch.records)):
            return batch
        return msgspec.structs.replace(batch, records=tuple(final))

    def reissues(self) -> list[Span]:
        """Copies that now have to be handed out; each is given once."""
        due, self._reissues = self._reissues, []
        return [span for span in due if span.copy in self.live_copies(span.first)]

    def disagreements(self) -> list[Disagreement]:
        """What audits have found since this was last asked."""
        found, self._disagreements = self._disagreements, []
        return found

    def start_clocks(self, now_s: float, patience_s: float, longest_s: float = NEVER_S) -> None:
        """Nothing waits in the queue any more: from now on a copy may be overdue.

        Call it again as often as one likes; a clock that runs is left alone.

        Args:
            now_s: on any clock.
            patience_s: how long a copy may take; twice as long each time it did not do.
            longest_s: no copy takes longer than that.
        """
        for copies in self._unanswered.values():
            if copies.due_s == NEVER_S:
                wait_s = patience_s * copies.patience
                copies.due_s = now_s + min(wait_s, max(patience_s, longest_s))

    def hasten(self, rollouts: Iterable[int], now_s: float) -> None:
        """Whoever had these has dropped them: where a clock runs, it has run out."""
        for rollout in rollouts:
            copies = self._unanswered.get(rollout)
            if copies is not None and copies.due_s < NEVER_S:
                copies.due_s = min(copies.due_s, now_s)

    def reissue_overdue(self, now_s: float) -> list[RolloutRecord]:
        """Have another copy of each overdue rollout handed out, with twice the patience.

        The one before may still answer, but of `MAX_LIVE` the oldest is given up as lost.

        Returns:
            Final answers of the rollouts that were lost too often.
        """
        answers = []
        late = [(r, copies) for r, copies in self._unanswered.items() if copies.due_s <= now_s]
        for rollout, copies in late:
            copies.patience *= 2
            if len(copies.live) >= MAX_LIVE:
                del copies.live[next(iter(copies.live))]
                answer = self._lose(rollout, copies, "it was not heard of any more")
                if answer is not None:
                    answers.append(self._settle(answer, copies))
                    continue
            copies.fresh_from = self._next_copy
            self._hand_out_again(rollout, copies)
        return answers

    def _chop(self, rollouts: Iterable[int], num_workers: int, max_span: int) -> list[Span]:
        """Another copy of each of ``rollouts``, in spans that become shorter."""
        numbers = sorted(rollouts)
        remaining = len(numbers)
        spans: list[Span] = []
        for first, stop in _runs(numbers, self._num_training):
            while first < stop:
                length = max(1, min(max_span, remaining // (2 * max(1, num_workers))))
                span = self._span(first, min(stop, first + length))
                spans.append(span)
                remaining -= span.stop - first
                first = span.stop
        return spans

    def _span(self, first: int, stop: int) -> Span:
        """Hand out ``first`` and what follows it in the same attempt, before ``stop``."""
        attempt = self._unanswered[first].attempt
        span_stop = first + 1
        while span_stop < stop and self._unanswered[span_stop].attempt == attempt:
            span_stop += 1
        span = Span(first, span_stop, attempt, self._new_copy())
        for rollout in range(first, span_stop):
            self._unanswered[rollout].live[span.copy] = attempt
        return span

    def _judge(self, record: RolloutRecord, copies: _Copies, worker: str) -> RolloutRecord | None:
        """What ``record`` makes of an unanswered rollout: its final answer, or what to do next."""
        if record.status in ("lost", "returned"):
            answer = self._end_copy(record, copies)
        elif record.status == "failed" and (copies.ballot is None or record.host_failure):
            answer = self._fail(record, copies)
        elif copies.ballot is not None:
            answer = self._vote(record, copies, copies.ballot, machine_of(worker))
        else:
            answer = record
        if answer is not None:
            return self._settle(answer, copies)
        for _ in range(copies.num_wanting):
            self._hand_out_again(record.rollout, copies)
        return None

    def _settle(self, answer: RolloutRecord, copies: _Copies) -> RolloutRecord:
        """Make ``answer`` final."""
        del self._unanswered[answer.rollout]
        if copies.ballot is not None:
            self._close_ballot(answer, copies.ballot)
        elif answer.status == "failed":
            self._failed.add(answer.rollout)
        return answer

    def _late_answer(self, record: RolloutRecord) -> RolloutRecord | None:
        if record.status == "ok" and record.rollout in self._failed:
            self._failed.discard(record.rollout)
            self.mended += 1
            return record
        self.duplicates += 1
        return None

    def _end_copy(self, record: RolloutRecord, copies: _Copies) -> RolloutRecord | None:
        """A copy has ended without an answer; said once, and of our own copies, it counts."""
        if copies.live.pop(record.copy, None) is None:
            self.duplicates += 1
            return None
        if record.status == "returned":
            return None
        return self._lose(record.rollout, copies, record.error)

    def _fail(self, record: RolloutRecord, copies: _Copies) -> RolloutRecord | None:
        copies.live.pop(record.copy, None)
        if record.attempt in copies.failed_attempts or record.attempt >= MAX_ATTEMPTS:
            self.duplicates += 1
            return None
        self._count_failure(record)
        copies.failed_attempts |= {record.attempt}
        if len(copies.failed_attempts) < MAX_ATTEMPTS:
            copies.due_s = NEVER_S
            return None
        return _first_vote(copies) or record

    def _vote(
        self, record: RolloutRecord, copies: _Copies, ballot: Ballot, machine: str
    ) -> RolloutRecord | None:
        if copies.live.pop(record.copy, None) is None and ballot.has_voted(machine):
            self.duplicates += 1
            return None
        if record.status == "failed":
            self._count_failure(record)
        return ballot.cast(machine, record)

    def _lose(self, rollout: int, copies: _Copies, why: str) -> RolloutRecord | None:
        self.lost += 1
        copies.losses += 1
        if copies.losses < self._max_losses:
            return None
        error = f"lost {copies.losses} times with the worker that ran it"
        if why:
            error = f"{error}; the last time {why}"[:MAX_ERROR_CHARS]
        return _first_vote(copies) or RolloutRecord(
            rollout, copies.attempt, "failed", error=error, host_failure=True
        )

    def _close_ballot(self, answer: RolloutRecord, ballot: Ballot) -> None:
        disagreement = ballot.disagreement(answer.rollout)
        if disagreement is not None:
            self.disagreed += 1
            self._disagreements.append(disagreement)
        if ballot.num_machines > 1:
            self.audited += 1
        else:
            self.unaudited += 1

    def _count_failure(self, record: RolloutRecord) -> None:
        self.failed += 1
        self.first_error = self.first_error or record.error

    def _hand_out_again(self, rollout: int, copies: _Copies) -> None:
        copies.due_s = NEVER_S
        self.reissued += 1
        if len(copies.live) >= MAX_LIVE:  # what lives of a failed attempt makes room
            del copies.live[next(iter(copies.live))]
        span = Span(rollout, rollout + 1, copies.attempt, self._new_copy())
        copies.live[span.copy] = span.attempt
        self._reissues.append(span)

    def _new_copy(self) -> int:
        self._next_copy += 1
        return self._next_copy - 1


def _first_vote(copies: _Copies) -> RolloutRecord | None:
    """The answer of an audited rollout that nobody else has lived to confirm."""
    return copies.ballot.first if copies.ballot is not None else None


def _runs(rollouts: Sequence[int], boundary: int) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, stop), cut at ``boundary``."""
    runs: list[tuple[int, int]] = []
    for rollout in rollouts:
        if runs and runs[-1][1] == rollout != boundary:
            runs[-1] = runs[-1][0], rollout + 1
        else:
            runs.append((rollout, rollout + 1))
    return runs

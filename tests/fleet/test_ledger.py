"""The ledger's promise: one final answer for each rollout, in whatever order the world answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet.ledger import MAX_ATTEMPTS, Ledger, Span
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord, Status

FOREVER_S = 1e12


def batch_of(*records: RolloutRecord) -> RecordBatch:
    return RecordBatch(MESSAGE_VERSION, "0" * 32, 0, "0" * 32, "w", records)


def answer(ledger: Ledger, span: Span, status: Status, rollout: int | None = None) -> Any:
    number = span.first if rollout is None else rollout
    error = "" if status == "ok" else "why"
    record = RolloutRecord(number, span.attempt, status, span.copy, error=error)
    accepted = ledger.accept(batch_of(record))
    return accepted.records[0] if accepted is not None else None


def look_when_overdue(ledger: Ledger, now_s: float) -> list[Span]:
    ledger.start_clocks(now_s, 1.0)
    ledger.reissue_overdue(now_s + FOREVER_S)
    return ledger.reissues()


def test_a_plan_covers_each_unanswered_rollout_once() -> None:
    ledger = Ledger(25, 20, known=[3, 4, 21])
    spans = ledger.plan(num_workers=2, max_span=100)
    covered = [r for span in spans for r in range(span.first, span.stop)]
    assert sorted(covered) == sorted(set(range(25)) - {3, 4, 21})
    assert len({span.copy for span in spans}) == len(spans)


def test_spans_shrink_toward_the_end_and_never_reach_into_validation() -> None:
    spans = Ledger(110, 100).plan(num_workers=2, max_span=100)
    lengths = [span.stop - span.first for span in spans]
    assert lengths[0] == 27
    assert lengths[-1] == 1
    assert not any(span.first < 100 < span.stop for span in spans)


def test_a_span_holds_one_attempt_only() -> None:
    ledger = Ledger(3, 3)
    spans = ledger.plan(1, 1)
    answer(ledger, spans[1], "failed")
    again = Ledger.plan(ledger, 1, 100)
    assert [(s.first, s.stop, s.attempt) for s in again] == [(0, 1, 0), (1, 2, 1), (2, 3, 0)]


def test_an_answer_is_accepted_once() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    assert answer(ledger, span, "ok").status == "ok"
    assert answer(ledger, span, "ok") is None
    assert ledger.duplicates == 1
    assert ledger.num_unanswered == 0


def test_a_failure_is_tried_once_more_and_then_final() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    assert answer(ledger, span, "failed") is None
    (retry,) = ledger.reissues()
    assert (retry.first, retry.attempt) == (0, 1)
    assert answer(ledger, span, "failed") is None  # the same failure, said twice
    assert ledger.reissues() == []
    final = answer(ledger, retry, "failed")
    assert (final.status, final.error, final.host_failure) == ("failed", "why", False)


def test_a_success_may_follow_a_final_failure_once() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    answer(ledger, span, "failed")
    (retry,) = ledger.reissues()
    assert answer(ledger, retry, "failed").status == "failed"
    assert answer(ledger, retry, "ok").status == "ok"
    assert answer(ledger, retry, "ok") is None
    assert answer(ledger, retry, "failed") is None


def test_a_loss_is_handed_out_again_as_the_same_attempt() -> None:
    ledger = Ledger(2, 2)
    (span, _) = ledger.plan(1, 1)
    answer(ledger, span, "lost")
    (again,) = ledger.reissues()
    assert (again.first, again.stop, again.attempt) == (0, 1, 0)
    assert again.copy != span.copy
    assert (ledger.lost, ledger.reissued) == (1, 1)


def test_a_loss_reported_twice_is_counted_once() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    for _ in range(8):
        assert answer(ledger, span, "lost") is None
    assert ledger.lost == 1
    assert len(ledger.reissues()) == 1


def test_a_rollout_lost_too_often_has_failed_by_the_hosts_doing() -> None:
    ledger = Ledger(1, 1, max_losses=3)
    (span,) = ledger.plan(1, 1)
    for _ in range(2):
        assert answer(ledger, span, "lost") is None
        (span,) = ledger.reissues()
    final = answer(ledger, span, "lost")
    assert final.status == "failed"
    assert final.host_failure
    assert final.error == "lost 3 times with the worker that ran it; the last time why"


def test_a_loss_of_an_earlier_heads_copy_is_not_taken_for_ours() -> None:
    ledger = Ledger(1, 1, first_copy=1000)
    (span,) = ledger.plan(1, 1)
    assert span.copy == 1000
    assert answer(ledger, span._replace(copy=1), "lost") is None
    assert ledger.lost == 0
    assert ledger.reissues() == []


def test_silence_is_answered_by_another_copy_ever_more_patiently() -> None:
    ledger = Ledger(1, 1)
    ledger.plan(1, 1)
    now_s, waits = 0.0, []
    for _ in range(4):
        ledger.start_clocks(now_s, patience_s=5.0)
        asked_s = now_s
        while not (spans := ledger.reissues()):
            now_s += 1.0
            ledger.start_clocks(now_s, patience_s=5.0)
            ledger.reissue_overdue(now_s)
        assert [(s.first, s.attempt) for s in spans] == [(0, 0)]
        waits.append(now_s - asked_s)
    assert waits == [5.0, 10.0, 20.0, 40.0]


def test_a_retry_just_handed_out_is_not_overdue() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    ledger.start_clocks(0.0, 5.0)
    answer(ledger, span, "failed")
    ledger.reissues()
    ledger.start_clocks(4.9, 5.0)
    ledger.reissue_overdue(5.0)
    assert ledger.reissues() == []


def test_planning_again_hands_out_what_is_unanswered_and_nothing_else() -> None:
    ledger = Ledger(4, 4)
    spans = ledger.plan(1, 1)
    answer(ledger, spans[0], "ok")
    answer(ledger, spans[1], "lost")  # its second copy waits to be handed out
    again = ledger.plan(1, 1)
    assert [span.first for span in again] == [1, 2, 3]
    assert ledger.reissues() == []
    # What the first plan's copies still bring is an answer like any other.
    assert answer(ledger, spans[2], "ok").rollout == 2


@pytest.mark.parametrize("rollout", [5, 10**9])
def test_a_rollout_that_does_not_exist_has_no_answer(rollout: int) -> None:
    ledger = Ledger(5, 5)
    (span, *_) = ledger.plan(1, 1)
    for status in ("ok", "failed", "lost"):
        assert answer(ledger, span, status, rollout) is None
    assert ledger.num_unanswered == 5


class Fleet(RuleBasedStateMachine):
    """Workers that answer, fail, die with and without a word, and repeat themselves."""

    @initialize(
        training=st.integers(1, 6),
        validation=st.integers(0, 2),
        known=st.sets(st.integers(0, 7), max_size=2),
        span=st.integers(1, 4),
    )
    def begin(self, training: int, validation: int, known: set[int], span: int) -> None:
        self.total = training + validation
        self.known = {number for number in known if number < self.total}
        self.ledger = Ledger(self.total, training, self.known, max_losses=3)
        self.max_span = span
        self.finals: dict[int, list[str]] = {r: [] for r in range(self.total)}
        self.queue: list[Span] = self.ledger.plan(2, span)
        self.hands: list[Span] = []
        self.sent: list[RecordBatch] = []
        self.now_s = 0.0
        self.somebody_vanished = False

    def send(self, batch: RecordBatch) -> None:
        self.sent.append(batch)
        accepted = self.ledger.accept(batch)
        for record in accepted.records if accepted is not None else ():
            assert record.status in ("ok", "failed")
            self.finals[record.rollout].append(record.status)
        self.queue += self.ledger.reissues()

    def report(self, span: Span, statuses: Sequence[str]) -> None:
        records = [
            RolloutRecord(rollout, span.attempt, status, span.copy, error="why")  # type: ignore[arg-type]
            for rollout, status in zip(range(span.first, span.stop), statuses, strict=True)
        ]
        self.send(batch_of(*records))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        self.hands.append(self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1))))

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        span = self.hands.pop(data.draw(st.integers(0, len(self.hands) - 1)))
        status = st.sampled_from(["ok", "failed", "lost"])
        length = span.stop - span.first
        self.report(span, data.draw(st.lists(status, min_size=length, max_size=length)))

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def vanish_without_a_word(self, data: st.DataObject) -> None:
        self.hands.pop(data.draw(st.integers(0, len(self.hands) - 1)))
        self.somebody_vanished = True

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.send(data.draw(st.sampled_from(self.sent)))

    @rule()
    def look_for_the_overdue(self) -> None:
        self.now_s += FOREVER_S
        self.queue += look_when_overdue(self.ledger, self.now_s)

    @rule()
    def empty_redis(self) -> None:
        self.queue = self.ledger.plan(2, self.max_span)

    @invariant()
    def no_rollout_has_two_answers(self) -> None:
        for number, statuses in self.finals.items():
            assert statuses in ([], ["ok"], ["failed"], ["failed", "ok"])
            assert not (statuses and number in self.known)
        answered = sum(bool(statuses) for statuses in self.finals.values())
        assert self.ledger.num_unanswered == self.total - len(self.known) - answered

    def teardown(self) -> None:
        """From here on workers are honest: every rollout gets its answer, and soon."""
        if not hasattr(self, "finals"):
            return
        if self.somebody_vanished:
            self.look_for_the_overdue()
        for _ in range(MAX_ATTEMPTS):
            spans, self.queue, self.hands = [*self.queue, *self.hands], [], []
            for span in spans:
                self.report(span, ["ok"] * (span.stop - span.first))
        self.no_rollout_has_two_answers()
        unanswered = {r for r, statuses in self.finals.items() if not statuses} - self.known
        assert not unanswered
        assert self.ledger.num_unanswered == 0
        assert not self.queue


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)

"""The ledger's promise: one final answer for each rollout, in whatever order the world answers."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fed_by_hand import NOISE
from real_fleet import experiment_of

from fleet.head.ledger import Ledger, Span
from fleet.head.tally import Tally
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord, Status


def batch_of(*records: RolloutRecord) -> RecordBatch:
    return RecordBatch(MESSAGE_VERSION, "0" * 32, 0, "0" * 32, "w", records)


def answer(ledger: Ledger, span: Span, status: Status, rollout: int | None = None) -> Any:
    number = span.first if rollout is None else rollout
    error = "" if status == "ok" else "why"
    record = RolloutRecord(number, span.attempt, status, span.copy, error=error)
    accepted = ledger.accept(batch_of(record))
    return accepted.records[0] if accepted is not None else None


def wait(ledger: Ledger, patience_s: float = 1.0, now_s: float = 0.0) -> list[RolloutRecord]:
    """Have every copy become overdue; the answers that are final by that."""
    ledger.start_clocks(now_s, patience_s)
    return ledger.reissue_overdue(now_s + 1e12)


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
    for _ in range(6):
        ledger.start_clocks(now_s, patience_s=5.0, longest_s=60.0)
        asked_s = now_s
        while not (spans := ledger.reissues()):
            now_s += 1.0
            ledger.start_clocks(now_s, patience_s=5.0, longest_s=60.0)
            assert ledger.reissue_overdue(now_s) == []
        assert [(s.first, s.attempt) for s in spans] == [(0, 0)]
        waits.append(now_s - asked_s)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]  # no rollout takes more than 60 s


def test_an_overdue_copy_may_still_answer() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    wait(ledger)
    (second,) = ledger.reissues()
    assert ledger.live_copies(0) == (span.copy, second.copy)
    assert ledger.lost == 0
    assert answer(ledger, span, "ok").status == "ok"
    assert ledger.num_unanswered == 0


def test_the_oldest_of_two_silent_copies_is_given_up_and_counts_as_lost() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    wait(ledger)
    (second,) = ledger.reissues()
    wait(ledger)
    (third,) = ledger.reissues()
    assert ledger.live_copies(0) == (second.copy, third.copy)
    assert (ledger.lost, ledger.reissued) == (1, 2)
    assert answer(ledger, span, "lost") is None  # said after all, and counted already
    assert ledger.lost == 1
    assert ledger.reissues() == []


def test_a_rollout_that_takes_whole_machines_down_without_a_word_ends_as_lost() -> None:
    ledger = Ledger(2, 2, max_losses=3)
    spans = ledger.plan(1, 1)
    answer(ledger, spans[1], "ok")
    finals = []
    for asked in range(10):
        finals += wait(ledger, now_s=asked * 1e13)
        ledger.reissues()
    assert [(f.rollout, f.status, f.host_failure) for f in finals] == [(0, "failed", True)]
    assert finals[0].error == (
        "lost 3 times with the worker that ran it; the last time it was not heard of any more"
    )
    assert (ledger.num_unanswered, ledger.lost, ledger.num_done) == (0, 3, 2)


def test_one_of_two_copies_lost_is_not_replaced_while_the_other_lives() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    wait(ledger)
    (second,) = ledger.reissues()
    answer(ledger, span, "lost")
    assert (ledger.reissues(), ledger.lost) == ([], 1)
    answer(ledger, second, "lost")
    assert len(ledger.reissues()) == 1


def test_word_that_the_second_copy_is_lost_does_not_leave_all_hope_to_the_overdue_one() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    wait(ledger)
    (second,) = ledger.reissues()
    answer(ledger, second, "lost")
    (third,) = ledger.reissues()
    assert ledger.live_copies(0) == (span.copy, third.copy)


def test_what_is_given_back_undone_goes_out_again_and_is_no_loss() -> None:
    ledger = Ledger(2, 2, max_losses=2)
    (span, _) = ledger.plan(1, 1)
    for _ in range(10):
        assert answer(ledger, span, "returned") is None
        assert answer(ledger, span, "returned") is None  # said twice
        (again,) = ledger.reissues()
        assert (again.first, again.stop, again.attempt) == (0, 1, 0)
        assert again.copy != span.copy
        span = again
    assert (ledger.lost, ledger.reissued, ledger.num_unanswered) == (0, 10, 2)


def test_a_copy_that_was_answered_in_the_meantime_is_not_handed_out() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    answer(ledger, span, "lost")
    answer(ledger, span, "ok")
    assert ledger.reissues() == []


def test_a_failure_somebody_else_reports_does_not_make_three_copies_live() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    wait(ledger)
    ledger.reissues()
    answer(ledger, span._replace(copy=10**9), "failed")  # of an earlier head's copy
    (retry,) = ledger.reissues()
    assert retry.attempt == 1
    assert len(ledger.live_copies(0)) == 2


def test_failed_attempts_are_counted_with_what_the_first_said() -> None:
    ledger = Ledger(1, 1)
    (span,) = ledger.plan(1, 1)
    answer(ledger, span, "failed")
    answer(ledger, span, "failed")
    assert (ledger.failed, ledger.first_error) == (1, "why")


def test_a_batch_that_is_new_throughout_is_passed_on_as_it_is() -> None:
    ledger = Ledger(3, 3)
    ledger.plan(1, 1)
    whole = batch_of(RolloutRecord(0, 0, "ok"), RolloutRecord(1, 0, "ok"))
    assert ledger.accept(whole) is whole
    partly = batch_of(RolloutRecord(1, 0, "ok"), RolloutRecord(2, 0, "ok"))
    accepted = ledger.accept(partly)
    assert accepted is not None
    assert [record.rollout for record in accepted.records] == [2]


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


def test_a_rollout_that_was_mended_is_counted_once() -> None:
    ledger, tally = Ledger(1, 1), Tally()
    (span,) = ledger.plan(1, 1)
    for attempt, status in [(0, "failed"), (1, "failed"), (1, "ok")]:
        record = RolloutRecord(0, attempt, cast(Status, status), span.copy + attempt, error="why")
        if (accepted := ledger.accept(batch_of(record))) is not None:
            tally.add(accepted)
        ledger.reissues()
    said = tally.report(
        experiment_of(NOISE),
        [ledger],
        generation=0,
        oldest=ledger,
        open_numbers=[0],
        note="",
        now_s=0.0,
    )
    assert (said.rollouts, said.failed) == (1, 0)

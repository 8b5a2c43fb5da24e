"""Audits: two machines must agree to the bit, and whoever is outvoted is named."""

from __future__ import annotations

from typing import Any

import pytest
from real_fleet import generation_of

from fleet.head.audit import MAX_TRIES, Disagreement, chosen, machine_of
from fleet.head.ledger import Ledger, Span
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord

A, B, C, D = "hosta-11-0", "hostb-12-3", "hostc-13-1", "hostd-14-0"


class Audited:
    """A ledger of one audited rollout, and what comes of answers to it."""

    def __init__(self, max_losses: int = 8) -> None:
        self.ledger = Ledger(1, 1, audited={0}, max_losses=max_losses)
        self.queue = self.ledger.plan(1, 1)

    def send(self, worker: str, record: RolloutRecord) -> RolloutRecord | None:
        batch = RecordBatch(MESSAGE_VERSION, "0" * 32, 0, "0" * 32, worker, (record,))
        accepted = self.ledger.accept(batch)
        self.queue += self.ledger.reissues()
        return accepted.records[0] if accepted is not None else None

    def answer(self, worker: str, fitness: float = 1.0, **fields: Any) -> RolloutRecord | None:
        span = self.queue.pop(0)
        return self.send(worker, ok(span, fitness, **fields))

    def end(self, worker: str, status: Any, **fields: Any) -> RolloutRecord | None:
        span = self.queue.pop(0)
        return self.send(
            worker, RolloutRecord(0, span.attempt, status, span.copy, error="why", **fields)
        )

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.ledger.audited, self.ledger.disagreed, self.ledger.unaudited


def ok(span: Span, fitness: float = 1.0, **fields: Any) -> RolloutRecord:
    return RolloutRecord(0, span.attempt, "ok", span.copy, fitness=fitness, length=9, **fields)


def test_an_audited_rollout_goes_out_twice_at_once_and_others_once() -> None:
    ledger = Ledger(6, 4, known=[1], audited={1, 2, 5})
    spans = ledger.plan(1, 1)
    numbers = [r for span in spans for r in range(span.first, span.stop)]
    assert sorted(numbers) == [0, 2, 2, 3, 4, 5, 5]
    assert numbers[0] == 2  # well before its other copy
    assert set(numbers[-3:]) == {4, 5}  # validation last, all the same
    assert len({span.copy for span in spans}) == len(spans)


def test_two_machines_that_agree_make_the_answer() -> None:
    audit = Audited()
    assert audit.answer(A) is None
    assert audit.ledger.num_unanswered == 1
    final = audit.answer(B)
    assert final is not None
    assert (final.status, final.fitness) == ("ok", 1.0)
    assert audit.queue == []
    assert audit.counts == (1, 0, 0)
    assert audit.ledger.disagreements() == []
    assert audit.ledger.reissued == 0


@pytest.mark.parametrize("lie", [{"fitness": 1.0000000000000002}, {"terms": {"effort": 0.1}}])
def test_a_third_machine_decides_and_the_outvoted_one_is_named(lie: dict[str, Any]) -> None:
    audit = Audited()
    assert audit.answer(A, **lie) is None
    assert audit.answer(B) is None
    assert len(audit.queue) == 1
    final = audit.answer(C)
    assert final is not None
    assert (final.fitness, final.terms) == (1.0, {})
    assert audit.counts == (1, 1, 0)
    assert audit.ledger.disagreements() == [
        Disagreement(0, ("hostb-12", "hostc-13"), ("hosta-11",))
    ]
    assert audit.ledger.disagreements() == []


def test_a_fourth_machine_decides_where_three_differ() -> None:
    audit = Audited()
    for worker, fitness in ((A, 1.0), (B, 2.0), (C, 3.0)):
        assert audit.answer(worker, fitness) is None
    final = audit.answer(D, 2.0)
    assert final is not None
    assert final.fitness == 2.0
    (found,) = audit.ledger.disagreements()
    assert found.believed == ("hostb-12", "hostd-14")
    assert found.outvoted == ("hosta-11", "hostc-13")


def test_one_machine_alone_is_asked_again_and_then_believed_as_unaudited() -> None:
    audit = Audited()
    for _ in range(MAX_TRIES - 1):
        assert audit.answer(A) is None
        assert audit.queue
    final = audit.answer("hosta-11-7")  # another worker of the same machine
    assert final is not None
    assert final.fitness == 1.0
    assert audit.counts == (0, 0, 1)
    assert audit.ledger.disagreements() == []


def test_two_machines_that_differ_for_good_are_both_named_and_the_first_answer_stands() -> None:
    audit = Audited()
    final = None
    for _ in range(MAX_TRIES // 2):
        assert final is None
        assert audit.answer(A, 1.0) is None
        final = audit.answer(B, 2.0)
    assert final is not None
    assert final.fitness == 1.0
    assert audit.counts == (1, 1, 0)
    assert audit.ledger.disagreements() == [Disagreement(0, (), ("hosta-11", "hostb-12"))]


def test_a_machine_that_contradicts_itself_is_named() -> None:
    audit = Audited()
    for fitness in (1.0, 2.0, *[1.0] * (MAX_TRIES - 2)):
        audit.answer(A, fitness)
    assert audit.counts == (0, 1, 1)
    assert audit.ledger.disagreements() == [Disagreement(0, (), ("hosta-11",))]


def test_one_machine_alone_is_asked_no_less_for_another_that_vanished() -> None:
    audit = Audited()
    audit.queue.pop(0)  # with its machine
    assert audit.answer(A) is None
    audit.ledger.start_clocks(0.0, 1.0)
    audit.ledger.reissue_overdue(1e9)
    audit.queue += audit.ledger.reissues()
    for _ in range(MAX_TRIES - 2):
        assert audit.answer(A) is None
        assert len(audit.ledger.live_copies(0)) <= 2
    assert audit.answer(A) is not None
    assert audit.counts == (0, 0, 1)


def test_an_answer_sent_twice_is_one_try() -> None:
    audit = Audited()
    (first, _) = audit.queue
    for _ in range(2 * MAX_TRIES):
        assert audit.send(A, ok(first)) is None
    assert audit.ledger.duplicates == 2 * MAX_TRIES - 1
    assert audit.ledger.num_unanswered == 1
    audit.queue.pop(0)
    assert audit.answer(B) is not None


def test_two_machines_that_both_see_it_fail_make_it_failed() -> None:
    audit = Audited()
    assert audit.end(A, "failed") is None
    final = audit.end(B, "failed")
    assert final is not None
    assert (final.status, final.host_failure) == ("failed", False)
    assert audit.counts == (1, 0, 0)


def test_a_failure_only_one_machine_sees_is_outvoted() -> None:
    audit = Audited()
    assert audit.end(A, "failed") is None
    assert audit.answer(B) is None
    final = audit.answer(C)
    assert final is not None
    assert final.status == "ok"
    assert audit.ledger.disagreements()[0].outvoted == ("hosta-11",)


def test_a_timeout_is_no_vote_but_two_are_an_end() -> None:
    audit = Audited()
    assert audit.end(A, "failed", host_failure=True) is None
    assert audit.answer(B) is None
    assert audit.counts == (0, 0, 0)
    assert audit.answer(C) is not None
    assert audit.counts == (1, 0, 0)

    audit = Audited()
    final = None
    while audit.queue and final is None:
        final = audit.end(A, "failed", host_failure=True)
    assert final is not None
    assert final.host_failure


def test_no_answer_evades_its_audit_by_calling_itself_a_host_failure() -> None:
    audit = Audited()
    assert audit.answer(A, 1e9, host_failure=True) is None
    assert audit.answer(B) is None
    final = audit.answer(C)
    assert final is not None
    assert final.fitness == 1.0
    assert audit.ledger.failed == 0
    assert audit.ledger.disagreements()[0].outvoted == ("hosta-11",)


def test_what_is_lost_or_given_back_is_handed_out_again_until_two_have_answered() -> None:
    audit = Audited()
    assert audit.end(A, "lost") is None
    assert audit.end(A, "returned") is None
    assert len(audit.queue) == 2
    assert audit.answer(A) is None
    assert audit.end(B, "lost") is None
    assert len(audit.queue) == 1
    assert audit.answer(B) is not None
    assert audit.ledger.lost == 2


def test_an_answer_that_nobody_lives_to_confirm_stands_in_the_end() -> None:
    audit = Audited(max_losses=2)
    assert audit.answer(A, 5.0) is None
    final = None
    while final is None:
        final = audit.end(B, "lost")
    assert (final.status, final.fitness) == ("ok", 5.0)
    assert audit.counts == (0, 0, 1)


def test_no_more_than_two_copies_live_however_long_it_takes() -> None:
    audit = Audited(max_losses=100)
    for asked in range(5):
        audit.ledger.start_clocks(asked * 1e9, 1.0)
        assert audit.ledger.reissue_overdue((asked + 1) * 1e9) == []
        assert len(audit.ledger.live_copies(0)) == 2


def test_a_later_answer_does_not_change_what_two_machines_agreed_on() -> None:
    audit = Audited()
    audit.end(A, "failed")
    audit.end(B, "failed")
    assert audit.send(C, RolloutRecord(0, 0, "ok", fitness=7.0)) is None


def test_the_choice_is_a_share_fixed_by_salt_seed_and_generation() -> None:
    generation = generation_of(pairs=2000, episodes=1, validation=0)
    first = chosen(generation, 0.1, b"salt")
    assert first == chosen(generation, 0.1, b"salt")
    assert 300 < len(first) < 500
    assert chosen(generation, 0.0, b"salt") == frozenset()
    assert len(chosen(generation, 1.0, b"salt")) == generation.num_rollouts
    others = [
        chosen(generation, 0.1, b"pepper"),
        chosen(generation_of(number=1, pairs=2000, episodes=1, validation=0), 0.1, b"salt"),
        chosen(generation_of(run_seed=8, pairs=2000, episodes=1, validation=0), 0.1, b"salt"),
    ]
    for other in others:
        assert len(first & other) < 100


@pytest.mark.parametrize(
    ("worker", "machine"),
    [("ip-10-0-0-1-812-13", "ip-10-0-0-1-812"), ("w", "w"), ("-0", "-0"), ("a-0", "a")],
)
def test_a_machine_is_the_worker_without_its_number(worker: str, machine: str) -> None:
    assert machine_of(worker) == machine

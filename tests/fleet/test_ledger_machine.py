"""Whatever order claims, deaths, answers, reissues and audits come in: each rollout counts once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet.head.audit import machine_of
from fleet.head.ledger import MAX_LIVE, Ledger, Span
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord

FOREVER_S = 1e12
MAX_LOSSES = 3
HONEST = ("a-1-0", "a-1-1", "b-1-0", "c-1-0")
LIAR = "liar-1-0"
OUTCOMES = ("ok", "ok", "failed", "timeout", "lost", "returned")


class Out(NamedTuple):
    """A span of a generation that is in a queue or in somebody's hands."""

    number: int
    span: Span


def truth(rollout: int) -> float:
    return rollout + 0.5


class Book:
    """A generation's ledger, and beside it what the fleet really did."""

    def __init__(
        self, training: int, validation: int, known: set[int], audited: set[int], first_copy: int
    ) -> None:
        self.total = training + validation
        self.known = {number for number in known if number < self.total}
        self.training, self.audited = training, audited
        self.finals: dict[int, list[RolloutRecord]] = {r: [] for r in range(self.total)}
        self.start(first_copy)

    def start(self, first_copy: int) -> None:
        """As a head does that has the answers so far in its journal."""
        answered = {r for r, finals in self.finals.items() if finals}
        self.ledger = Ledger(
            self.total,
            self.training,
            self.known | answered,
            max_losses=MAX_LOSSES,
            first_copy=first_copy,
            audited=self.audited,
        )
        self.earlier = {r: list(finals) for r, finals in self.finals.items()}
        self.handed_out: dict[int, set[int]] = {r: set() for r in range(self.total)}
        self.ended: dict[int, set[int]] = {r: set() for r in range(self.total)}
        self.lost: dict[int, int] = dict.fromkeys(range(self.total), 0)

    def note_handed_out(self, spans: Sequence[Span], *, is_plan: bool = False) -> None:
        if is_plan:  # whatever was out is forgotten
            self.handed_out = {r: set() for r in range(self.total)}
        for span in spans:
            for rollout in range(span.first, span.stop):
                assert span.copy not in self.handed_out[rollout], "a copy was handed out twice"
                self.handed_out[rollout].add(span.copy)

    def take(self, finals: Sequence[RolloutRecord]) -> None:
        for record in finals:
            assert record.status in ("ok", "failed")
            self.finals[record.rollout].append(record)
            if record.error.startswith("lost "):
                assert self.lost[record.rollout] == MAX_LOSSES

    def accept(self, batch: RecordBatch) -> None:
        for record in batch.records:
            out, ended = self.handed_out[record.rollout], self.ended[record.rollout]
            is_first_word = record.copy in out and record.copy not in ended
            is_living = record.copy in self.ledger.live_copies(record.rollout)
            assert is_living <= is_first_word, "a copy lives of which there has been word"
            if record.copy in out:
                ended.add(record.copy)
            if is_living and record.status == "lost":
                self.lost[record.rollout] += 1
        accepted = self.ledger.accept(batch)
        if accepted is not None:
            self.take(accepted.records)

    def give_up(self, now_s: float) -> None:
        before = {r: self.ledger.live_copies(r) for r in range(self.total)}
        self.ledger.start_clocks(now_s, 1.0)
        finals = self.ledger.reissue_overdue(now_s + FOREVER_S)
        for rollout, live in before.items():
            if len(live) == MAX_LIVE:
                self.lost[rollout] += 1
                self.ended[rollout].add(live[0])
        self.take(finals)


class Fleet(RuleBasedStateMachine):
    """Workers that answer, lie, fail, die with and without a word, and repeat themselves."""

    books: list[Book]
    queue: list[Out]
    hands: list[Out]
    sent: list[tuple[int, RecordBatch]]

    @initialize(data=st.data(), span=st.integers(1, 4))
    def begin(self, data: st.DataObject, span: int) -> None:
        self.books, self.queue, self.hands, self.sent = [], [], [], []
        self.max_span = span
        self.now_s = 0.0
        self.next_copy = 1
        self.open_next(data)

    @precondition(lambda self: self.books and len(self.books) < 2)
    @rule(data=st.data())
    def open_next(self, data: st.DataObject) -> None:
        """A second generation, while the first is open."""
        numbers = st.sets(st.integers(0, 7), max_size=2)
        book = Book(
            data.draw(st.integers(1, 6)),
            data.draw(st.integers(0, 2)),
            data.draw(numbers),
            data.draw(numbers),
            self.new_copies(),
        )
        self.books.append(book)
        self.publish(len(self.books) - 1)

    def new_copies(self) -> int:
        self.next_copy += 10**6
        return self.next_copy

    def publish(self, number: int) -> None:
        self.queue = [out for out in self.queue if out.number != number]
        spans = self.books[number].ledger.plan(2, self.max_span)
        self.books[number].note_handed_out(spans, is_plan=True)
        self.queue += [Out(number, span) for span in spans]

    def hand_out_again(self) -> None:
        for number, book in enumerate(self.books):
            spans = book.ledger.reissues()
            book.note_handed_out(spans)
            self.queue += [Out(number, span) for span in spans]

    def send(self, number: int, batch: RecordBatch) -> None:
        self.sent.append((number, batch))
        self.books[number].accept(batch)
        self.hand_out_again()

    def report(self, out: Out, worker: str, outcomes: Sequence[str]) -> None:
        records = tuple(
            record_of(rollout, out.span, worker, outcome)
            for rollout, outcome in zip(range(out.span.first, out.span.stop), outcomes, strict=True)
        )
        self.send(out.number, RecordBatch(MESSAGE_VERSION, "0" * 32, 0, "0" * 32, worker, records))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        self.hands.append(self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1))))

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), worker=st.sampled_from([*HONEST, LIAR]))
    def answer(self, data: st.DataObject, worker: str) -> None:
        out = self.hands.pop(data.draw(st.integers(0, len(self.hands) - 1)))
        length = out.span.stop - out.span.first
        outcomes = st.lists(st.sampled_from(OUTCOMES), min_size=length, max_size=length)
        self.report(out, worker, data.draw(outcomes))

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def vanish_without_a_word(self, data: st.DataObject) -> None:
        self.hands.pop(data.draw(st.integers(0, len(self.hands) - 1)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.send(*data.draw(st.sampled_from(self.sent)))

    @precondition(lambda self: not self.queue)
    @rule()
    def look_for_the_overdue(self) -> None:
        """As a head does, only while every queue of every open generation is empty."""
        for book in self.books:
            book.give_up(self.now_s)
        self.now_s += 2 * FOREVER_S
        self.hand_out_again()

    @rule()
    def empty_redis(self) -> None:
        self.queue.clear()
        for number in range(len(self.books)):
            self.publish(number)

    @rule()
    def kill_and_resume_the_head(self) -> None:
        self.queue.clear()
        for number, book in enumerate(self.books):
            book.start(self.new_copies())
            self.publish(number)

    @invariant()
    def each_rollout_is_counted_once(self) -> None:
        for book in getattr(self, "books", ()):
            for number, finals in book.finals.items():
                statuses = [record.status for record in finals]
                assert statuses in ([], ["ok"], ["failed"], ["failed", "ok"])
                if number in book.audited:
                    assert len(finals) < 2
                assert not (finals and number in book.known)
            answered = sum(bool(finals) for finals in book.finals.values())
            assert book.ledger.num_done == len(book.known) + answered
            assert book.ledger.num_unanswered == book.total - book.ledger.num_done

    @invariant()
    def no_rollout_is_forgotten_or_has_more_than_two_copies(self) -> None:
        for number, book in enumerate(getattr(self, "books", ())):
            waiting = {o.span.copy for o in self.queue if o.number == number}
            for rollout, finals in book.finals.items():
                live = book.ledger.live_copies(rollout)
                if finals or rollout in book.known:
                    assert live == ()
                    continue
                assert 1 <= len(live) <= MAX_LIVE
                # What waits or is under way and has not been given up may answer; no other lives.
                under_way = book.handed_out[rollout] - book.ended[rollout]
                assert set(live) <= under_way
                assert len(waiting & under_way) <= MAX_LIVE

    @invariant()
    def losses_are_counted_as_they_are(self) -> None:
        for book in getattr(self, "books", ()):
            assert book.ledger.lost == sum(book.lost.values())
            assert max(book.lost.values(), default=0) <= MAX_LOSSES

    @invariant()
    def two_machines_vouch_for_what_is_audited(self) -> None:
        for number, book in enumerate(getattr(self, "books", ())):
            decided = book.ledger.audited + book.ledger.unaudited
            fresh = {r for r, f in book.finals.items() if f and not book.earlier[r]}
            assert decided == len(fresh & book.audited)
            for rollout in fresh & book.audited:
                (final,) = book.finals[rollout]
                said = {
                    machine_of(batch.worker)
                    for at, batch in self.sent
                    if at == number
                    for record in batch.records
                    if record.rollout == rollout
                    and (record.status, record.fitness) == (final.status, final.fitness)
                }
                is_beyond_doubt = not (book.ledger.unaudited or book.ledger.disagreed)
                if is_beyond_doubt and not final.host_failure:
                    assert len(said) >= 2, "one machine's word was taken for two"

    def teardown(self) -> None:
        """From here on workers are honest: every rollout gets its answer, and soon."""
        if not getattr(self, "books", None):
            return
        machines = itertools.cycle(HONEST[1:])
        # Whoever is still at work now ends; who has vanished is found out.
        for _ in range(3):
            while self.queue or self.hands:
                outs, self.queue, self.hands = [*self.hands, *self.queue], [], []
                for out in outs:
                    length = out.span.stop - out.span.first
                    self.report(out, next(machines), ["ok"] * length)
            self.each_rollout_is_counted_once()
            if all(book.ledger.num_unanswered == 0 for book in self.books):
                break
            self.look_for_the_overdue()
        assert all(book.ledger.num_unanswered == 0 for book in self.books)
        assert not any(book.ledger.reissues() for book in self.books)
        for book in self.books:
            assert all(finals or r in book.known for r, finals in book.finals.items())


def record_of(rollout: int, span: Span, worker: str, outcome: str) -> RolloutRecord:
    if outcome == "ok":
        fitness = -1.0 if worker == LIAR else truth(rollout)
        return RolloutRecord(rollout, span.attempt, "ok", span.copy, fitness=fitness, length=1)
    status: Any = "failed" if outcome == "timeout" else outcome
    return RolloutRecord(
        rollout,
        span.attempt,
        status,
        span.copy,
        error="why",
        host_failure=outcome == "timeout",
    )


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)

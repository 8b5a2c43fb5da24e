"""The head's side of a fleet: tasks out through Redis, records in, every rollout once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import msgspec
import redis

from errors import MessageError, RunLocked
from fleet.connection import Client
from fleet.figures import harmless
from fleet.head import audit
from fleet.head.claims import Claims
from fleet.head.head_broker import HeadBroker, Standing
from fleet.head.head_token import HeadLease
from fleet.head.ledger import Ledger, Span
from fleet.head.machine_watch import MachineWatch
from fleet.head.pace import Pace
from fleet.head.plausible import plausible
from fleet.head.record_queue import RecordQueue
from fleet.head.tally import Tally
from fleet.open_numbers import format_numbers
from fleet.run_report import RunReport
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
    digest,
    encode,
)
from search.protocol import PoolStatus

HEAD = "head"
"""The worker of records that nobody sent: of rollouts that were lost without a word."""

_TEND_EVERY_S = 1.0
_TEND_EVERY_S_WITHOUT_WORKERS = 0.2
_QUIET_S = 3.0
_GATHER_S = 0.01
_FEW_BATCHES = 50
_MANY_READINGS = 20


class _Open(msgspec.Struct):
    """An open generation; ``unsent``: handed out, but not in Redis yet."""

    generation: Generation
    data: bytes
    digest: str
    ledger: Ledger
    claims: Claims
    is_published: bool = False
    unsent: list[Span] = []


class RedisPool:
    """Fulfils `search.protocol.Pool` over Redis.

    Tasks are idempotent and this ledger knows which rollouts are missing, so there are no
    acknowledgements and no leases, and Redis holds nothing that cannot be written again.

    Args:
        client: of the head's Redis.
        experiment: the run's declaration.
        min_task_runtime_s: a task's rollouts together last about this long, where they are short.
        max_losses: how often a rollout may be lost with its worker.
        audit_fraction: share of the rollouts that two machines have to agree in.
        notice: where a line for people goes.
        check: asked before each wait for records; what it raises ends the run.
        clock: monotonic seconds.
        sleep: waits so many seconds.

    Raises:
        RunLocked: another head is at work on the run; so may every method but `shutdown`.
    """

    def __init__(
        self,
        client: Client,
        experiment: Experiment,
        *,
        min_task_runtime_s: float = 0.05,
        max_losses: int = 8,
        audit_fraction: float = 0.0,
        notice: Callable[[str], None] = lambda line: None,
        check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        uid = experiment.run_uid
        self._experiment = experiment
        self._broker = HeadBroker(client, uid)
        self._records = RecordQueue(client, uid)
        self._lease = HeadLease(client, uid, experiment.run_id, clock=clock, sleep=sleep)
        self._max_losses = max_losses
        self._audit_fraction = audit_fraction
        self._audit_salt = secrets.token_bytes(16)
        self._notice = notice
        self._check = check
        self._clock = clock
        self._sleep = sleep
        self._timeout_s = experiment.guard.rollout_timeout_s
        self._pace = Pace(min_task_runtime_s, self._timeout_s)
        self._tally = Tally()
        self._open: dict[int, _Open] = {}
        self._closed: set[int] = set()
        self._next_number = 0
        self._machines = MachineWatch(client, notice)
        self._tended_s = self._heard_s = clock()
        self._is_cut_off = self._is_trickle = False
        try:
            self._lease.acquire()
            self._broker.declare(encode(experiment))
            self._machines.listen()
        except redis.RedisError as error:
            self._cut_off(error)

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        """See `search.protocol.Pool.open`."""
        data = encode(generation)
        ledger = Ledger(
            generation.num_rollouts,
            generation.num_training,
            known,
            max_losses=self._max_losses,
            first_copy=1 + secrets.randbelow(2**48),
            audited=audit.chosen(generation, self._audit_fraction, self._audit_salt),
        )
        name = digest(data)
        opened = _Open(generation, data, name, ledger, Claims(name, generation.num_rollouts))
        self._open[generation.number] = opened
        self._closed.discard(generation.number)
        self._next_number = generation.number + 1
        self._heard_s = self._clock()
        try:
            self._lease.renew()
            self._publish(opened)
        except redis.RedisError as error:
            self._cut_off(error)

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """See `search.protocol.Pool.results`; an unreachable Redis is waited for."""
        self._check()
        accepted: list[RecordBatch] = []
        try:
            self._lease.renew()
            if self._is_trickle:
                self._sleep(_GATHER_S)
            received = self._records.read(timeout_s)
            for data in received:
                if (batch := self._receive(data)) is not None:
                    accepted.append(batch)
            self._is_trickle = self._has_time_to_gather(len(received))
            self._name_the_outvoted()
            self._hand_out_again()
            has_machines = bool(self._machines.heard)
            every_s = _TEND_EVERY_S if has_machines else _TEND_EVERY_S_WITHOUT_WORKERS
            if self._is_cut_off or self._clock() - self._tended_s >= every_s:
                self._tend(accepted)
        except redis.RedisError as error:
            # What the ledger has accepted is answered for good: the loop must have it.
            self._cut_off(error)
            self._sleep(min(timeout_s, 0.5))
        if accepted:
            self._heard_s = self._clock()
            for batch in accepted:
                self._tally.add(batch)
        return accepted

    def close(self, number: int) -> None:
        """See `search.protocol.Pool.close`."""
        opened = self._open.pop(number, None)
        if opened is None:
            return
        self._tally.close(opened.ledger)
        self._closed.add(number)
        try:
            self._lease.renew()
            self._retire()
        except redis.RedisError as error:
            self._cut_off(error)

    def status(self) -> PoolStatus:
        """See `search.protocol.Pool.status`; costs nothing."""
        counts = self._tally.counts(self._ledgers)
        return PoolStatus(
            num_workers=self._machines.num_workers,
            num_machines=self._machines.num_machines,
            reissued=counts.reissued,
            lost=counts.lost,
            audit_fraction=self._audit_fraction,
            audited=counts.audited,
            disagreed=counts.disagreed,
            unaudited=counts.unaudited,
            note=self._why_nothing_moves(),
        )

    def shutdown(self) -> None:
        """See `search.protocol.Pool.shutdown`; what a later head has taken over stays."""
        self._open.clear()
        # A Redis that is gone holds nothing of ours, nor does one that a later head writes to.
        with suppress(redis.RedisError, RunLocked):
            if self._lease.holds:
                self._lease.renew()
                self._broker.withdraw()
                self._lease.release()

    @property
    def _ledgers(self) -> list[Ledger]:
        return [opened.ledger for opened in self._open.values()]

    def _has_time_to_gather(self, num_batches: int) -> bool:
        """Whether so few batches at a time come that reading them one by one would only cost, and
        so many are to come that the generation's last one will not have to wait.
        """
        remaining = self._open[min(self._open)].ledger.num_unanswered if self._open else 0
        return 0 < num_batches < _FEW_BATCHES and remaining > _MANY_READINGS * num_batches

    def _publish(self, opened: _Open) -> None:
        spans = opened.ledger.plan(self._machines.num_workers, self._pace.max_span())
        opened.unsent = []
        opened.is_published = False
        self._broker.publish(
            opened.generation.number,
            opened.data,
            self._tasks(opened, spans),
            format_numbers(self._open),
        )
        opened.is_published = True

    def _retire(self) -> None:
        self._broker.retire(self._closed, format_numbers(self._open))
        self._closed.clear()

    def _tasks(self, opened: _Open, spans: Iterable[Span]) -> list[Task]:
        run_uid, number = self._experiment.run_uid, opened.generation.number
        return [
            Task(MESSAGE_VERSION, run_uid, number, opened.digest, first, stop, attempt, copy)
            for first, stop, attempt, copy in spans
        ]

    def _receive(self, data: bytes) -> RecordBatch | None:
        try:
            batch = decode(data, RecordBatch)
        except MessageError as error:
            if not self._tally.refused:
                self._notice(f"a message among the records was refused: {harmless(str(error))}")
            self._tally.refused += 1
            return None
        opened = self._open.get(batch.number)
        if opened is None or batch.digest != opened.digest:
            self._tally.stale += 1
            return None
        self._pace.measure(batch)
        believed = plausible(batch, opened.generation)
        self._tally.refused += len(batch.records) - len(believed.records)
        return opened.ledger.accept(believed)

    def _name_the_outvoted(self) -> None:
        for number, opened in self._open.items():
            for found in opened.ledger.disagreements():
                if line := self._tally.outvote(number, found):
                    self._notice(line)

    def _hand_out_again(self) -> None:
        for number, opened in self._open.items():
            opened.unsent += opened.ledger.reissues()
            if opened.unsent and opened.is_published:
                self._broker.reissue(number, self._tasks(opened, opened.unsent))
                opened.unsent = []

    def _tend(self, accepted: list[RecordBatch]) -> None:
        """Once a second: beat, see who is there, mend what is missing, look for the overdue.

        Adds to ``accepted`` the answers of rollouts that were lost too often.
        """
        self._tended_s = self._clock()
        self._broker.beat()
        self._machines.listen()
        for opened in self._open.values():
            opened.claims.hear(self._machines.heard, self._tended_s)
            if self._is_cut_off:
                opened.claims.excuse(self._tended_s)
        standing = self._broker.look([*self._open])
        is_whole = not self._declare_again(standing)
        self._hand_out_again()
        if is_whole and not standing.num_queued and self._records.is_drained:
            self._give_up_the_overdue(accepted)
            self._hand_out_again()
        if self._closed:
            self._retire()
        if self._is_cut_off:
            self._is_cut_off = False
            self._heard_s = self._clock()  # workers come back when Redis does, and a moment later
        self._broker.report(self._report())

    def _declare_again(self, standing: Standing) -> bool:
        """Write what is missing in Redis, and only that; whether anything was."""
        missing = [n for n, opened in self._open.items() if not standing.generations[n].is_there]
        unpublished = [n for n, opened in self._open.items() if not opened.is_published]
        now_open = format_numbers(self._open)
        is_listed = standing.now_open == now_open or not (self._open or standing.now_open)
        if not standing.is_declared:
            self._broker.declare(encode(self._experiment))
        for number in {*missing, *unpublished}:
            opened = self._open[number]
            if opened.is_published and standing.generations[number].tasks:
                self._broker.store(number, opened.data)  # its tasks wait where they did
            else:
                self._publish(opened)
        if not is_listed:
            self._broker.list_open(now_open)
        if not standing.is_declared or set(missing) - set(unpublished):
            self._notice("Redis had lost this run: declared it again")
        elif self._is_cut_off:
            self._notice("Redis is back, with all that it had")
        return not standing.is_declared or bool(missing or unpublished)

    def _give_up_the_overdue(self, accepted: list[RecordBatch]) -> None:
        """Nothing waits in any queue, so some worker may be idle: it may try what is overdue."""
        now_s = self._clock()
        for opened in self._open.values():
            patience_s = self._pace.patience_s(opened.generation.max_ep_length)
            opened.ledger.start_clocks(now_s, patience_s, self._timeout_s)
            dropped = opened.claims.dropped(now_s, opened.ledger.unanswered)
            opened.ledger.hasten(dropped, now_s)
            if lost := opened.ledger.reissue_overdue(now_s):
                accepted.append(self._batch(opened, lost))

    def _batch(self, opened: _Open, records: Iterable[RolloutRecord]) -> RecordBatch:
        generation = opened.generation
        return RecordBatch(
            MESSAGE_VERSION,
            generation.run_uid,
            generation.number,
            opened.digest,
            HEAD,
            tuple(records),
        )

    def _report(self) -> RunReport:
        oldest = min(self._open, default=None)
        return self._tally.report(
            self._experiment,
            self._ledgers,
            generation=self._next_number if oldest is None else oldest,
            oldest=None if oldest is None else self._open[oldest].ledger,
            open_numbers=sorted(self._open),
            note=self._why_nothing_moves(),
            now_s=self._clock(),
        )

    def _cut_off(self, error: redis.RedisError) -> None:
        if not self._is_cut_off:
            self._is_cut_off = True
            reason = harmless(str(error)) or type(error).__name__
            self._notice(f"lost Redis ({reason}): waiting for it; Ctrl-C ends the run, resumable")

    def _why_nothing_moves(self) -> str:
        if self._is_cut_off:
            return "Redis is out of reach"
        note = self._tally.hopeless(self._ledgers)
        if note or not self._open or self._clock() - self._heard_s < _QUIET_S:
            return note
        return self._machines.why_still(self._experiment.code_version)

"""The head's side of a fleet: tasks out through Redis, records in, every rollout once."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import redis

from errors import MessageError
from fleet import heartbeat
from fleet.connection import Client
from fleet.head_broker import HeadBroker
from fleet.heartbeat import Heartbeat
from fleet.ledger import Ledger, Span
from fleet.open_numbers import format_numbers
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    RecordBatch,
    Task,
    decode,
    digest,
    encode,
)
from search.protocol import PoolStatus

_TEND_EVERY_S = 1.0
_TEND_EVERY_S_WITHOUT_WORKERS = 0.2
_MEASUREMENTS = 1000
_ENOUGH_MEASUREMENTS = 20
# Below this, a machine that swaps or a laptop's lid would count as a death.
_LEAST_PATIENCE_S = 5.0
_QUIET_S = 3.0


class _Open(msgspec.Struct):
    generation: Generation
    data: bytes
    digest: str
    ledger: Ledger


class RedisPool:
    """Fulfils `search.protocol.Pool` over Redis.

    Tasks are idempotent and this ledger knows which rollouts are missing, so there are no
    acknowledgements and no leases, and Redis holds nothing that cannot be written again.

    Args:
        client: of the head's Redis.
        experiment: the run's declaration.
        min_task_runtime_s: a task's rollouts together last about this long, where they are short.
        max_losses: how often a rollout may be lost with its worker.
        notice: where a line for people goes.
        clock: monotonic seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        client: Client,
        experiment: Experiment,
        *,
        min_task_runtime_s: float = 0.05,
        max_losses: int = 8,
        notice: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._experiment = experiment
        self._broker = HeadBroker(client, experiment.run_uid)
        self._min_task_runtime_s = min_task_runtime_s
        self._max_losses = max_losses
        self._notice = notice
        self._clock = clock
        self._sleep = sleep
        self._open: dict[int, _Open] = {}
        self._rollout_s: deque[float] = deque(maxlen=_MEASUREMENTS)
        self._step_s: deque[float] = deque(maxlen=_MEASUREMENTS)
        self._machines: list[Heartbeat] = []
        self._reissued = self._lost = 0
        self._tended_s = self._heard_s = clock()
        self._is_cut_off = False
        self._troubles: set[str] = set()
        self._complained_of_garbage = False
        try:
            self._broker.declare(encode(experiment))
            self._machines = heartbeat.fresh(client)
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
            first_copy=secrets.randbelow(2**48),
        )
        opened = _Open(generation, data, digest(data), ledger)
        self._open[generation.number] = opened
        self._heard_s = self._clock()
        try:
            self._publish(opened)
        except redis.RedisError as error:
            self._cut_off(error)

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """See `search.protocol.Pool.results`; an unreachable Redis is waited for."""
        accepted: list[RecordBatch] = []
        try:
            received = self._broker.pop_records(timeout_s)
            accepted += [batch for data in received if (batch := self._receive(data)) is not None]
            self._hand_out_again()
            every_s = _TEND_EVERY_S if self._machines else _TEND_EVERY_S_WITHOUT_WORKERS
            if self._clock() - self._tended_s >= every_s:
                self._tend()
        except redis.RedisError as error:
            # What the ledger has accepted is answered for good: the loop must have it.
            self._cut_off(error)
            self._sleep(min(timeout_s, 0.5))
        if accepted:
            self._heard_s = self._clock()
        return accepted

    def close(self, number: int) -> None:
        """See `search.protocol.Pool.close`."""
        opened = self._open.pop(number, None)
        if opened is None:
            return
        self._reissued += opened.ledger.reissued
        self._lost += opened.ledger.lost
        try:
            self._broker.retire(number, format_numbers(self._open))
        except redis.RedisError as error:
            self._cut_off(error)

    def status(self) -> PoolStatus:
        """See `search.protocol.Pool.status`; costs nothing."""
        ledgers = [opened.ledger for opened in self._open.values()]
        num_workers = sum(machine.num_workers for machine in self._machines)
        return PoolStatus(
            num_workers=num_workers,
            reissued=self._reissued + sum(ledger.reissued for ledger in ledgers),
            lost=self._lost + sum(ledger.lost for ledger in ledgers),
            note=self._why_nothing_moves(num_workers),
        )

    def shutdown(self) -> None:
        """See `search.protocol.Pool.shutdown`."""
        self._open.clear()
        with suppress(redis.RedisError):  # a Redis that is gone holds nothing of ours
            self._broker.withdraw()

    def _publish(self, opened: _Open) -> None:
        num_workers = sum(machine.num_workers for machine in self._machines)
        spans = opened.ledger.plan(num_workers, self._max_span())
        self._broker.publish(
            opened.generation.number,
            opened.data,
            self._tasks(opened, spans),
            format_numbers(self._open),
        )

    def _max_span(self) -> int:
        if not self._rollout_s:
            return 1
        mean_s = sum(self._rollout_s) / len(self._rollout_s)
        return max(1, int(self._min_task_runtime_s / max(mean_s, 1e-6)))

    def _tasks(self, opened: _Open, spans: Sequence[Span]) -> list[Task]:
        run_uid, number = self._experiment.run_uid, opened.generation.number
        return [
            Task(MESSAGE_VERSION, run_uid, number, opened.digest, first, stop, attempt, copy)
            for first, stop, attempt, copy in spans
        ]

    def _receive(self, data: bytes) -> RecordBatch | None:
        try:
            batch = decode(data, RecordBatch)
        except MessageError as error:
            if not self._complained_of_garbage:
                self._complained_of_garbage = True
                self._notice(f"a message among the records was refused: {error}")
            return None
        opened = self._open.get(batch.number)
        if opened is None or batch.digest != opened.digest:
            return None
        self._measure(batch)
        return opened.ledger.accept(batch)

    def _measure(self, batch: RecordBatch) -> None:
        done = [record for record in batch.records if record.status == "ok"]
        steps = sum(record.length for record in done)
        if steps and batch.evaluation_s > 0:
            self._rollout_s.append(batch.evaluation_s / len(batch.records))
            self._step_s.append(batch.evaluation_s / steps)

    def _hand_out_again(self) -> None:
        for number, opened in self._open.items():
            if spans := opened.ledger.reissues():
                self._broker.reissue(number, self._tasks(opened, spans))

    def _tend(self) -> None:
        """Once a second: beat, see who is there, mend what is missing, look for the overdue."""
        now_s = self._clock()
        self._tended_s = now_s
        self._broker.beat()
        self._machines = heartbeat.fresh(self._client)
        for machine in self._machines:
            for trouble in machine.troubles:
                if trouble not in self._troubles:
                    self._troubles.add(trouble)
                    self._notice(trouble)
        if not self._broker.is_declared(self._open):
            self._declare_again("Redis had lost this run: declared it again")
        elif self._is_cut_off:
            self._declare_again("Redis is back: handed out again what is unanswered")
        for number, opened in self._open.items():
            if opened.ledger.num_unanswered and not self._broker.num_queued(number):
                opened.ledger.start_clocks(now_s, self._patience_s(opened))
                opened.ledger.reissue_overdue(now_s)
        self._hand_out_again()

    def _declare_again(self, why: str) -> None:
        self._notice(why)
        self._is_cut_off = False
        self._broker.declare(encode(self._experiment))
        for opened in self._open.values():
            self._publish(opened)

    def _patience_s(self, opened: _Open) -> float:
        """How long a copy may take: its cap in steps at the slowest step of a hundred."""
        timeout_s = self._experiment.guard.rollout_timeout_s
        cap = opened.generation.max_ep_length
        if len(self._step_s) < _ENOUGH_MEASUREMENTS or cap is None:
            return timeout_s
        slow_step_s = sorted(self._step_s)[int(0.99 * len(self._step_s))]
        return min(timeout_s, max(_LEAST_PATIENCE_S, slow_step_s * cap * self._max_span()))

    def _cut_off(self, error: redis.RedisError) -> None:
        if not self._is_cut_off:
            self._is_cut_off = True
            reason = " ".join(str(error).split()) or type(error).__name__
            self._notice(f"lost Redis ({reason}): waiting for it; Ctrl-C ends the run, resumable")

    def _why_nothing_moves(self, num_workers: int) -> str:
        if self._is_cut_off:
            return "Redis is out of reach"
        if self._clock() - self._heard_s < _QUIET_S:
            return ""
        if not num_workers:
            return "no workers: start some with `python es/worker.py start-workers`"
        complaints = [trouble for machine in self._machines for trouble in machine.troubles]
        return complaints[0] if complaints else ""

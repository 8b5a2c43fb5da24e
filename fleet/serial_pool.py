"""Rollouts one after the other: the twin that every other pool must equal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import msgspec

from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.head.ledger import Ledger, Span
from search.evaluator import Evaluator
from search.messages import (
    MESSAGE_VERSION,
    Generation,
    RecordBatch,
    digest,
    encode,
)
from search.protocol import PoolStatus

WORKER = "serial"


class SerialPool:
    """Fulfils `search.protocol.Pool` with one evaluator, and no Redis.

    Args:
        evaluator: in this process, or guarded in a child of its own; the caller closes it.
        max_losses: how often a rollout may take the child down before it has failed.
    """

    def __init__(self, evaluator: Evaluator | GuardedEvaluator, max_losses: int = 8) -> None:
        self._evaluator = evaluator
        self._max_losses = max_losses
        self._open: dict[int, tuple[Generation, str, Ledger, deque[Span]]] = {}
        self._reissued = 0
        self._lost = 0

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        """See `search.protocol.Pool.open`."""
        ledger = Ledger(
            generation.num_rollouts, generation.num_training, known, max_losses=self._max_losses
        )
        spans = deque(ledger.plan(num_workers=1, max_span=1))
        self._open[generation.number] = generation, digest(encode(generation)), ledger, spans

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """Run rollouts of the oldest open generation for ``timeout_s``, at least one."""
        batches: list[RecordBatch] = []
        started_s = time.monotonic()
        while not batches or time.monotonic() - started_s < timeout_s:
            entry = next((entry for entry in self._open.values() if entry[3]), None)
            if entry is None:
                break
            batches += self._evaluate(*entry)
        return batches

    def _evaluate(
        self, generation: Generation, name: str, ledger: Ledger, spans: deque[Span]
    ) -> list[RecordBatch]:
        span = spans.popleft()
        started_s = time.perf_counter()
        record = self._evaluator.evaluate(generation, span.first, span.attempt)
        if record.status != "ok":  # the ledger tells one loss from the next by its copy
            record = msgspec.structs.replace(record, copy=span.copy)
        batch = RecordBatch(
            MESSAGE_VERSION,
            generation.run_uid,
            generation.number,
            name,
            WORKER,
            (record,),
            evaluation_s=time.perf_counter() - started_s,
        )
        accepted = ledger.accept(batch)
        spans.extendleft(ledger.reissues())
        return [accepted] if accepted is not None else []

    def close(self, number: int) -> None:
        """See `search.protocol.Pool.close`."""
        entry = self._open.pop(number, None)
        if entry is not None:
            self._reissued += entry[2].reissued
            self._lost += entry[2].lost

    def status(self) -> PoolStatus:
        """See `search.protocol.Pool.status`."""
        ledgers = [ledger for _, _, ledger, _ in self._open.values()]
        return PoolStatus(
            num_workers=1,
            reissued=self._reissued + sum(ledger.reissued for ledger in ledgers),
            lost=self._lost + sum(ledger.lost for ledger in ledgers),
        )

    def shutdown(self) -> None:
        """See `search.protocol.Pool.shutdown`."""
        self._open.clear()

"""One child at work on one run: tasks in, records out, and what its guard is told meanwhile."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec
import redis

from errors import MessageError
from fleet.slot import RECYCLE, Bulletin, Doing
from fleet.wear import Wear
from fleet.worker_broker import WorkerBroker
from search.evaluator import Evaluator
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

HEAD_QUIET_S = 3.0
"""A head beats every second; one not heard of for so long makes way for another run's."""

_KEPT_GENERATIONS = 4
_FLUSH_S = 0.5
_JOIN_EVERY_S = 2.0
_RECONNECT_S = 0.5

P = ParamSpec("P")
T = TypeVar("T")


class Leave(SystemExit):
    """The child's way out, with its exit code."""


class RunService:
    """One child at work on one run.

    Args:
        worker: the child's worker id.
        bulletin: where its guard reads what it does.
        broker: of the machine's Redis.
        experiment: the run.
        evaluator: built for that run.
    """

    def __init__(
        self,
        worker: str,
        bulletin: Bulletin,
        broker: WorkerBroker,
        experiment: Experiment,
        evaluator: Evaluator,
    ) -> None:
        self._worker = worker
        self._bulletin = bulletin
        self._broker = broker
        self._uid = experiment.run_uid
        self._guard = experiment.guard
        self._evaluator = evaluator
        self._generations: OrderedDict[tuple[int, str], Generation] = OrderedDict()
        self._wear = Wear(experiment.guard)

    def until_over(self) -> None:
        """Evaluate the run's tasks until its head is gone or another run calls more loudly."""
        open_numbers = patiently(self._broker.open_numbers, self._uid)
        newest = -1
        batch: bytes | None = None
        joined_s = -float("inf")
        waiting_since_s = time.monotonic()
        while True:
            if time.monotonic() - joined_s > _JOIN_EVERY_S:
                patiently(self._broker.join, self._uid)
                joined_s = time.monotonic()
            # The next one may open while we wait, also where none is open now.
            newest = max([newest, *open_numbers])
            data, open_numbers = patiently(
                self._broker.exchange, self._uid, batch, [*open_numbers, newest + 1]
            )
            self._bulletin.show(None)
            batch = None
            if data is None:
                if self._is_over():
                    patiently(self._broker.leave, self._uid)
                    return
                continue
            batch = self._work(data, time.monotonic() - waiting_since_s)
            waiting_since_s = time.monotonic()

    def _is_over(self) -> bool:
        silence_s = {run.uid: run.silence_s for run in patiently(self._broker.live_runs)}
        ours_s = silence_s.pop(self._uid, None)
        if ours_s is None:
            return True
        return ours_s > HEAD_QUIET_S and any(s < HEAD_QUIET_S for s in silence_s.values())

    def _work(self, data: bytes, obtaining_s: float) -> bytes | None:
        """Evaluate a task; its encoded records, but for those sent on the way."""
        try:
            task = decode(data, Task)
            generation = self._generation(task)
        except MessageError as error:
            say(f"a message among the tasks was refused: {error}")
            return None
        if generation is None or task.run_uid != self._uid:
            return None  # closed in the meantime, or not ours
        if task.stop > generation.num_rollouts:
            say(f"a task for rollout {task.stop - 1} of {generation.num_rollouts} was refused")
            return None
        return self._evaluate(task, generation, obtaining_s)

    def _evaluate(self, task: Task, generation: Generation, obtaining_s: float) -> bytes:
        records: list[RolloutRecord] = []
        unsent = task.first
        started_s = sent_s = time.perf_counter()
        for rollout in range(task.first, task.stop):
            self._show(task, unsent, rollout)
            record = self._evaluator.evaluate(generation, rollout, task.attempt)
            if record.status != "ok":
                record = msgspec.structs.replace(record, copy=task.copy)
            records.append(record)
            now_s = time.perf_counter()
            if self._wear.is_worn(self._bulletin.count_rollout()):
                self._leave(task, records, now_s - started_s, obtaining_s)
            if now_s - sent_s > _FLUSH_S and rollout + 1 < task.stop:
                batch = self._batch(task, records, now_s - started_s, obtaining_s)
                patiently(self._broker.send, self._uid, batch)
                records, unsent, obtaining_s = [], rollout + 1, 0.0
                started_s = sent_s = time.perf_counter()
        self._show(task, unsent, None)
        return self._batch(task, records, time.perf_counter() - started_s, obtaining_s)

    def _show(self, task: Task, unsent: int, rollout: int | None) -> None:
        self._bulletin.show(
            Doing(
                task.run_uid,
                task.number,
                task.digest,
                task.attempt,
                task.copy,
                unsent,
                task.stop,
                rollout,
                time.monotonic(),
                self._guard.rollout_timeout_s,
            )
        )

    def _leave(
        self, task: Task, records: list[RolloutRecord], evaluation_s: float, obtaining_s: float
    ) -> None:
        """Send what is done, give back what is not, and make room for a fresh process."""
        first_undone = records[-1].rollout + 1
        rest = [
            RolloutRecord(r, task.attempt, "returned", task.copy)
            for r in range(first_undone, task.stop)
        ]
        batch = self._batch(task, [*records, *rest], evaluation_s, obtaining_s)
        patiently(self._broker.send, self._uid, batch)
        self._bulletin.show(None)
        raise Leave(RECYCLE)

    def _batch(
        self, task: Task, records: list[RolloutRecord], evaluation_s: float, obtaining_s: float
    ) -> bytes:
        return encode(
            RecordBatch(
                MESSAGE_VERSION,
                task.run_uid,
                task.number,
                task.digest,
                self._worker,
                tuple(records),
                evaluation_s=evaluation_s,
                obtaining_s=obtaining_s,
            )
        )

    def _generation(self, task: Task) -> Generation | None:
        name = (task.number, task.digest)
        generation = self._generations.get(name)
        if generation is None:
            data = patiently(self._broker.generation, task.run_uid, task.number)
            if data is None or digest(data) != task.digest:
                return None
            generation = decode(data, Generation)
            self._generations[name] = generation
            if len(self._generations) > _KEPT_GENERATIONS:
                self._generations.popitem(last=False)
        return generation


def patiently(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``ask`` gives, asking again for as long as Redis is out of reach.

    Records may be sent twice that way, which changes nothing; they are never dropped.
    """
    while True:
        try:
            return ask(*args, **kwargs)
        except (redis.ConnectionError, redis.TimeoutError):
            time.sleep(_RECONNECT_S)


def say(line: str) -> None:
    """A line into the workers' log."""
    print(line, file=sys.stderr, flush=True)

"""One child at work on one run: tasks in, records out, and what its guard is told meanwhile."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import msgspec
import redis

from env.rollout import EpisodeAbandoned
from errors import MessageError
from fleet.machine.departure import Departure, Leave
from fleet.machine.fairness import fairer_run
from fleet.machine.slot import RECYCLE, Bulletin, Doing
from fleet.machine.wear import Wear
from fleet.machine.worker_broker import HEAD_QUIET_S, RecordsRefused, WorkerBroker
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

_KEPT_GENERATIONS = 4
_FLUSH_S = 0.5
_LOOK_EVERY_S = 2.0
_RECONNECT_S = 0.5

P = ParamSpec("P")
T = TypeVar("T")


class RunService:
    """One child at work on one run.

    Args:
        worker: the child's worker id.
        bulletin: where its guard reads what it does.
        broker: of the machine's Redis.
        experiment: the run.
        evaluator: built for that run.
        may_serve: whether this child can serve the run of a uid.
        departure: what a SIGTERM has asked for.
    """

    def __init__(
        self,
        worker: str,
        bulletin: Bulletin,
        broker: WorkerBroker,
        experiment: Experiment,
        evaluator: Evaluator,
        *,
        may_serve: Callable[[str], bool],
        departure: Departure,
    ) -> None:
        self._worker = worker
        self._bulletin = bulletin
        self._broker = broker
        self._uid = experiment.run_uid
        self._declared = encode(experiment)
        self._is_outdated = False
        self._guard = experiment.guard
        self._evaluator = evaluator
        self._may_serve = may_serve
        self._departure = departure
        self._generations: OrderedDict[tuple[int, str], Generation] = OrderedDict()
        self._wear = Wear(experiment.guard)

    def until_over(self) -> None:
        """Evaluate the run's tasks until its head is gone, has declared the run otherwise, or
        another run has fewer workers.
        """
        open_numbers = patiently(self._broker.open_numbers, self._uid)
        newest = -1
        batch: bytes | None = None
        looked_s = time.monotonic()
        waiting_since_s = time.monotonic()
        while True:
            # The next one may open while we wait, also where none is open now.
            newest = max([newest, *open_numbers])
            numbers = sorted({*open_numbers, max(0, newest), newest + 1})
            task, open_numbers = patiently(self._exchange, batch, numbers)
            batch = None
            if task is not None:
                # What is open was read before the wait, in which the task's generation may have
                # opened.
                newest = max(newest, task.number)
                batch = self._work(task, time.monotonic() - waiting_since_s)
                waiting_since_s = time.monotonic()
            is_idle = task is None
            if is_idle or self._is_outdated or time.monotonic() - looked_s > _LOOK_EVERY_S:
                looked_s = time.monotonic()
                if patiently(self._should_go, is_idle=is_idle):
                    if batch is not None:
                        patiently(self._broker.send, self._uid, batch)
                    self._bulletin.show(None)
                    patiently(self._broker.leave, self._uid)
                    return

    def _exchange(
        self, batch: bytes | None, numbers: Sequence[int]
    ) -> tuple[Task | None, list[int]]:
        """Send ``batch``; the next task, which is in the slot before anything else may happen."""
        unsent: bytes | None = None
        with self._departure.held():
            try:
                data, open_numbers = self._broker.exchange(self._uid, batch, numbers)
            except RecordsRefused as refusal:
                data, open_numbers, unsent = refusal.task, refusal.numbers, batch
            task = self._task(data) if data is not None else None
            if task is None:
                self._bulletin.show(None)
            else:
                self._show(task, task.first, None)
        if unsent is not None:
            patiently(self._broker.send, self._uid, unsent)
        return task, open_numbers

    def _task(self, data: bytes) -> Task | None:
        try:
            task = decode(data, Task)
        except MessageError as error:
            say(f"a message among the tasks was refused: {error}")
            return None
        return task if task.run_uid == self._uid else None

    def _should_go(self, *, is_idle: bool) -> bool:
        if self._is_declared_otherwise():
            return True
        self._broker.join(self._uid)
        runs = self._broker.live_runs()
        ours = [run for run in runs if run.uid == self._uid]
        others = [
            run
            for run in runs
            if run.uid != self._uid and run.silence_s < HEAD_QUIET_S and self._may_serve(run.uid)
        ]
        if not ours:
            return is_idle
        if ours[0].silence_s > HEAD_QUIET_S:
            return is_idle and bool(others)
        return fairer_run(self._worker, ours[0], others, time.time()) is not None

    def _is_declared_otherwise(self) -> bool:
        """Whether another head has resumed the run with other code, say: then we may not fit."""
        data = None if self._is_outdated else self._broker.experiment(self._uid)
        if data is not None:
            try:
                self._is_outdated = encode(decode(data, Experiment)) != self._declared
            except MessageError:
                self._is_outdated = True
        return self._is_outdated

    def _work(self, task: Task, obtaining_s: float) -> bytes | None:
        """Evaluate a task; its encoded records, but for those sent on the way."""
        is_new = (task.number, task.digest) not in self._generations
        if is_new and patiently(self._is_declared_otherwise):
            return self._batch(task, _returned(task, task.first), 0.0, obtaining_s)
        try:
            generation = self._generation(task)
        except MessageError as error:
            say(f"a generation was refused: {error}")
            return None
        if generation is None:
            return None  # closed in the meantime
        if task.stop > generation.num_rollouts:
            say(f"a task for rollout {task.stop - 1} of {generation.num_rollouts} was refused")
            return None
        try:
            return self._evaluate(task, generation, obtaining_s)
        except EpisodeAbandoned:
            return None  # with what else there is of the task: its generation is closed

    def _evaluate(self, task: Task, generation: Generation, obtaining_s: float) -> bytes:
        records: list[RolloutRecord] = []
        unsent = task.first
        started_s = sent_s = time.perf_counter()
        disowned = self._bulletin.disowned(task.digest)
        for rollout in range(task.first, task.stop):
            self._show(task, unsent, rollout)
            record = self._evaluator.evaluate(generation, rollout, task.attempt, disowned)
            records.append(msgspec.structs.replace(record, copy=task.copy))
            now_s = time.perf_counter()
            if self._wear.is_worn(self._bulletin.count(record.length, record.error or None)):
                self._show(task, unsent, None)  # Redis may let us wait longer than a rollout may
                self._leave(task, records, now_s - started_s, obtaining_s)
            if now_s - sent_s > _FLUSH_S and rollout + 1 < task.stop:
                self._show(task, unsent, None)
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
        rest = _returned(task, records[-1].rollout + 1)
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


def _returned(task: Task, first: int) -> list[RolloutRecord]:
    """Of ``task``, what comes from ``first`` on is given back undone."""
    return [
        RolloutRecord(rollout, task.attempt, "returned", task.copy)
        for rollout in range(first, task.stop)
    ]


def patiently(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``ask`` gives, asking again for as long as Redis is out of reach, or full, or busy.

    Records may be sent twice that way, which changes nothing; they are never dropped.
    """
    is_said = False
    while True:
        try:
            return ask(*args, **kwargs)
        except redis.exceptions.NoPermissionError:
            raise  # that does not pass
        except (redis.ConnectionError, redis.TimeoutError):
            pass
        except redis.ResponseError as error:
            if not is_said:
                why = str(error).rpartition("caused error: ")[2]  # without the command, records
                say(f"Redis refuses us ({why}): trying again")
            is_said = True
        time.sleep(_RECONNECT_S)


def say(line: str) -> None:
    """A line into the workers' log."""
    print(line, file=sys.stderr, flush=True)

"""The head's side of a Ray cluster: tasks to actors, records back, every rollout once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.exceptions import RaySystemError

from errors import ConfigError, EsError, MessageError, ServiceUnavailable
from fleet.actors.crew import Answer, Crew
from fleet.evaluation.channel import Kind
from fleet.figures import harmless
from fleet.head.ledger import Ledger, Span
from fleet.head.pace import Pace
from fleet.head.plausible import plausible
from fleet.head.tally import Tally
from fleet.provision import Workers
from search.messages import (
    MAX_ERROR_CHARS,
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
"""The worker of records that nobody sent: of rollouts whose actor died."""

AHEAD_S = 0.2
"""Tasks that are shorter than this wait at an actor for the one before; see `RayPool`."""

_LOOK_EVERY_S = 0.5
_OVERDUE_EVERY_S = 1.0
_QUIET_S = 3.0
_BUILD_S = 120.0
_BUILD_TRIES = 3


class _Open(msgspec.Struct):
    """An open generation; ``waiting``: what no actor has yet; ``reference``: Ray's to its bytes."""

    generation: Generation
    digest: str
    ledger: Ledger
    waiting: deque[Span]
    reference: Any


class RayPool:
    """Fulfils `search.protocol.Pool` with actors of the Ray cluster this process is connected to.

    Each actor has one task in hand. Where tasks are short, another waits there, which hides the
    time that a call takes; a longer rollout waits here, for whoever is free first. An actor that
    dies is replaced, and what it had is handed out again.

    Args:
        experiment: the run's declaration.
        workers: actors, of one processor each: a number, or ``auto`` for all that are free.
        include: folder of the user's own modules, as the actors' machines know it; one that is
            relative counts from the folder of our code there.
        noise_dir: folder of the noise table there.
        min_task_runtime_s: a task's rollouts together last about this long, where they are short.
        max_losses: how often a rollout may be lost with its actor.
        silence_s: an actor that owes an answer and says nothing for so long is ended; ``None`` is
            what its own guard may need to build an environment three times and run a rollout.
        notice: where a line for people goes.
        clock: monotonic seconds.

    Raises:
        ConfigError: the environment or the policy cannot be built on any node.
        ServiceUnavailable: Ray cannot start our actors, or is gone. So may every method.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        workers: Workers = "auto",
        include: Path | None = None,
        noise_dir: Path | None = None,
        min_task_runtime_s: float = 0.05,
        max_losses: int = 8,
        silence_s: float | None = None,
        notice: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if workers == 0:
            raise ConfigError("workers=0: pool=ray has its own actors evaluate; say how many")
        self._timeout_s = experiment.guard.rollout_timeout_s
        self._pace = Pace(min_task_runtime_s, self._timeout_s)
        self._max_losses = max_losses
        self._notice = notice
        self._clock = clock
        self._tally = Tally()
        self._open: dict[int, _Open] = {}
        self._heard_s = self._looked_s = clock()
        longest_s = _BUILD_TRIES * max(_BUILD_S, self._timeout_s) + self._timeout_s
        self._crew = Crew(
            encode(experiment),
            workers=workers,
            include=str(include or ""),
            noise_dir=str(noise_dir or ""),
            silence_s=longest_s if silence_s is None else silence_s,
            notice=notice,
            clock=clock,
        )
        with _reaching_ray():
            self._crew.tend()

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        """See `search.protocol.Pool.open`."""
        data = encode(generation)
        ledger = Ledger(
            generation.num_rollouts, generation.num_training, known, max_losses=self._max_losses
        )
        spans = ledger.plan(self._crew.num_expected, self._pace.max_span())
        with _reaching_ray():
            reference = ray.put(data)
            self._open[generation.number] = _Open(
                generation, digest(data), ledger, deque(spans), reference
            )
            self._heard_s = self._clock()
            self._hand_out()

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """See `search.protocol.Pool.results`."""
        accepted: list[RecordBatch] = []
        deadline_s = self._clock() + timeout_s
        with _reaching_ray():
            while True:
                self._crew.tend()
                self._hand_out()
                wait_s = max(0.0, min(_LOOK_EVERY_S, deadline_s - self._clock()))
                for answer in self._crew.answers(wait_s):
                    accepted += self._take(answer)
                self._look_for_overdue(accepted)
                self._hand_out()
                if accepted or self._clock() >= deadline_s:
                    break
        if accepted:
            self._heard_s = self._clock()
        return accepted

    def close(self, number: int) -> None:
        """See `search.protocol.Pool.close`. What an actor still has of it may take some seconds
        more; then the actor is ended and replaced, which is quicker than a long rollout.
        """
        opened = self._open.pop(number, None)
        if opened is not None:
            self._tally.close(opened.ledger)
            self._crew.forget(opened.digest)

    def status(self) -> PoolStatus:
        """See `search.protocol.Pool.status`; costs nothing."""
        counts = self._tally.counts(self._ledgers)
        return PoolStatus(
            num_workers=self._crew.num_ready,
            num_machines=self._crew.num_hosts,
            reissued=counts.reissued,
            lost=counts.lost,
            note=self._why_nothing_moves(),
        )

    def shutdown(self) -> None:
        """See `search.protocol.Pool.shutdown`."""
        self._open.clear()
        self._crew.close()

    @property
    def _ledgers(self) -> list[Ledger]:
        return [opened.ledger for opened in self._open.values()]

    def _hand_out(self) -> None:
        """The oldest generation first, and in it what has been tried before."""
        most = 2 if self._pace.mean_s * self._pace.max_span() < AHEAD_S else 1
        for number in sorted(self._open):
            opened = self._open[number]
            opened.waiting.extendleft(reversed(opened.ledger.reissues()))
            while opened.waiting:
                actor = self._crew.free(most)
                if actor is None:
                    return
                first, stop, attempt, copy = opened.waiting.popleft()
                task = Task(
                    MESSAGE_VERSION,
                    opened.generation.run_uid,
                    number,
                    opened.digest,
                    first,
                    stop,
                    attempt,
                    copy,
                )
                self._crew.give(actor, task, opened.reference)

    def _take(self, answer: Answer) -> list[RecordBatch]:
        """Records that are new and final in what became of a task."""
        task = answer.task
        opened = self._open.get(task.number)
        if opened is None or opened.digest != task.digest:
            self._tally.stale += 1
            return []
        batches = []
        try:
            if answer.frame is not None:
                batches.append(self._read(answer, opened))
        except MessageError as error:
            if not self._tally.refused:
                self._notice(f"an actor's answer was refused: {harmless(str(error))}")
            self._tally.refused += 1
        answered = {record.rollout for batch in batches for record in batch.records}
        missing = [r for r in range(task.first, task.stop) if r not in answered]
        if missing:
            batches.append(self._batch(opened, _unanswered(answer, missing)))
        return self._accepted(opened, batches)

    def _read(self, answer: Answer, opened: _Open) -> RecordBatch:
        assert answer.frame is not None
        if answer.frame.kind is not Kind.RECORDS:
            raise MessageError(f"a {answer.frame.kind.name} instead of records")
        batch = decode(answer.frame.data, RecordBatch)
        if batch.digest != opened.digest:
            raise MessageError("records of another generation than was asked")
        self._pace.measure(batch)
        believed = plausible(batch, opened.generation)
        self._tally.refused += len(batch.records) - len(believed.records)
        return believed

    def _accepted(self, opened: _Open, batches: Iterable[RecordBatch]) -> list[RecordBatch]:
        accepted = []
        for batch in batches:
            if (final := opened.ledger.accept(batch)) is not None:
                self._tally.add(final)
                accepted.append(final)
        return accepted

    def _look_for_overdue(self, accepted: list[RecordBatch]) -> None:
        """Nobody has anything to do: some may try what another takes too long for."""
        now_s = self._clock()
        if now_s - self._looked_s < _OVERDUE_EVERY_S:
            return
        self._looked_s = now_s
        if any(opened.waiting for opened in self._open.values()) or self._crew.free(1) is None:
            return
        for opened in self._open.values():
            patience_s = self._pace.patience_s(opened.generation.max_ep_length)
            opened.ledger.start_clocks(now_s, patience_s, self._timeout_s)
            if lost := opened.ledger.reissue_overdue(now_s):
                batch = self._batch(opened, lost)
                self._tally.add(batch)
                accepted.append(batch)

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

    def _why_nothing_moves(self) -> str:
        note = self._tally.hopeless(self._ledgers)
        if note or not self._open or self._clock() - self._heard_s < _QUIET_S:
            return note
        return self._crew.why_still()


def _unanswered(answer: Answer, rollouts: Iterable[int]) -> list[RolloutRecord]:
    """What is said for rollouts that nobody has answered: lost where they may have begun."""
    task = answer.task
    is_lost = answer.has_begun or answer.frame is not None
    error = (answer.why or "its actor gave no proper answer")[:MAX_ERROR_CHARS]
    return [
        RolloutRecord(r, task.attempt, "lost" if is_lost else "returned", task.copy, error=error)
        for r in rollouts
    ]


@contextmanager
def _reaching_ray() -> Iterator[None]:
    """Ray's own word for a cluster that is gone, as one line of ours."""
    try:
        yield
    except Exception as error:
        is_gone = isinstance(error, (ConnectionError, RaySystemError)) or not ray.is_initialized()
        if isinstance(error, EsError) or not is_gone:
            raise
        raise ServiceUnavailable(
            f"lost the Ray cluster ({harmless(str(error), 200)}): resume=<run id> goes on when it "
            "is back"
        ) from None

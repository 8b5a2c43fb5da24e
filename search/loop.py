"""The loop: ask, submit, collect, tell, record. No Redis, Ray or Sacred; no arithmetic either.

At most ``overlap + 1`` generations are open. They are told in order, and generation g is asked as
soon as g - overlap - 1 has been told, so that what it depends on is fixed by rule, not by timing.
An asynchronous run tells them as they complete and asks for another at once: timing decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from policy.statistics import ObservationStatistics
from search.failure_limit import FailureLimit
from search.journal import Answered, Closed, Journal, Opened
from search.messages import RecordBatch
from search.metrics import generation_metrics
from search.open_generation import OpenGeneration
from search.protocol import Pool, Recorder
from search.run_state import Finalist, RunState
from search.stopwatch import Stopwatch
from search.totals import Totals, totals_after

_POLL_S = 0.25
_SHOW_EVERY_S = 0.25


class RunOutcome(msgspec.Struct, frozen=True):
    """How a run ended.

    Attributes:
        reason: in words.
        ended_by: the option that ended it; by a greater one it would have gone on.
        totals: the run's.
        theta: ``(D,)`` float32, what the run ends with: the last, or what validated best.
        final_fitness_v: fitness of theta on the final-test seeds.
        statistics: observation moments that belong to theta; None where nothing is normalised.
    """

    reason: str
    ended_by: str
    totals: Totals
    theta: NDArray[np.float32]
    final_fitness_v: NDArray[np.float64]
    statistics: ObservationStatistics | None = None


class Loop:
    """One run's loop over a `RunState`, fresh or resumed.

    Args:
        state: where the run stands.
        pool: who evaluates.
        journal: what a resume needs; written before anything that follows from it is published.
        recorder: who remembers and shows.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        state: RunState,
        pool: Pool,
        journal: Journal,
        recorder: Recorder,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._settings = state.settings
        self._pool = pool
        self._journal = journal
        self._recorder = recorder
        self._clock = clock
        in_flight = self._settings.overlap + 1 if self._settings.asynchronous else 1
        self._failure_limit = FailureLimit(self._settings.max_failed_fraction, in_flight)
        self._earlier = state.totals
        self._started_s = clock()
        self._stopwatch = Stopwatch(clock)
        self._snapshot_s = clock()
        self._shown_s = -_SHOW_EVERY_S
        self._note = ""

    def run(self) -> RunOutcome:
        """Go on until an end is reached.

        Raises:
            RunAborted: too many rollouts failed, or none has a finite fitness.
        """
        state = self._state
        self._write_snapshot()
        for opened in state.open:
            self._publish(opened)
        while not (end := self._end()):
            for opened in state.ask_due():
                state.note_offset(opened, self._journal.offset)
                self._journal.append(Opened(opened.generation.number, opened.digest))
                self._publish(opened)
            self._close(self._collect())
        for opened in state.open:
            self._pool.close(opened.generation.number)
        self._write_snapshot()
        return self._final_test(*end)

    def _end(self) -> tuple[str, str] | None:
        """Why the run is at its end, and the option that says so; None where it is not."""
        settings, totals = self._settings, self._state.totals
        target, current = settings.target_fitness, totals.current
        if target is not None and current is not None and current >= target:
            return f"target fitness {target:g} reached", "target_fitness"
        if settings.max_wall_s is not None and totals.wall_s >= settings.max_wall_s:
            return f"{settings.max_wall_s:g} s used", "max_wall_s"
        if settings.max_env_steps is not None and totals.env_steps >= settings.max_env_steps:
            return f"{settings.max_env_steps} simulator steps used", "max_env_steps"
        if self._state.told >= settings.num_generations:
            return "all generations told", "num_generations"
        return None

    def _publish(self, opened: OpenGeneration) -> None:
        self._stopwatch.published(opened)
        self._pool.open(opened.generation, opened.known)

    def _collect(self) -> OpenGeneration:
        """Take records until a generation may be told."""
        tellable = self._state.tellable
        while True:
            # Before anything else: a run that was resumed may have had all of its failures before.
            for opened in tellable:
                self._failure_limit.check(opened)
            if complete := [opened for opened in tellable if opened.is_complete]:
                return complete[0]
            self._take(self._pool.results(_POLL_S))
            self._show(tellable)
            self._write_snapshot_if_due()

    def _take(self, batches: Sequence[RecordBatch]) -> None:
        """Journal the records that came together, in one write, and only then count them."""
        by_digest = {opened.digest: opened for opened in self._state.open}
        wanted = [batch for batch in batches if batch.digest in by_digest]
        self._journal.append(*map(Answered, wanted))
        for batch in wanted:
            opened = by_digest[batch.digest]
            opened.add(batch)
            self._stopwatch.came(opened.generation.number)

    def _show(self, tellable: Sequence[OpenGeneration]) -> None:
        now_s = self._clock()
        if now_s - self._shown_s < _SHOW_EVERY_S:
            return
        self._shown_s = now_s
        status = self._pool.status()
        done = sum(opened.num_done for opened in tellable)
        total = sum(opened.generation.num_rollouts for opened in tellable)
        self._recorder.progress(self._state.told, done, total, status)
        if status.note != self._note:
            self._note = status.note
            if status.note:
                self._recorder.notice(status.note)

    def _close(self, opened: OpenGeneration) -> None:
        """Tell, journal, record: in this order, so that a resume repeats at worst the telling."""
        state, number = self._state, opened.generation.number
        generation_s, now_s = self._stopwatch.completed(number), self._clock()
        self._pool.close(number)
        status = self._pool.status()
        totals = totals_after(
            state.totals,
            opened,
            reissued=self._earlier.reissued + status.reissued,
            lost=self._earlier.lost + status.lost,
            wall_s=self._wall_s(),
        )
        told = state.told
        is_best = totals.best_generation == told
        is_kept = is_best or self._is_checkpoint_due(told)
        checkpoint = state.checkpoint(opened.generation) if is_kept else {}
        fitness_ce = opened.fitness_ce()
        state.count(opened, totals)
        update = state.tell(opened, fitness_ce)
        update_s = self._clock() - now_s
        self._failure_limit.passed(opened)
        state.statistics = opened.merged(state.statistics)
        metrics = generation_metrics(
            opened,
            update=update,
            totals=totals,
            status=status,
            generation_s=generation_s,
            update_s=update_s,
        )
        self._journal.append(
            Closed(
                number,
                fitness_ce.astype("<f8").tobytes(),
                opened.generation.num_episodes,
                state.statistics,
                metrics,
                totals,
            )
        )
        self._journal.sync()
        self._recorder.generation(told, metrics)
        self._recorder.times(self._stopwatch.told(opened, told))
        if is_kept:
            self._recorder.checkpoint(told, checkpoint, is_best=is_best, is_last=False)
        self._write_snapshot_if_due()

    def _is_checkpoint_due(self, number: int) -> bool:
        num_checkpoints = self._settings.num_checkpoints
        every = max(1, self._settings.num_generations // max(1, num_checkpoints))
        if self._settings.render_every and number % self._settings.render_every == 0:
            return True
        return num_checkpoints > 0 and number % every == 0

    def _wall_s(self) -> float:
        return self._earlier.wall_s + self._clock() - self._started_s

    def _write_snapshot_if_due(self) -> None:
        if self._clock() - self._snapshot_s >= self._settings.snapshot_every_s:
            self._write_snapshot()

    def _write_snapshot(self) -> None:
        """With the time until now: a generation may take hours, and what of it is in the journal
        when the run is stopped has taken its time too.
        """
        state = self._state
        state.totals = msgspec.structs.replace(state.totals, wall_s=self._wall_s())
        self._journal.sync()
        self._journal.write_snapshot(self._state.snapshot(self._journal.offset))
        self._snapshot_s = self._clock()

    def _final_test(self, reason: str, ended_by: str) -> RunOutcome:
        """End with the finalist that does best, the last theta among equals."""
        state = self._state
        finalists = state.finalists()
        self._keep(finalists[0], state.told)
        scored = []
        for number, finalist in enumerate(finalists):
            fitness_v = self._tested(state.final_test(finalist, number))
            scored.append((fitness_v, finalist))
        fitness_v, winner = max(scored, key=lambda score: _mean(score[0]))
        if winner is not finalists[0]:
            # Beside the last, not in its place: that may be what a next run is to begin from.
            self._keep(winner, state.told + 1)
            self._recorder.notice(
                f"generation {state.totals.best_generation} does better than the last "
                f"({_mean(fitness_v):.2f}, not {_mean(scored[0][0]):.2f}): the run ends with it; "
                f"`env/evaluate.py RUN --gen {state.told} --save last.json` has the last, for "
                "load_from=last.json"
            )
        theta = winner.theta.copy()
        return RunOutcome(reason, ended_by, state.totals, theta, fitness_v, winner.statistics)

    def _keep(self, finalist: Finalist, number: int) -> None:
        kept = self._state.checkpoint(self._state.final_test(finalist, 0).generation)
        self._recorder.checkpoint(number, kept, is_best=False, is_last=True)

    def _tested(self, opened: OpenGeneration) -> NDArray[np.float64]:
        """Fitness in the closing test."""
        self._pool.open(opened.generation)
        while not opened.is_complete:
            for batch in self._pool.results(_POLL_S):
                if batch.digest == opened.digest:
                    opened.add(batch)
        self._pool.close(opened.generation.number)
        return opened.validation_v()


def _mean(fitness_v: NDArray[np.float64]) -> float:
    return float(fitness_v.mean()) if len(fitness_v) else -math.inf

"""Runs whose candidates are told as they come: as exact on resume, and as careful with failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from loop_run import SETTINGS, KilledError, Silence
from scripted_pool import Judge, ScriptedPool, quadratic

from errors import RunAborted
from search.journal import Closed, Journal, Opened
from search.loop import Loop, RunOutcome
from search.messages import Generation, Genomes, RolloutRecord
from search.noise import DEFAULT_LENGTH, NoiseTable, open_table
from search.run_state import RunState

ONE_BY_ONE = msgspec.structs.replace(
    SETTINGS, num_generations=60, overlap=5, asynchronous=True, validation_every=6
)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoiseTable]:
    with open_table(1, DEFAULT_LENGTH, tmp_path_factory.mktemp("noise")) as table:
        yield table


class OneByOne:
    """A search that believes in the best candidate so far, and is told in any order."""

    max_overlap = 100

    def __init__(self) -> None:
        self.theta = np.zeros(4, dtype=np.float32)
        self.best = -np.inf
        self.asked: list[int] = []
        self.told: list[int] = []
        self._open: dict[int, np.ndarray] = {}

    def ask(self, generation: int) -> Genomes:
        self.asked.append(generation)
        step = np.random.Generator(np.random.Philox(generation)).normal(0, 0.3, 4)
        self._open[generation] = (self.theta + step).astype(np.float32)
        return Genomes.of(self.theta, self._open[generation][None])

    def tell(self, generation: int, fitness_ce: np.ndarray) -> Mapping[str, float]:
        self.told.append(generation)
        candidate = self._open.pop(generation)
        if np.nanmax(fitness_ce, initial=-np.inf) > self.best:
            self.best, self.theta = float(np.nanmax(fitness_ce)), candidate
        return {}

    def state(self) -> Mapping[str, Any]:
        numbers = np.array(sorted(self._open), dtype=np.int64)
        waiting = np.array([self._open[n] for n in numbers], dtype=np.float32).reshape(-1, 4)
        return {"theta": self.theta, "best": self.best, "open": numbers, "waiting": waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.theta, self.best = state["theta"].copy(), float(state["best"])
        self._open = {int(n): row for n, row in zip(state["open"], state["waiting"], strict=True)}


def train_one_by_one(
    folder: Path,
    pool: ScriptedPool,
    *,
    resume: bool = False,
    recorder: Silence | None = None,
) -> tuple[RunOutcome, OneByOne]:
    strategy = OneByOne()
    with Journal(folder) as journal:
        state = RunState(strategy, ONE_BY_ONE, None)
        if resume:
            state.resume(journal)
        outcome = Loop(state, pool, journal, recorder or Silence()).run()
    return outcome, strategy


def test_an_asynchronous_run_tells_what_comes_first_and_asks_for_another_at_once(
    tmp_path: Path, noise: NoiseTable
) -> None:
    recorder = Silence()
    pool = ScriptedPool(quadratic(noise), disorder=3)
    outcome, strategy = train_one_by_one(tmp_path, pool, recorder=recorder)
    assert sorted(strategy.told) == list(range(60))
    assert strategy.told != sorted(strategy.told)
    assert strategy.asked == list(range(60))
    assert outcome.totals.generations == 60
    assert outcome.totals.rollouts == 60 + 60 // 6 * 2
    assert list(recorder.metrics) == list(range(60))
    assert len(outcome.final_fitness_v) == 3
    assert outcome.totals.best_current is not None


def test_an_asynchronous_run_has_no_more_in_flight_than_it_may(
    tmp_path: Path, noise: NoiseTable
) -> None:
    class Watched(ScriptedPool):
        most = 0

        def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
            super().open(generation, known)
            self.most = max(self.most, len(self.opened) - len(self.closed))

    pool = Watched(quadratic(noise), disorder=3)
    train_one_by_one(tmp_path, pool)
    assert pool.most == ONE_BY_ONE.overlap + 1


@pytest.mark.parametrize("stop_after", [1, 7, 31, 58])
def test_an_asynchronous_run_that_was_stopped_goes_on_with_what_was_open(
    tmp_path: Path, noise: NoiseTable, stop_after: int
) -> None:
    stopped, recorder = Silence(dies_after=stop_after), Silence()
    first = ScriptedPool(quadratic(noise), disorder=4)
    with pytest.raises(KilledError):
        train_one_by_one(tmp_path, first, recorder=stopped)
    second = ScriptedPool(quadratic(noise), disorder=5)
    outcome, strategy = train_one_by_one(tmp_path, second, resume=True, recorder=recorder)
    assert outcome.totals.generations == 60
    assert outcome.totals.rollouts == 60 + 60 // 6 * 2
    assert [*stopped.metrics, *recorder.metrics] == list(range(60))
    assert -strategy.best < 4.0


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_an_asynchronous_journal_that_was_cut_anywhere_is_gone_on_with(
    tmp_path: Path, noise: NoiseTable, cut: int
) -> None:
    """Told in the order in which the journal says, so theta and the open candidates come back."""
    with pytest.raises(KilledError):
        train_one_by_one(tmp_path, _dies_after(noise, 3 + cut))
    found = OneByOne()
    with Journal(tmp_path) as journal:
        state = RunState(found, ONE_BY_ONE, None)
        state.resume(journal)
        entries = list(journal.entries())
    closed = [entry for entry in entries if isinstance(entry, Closed)]
    opened = {entry.digest: entry.number for entry in entries if isinstance(entry, Opened)}
    best = max((np.nanmax(entry.fitness_ce) for entry in closed), default=-np.inf)
    assert found.told == [entry.number for entry in closed]
    assert found.best == best
    assert {one.digest for one in state.open} == {
        name for name, number in opened.items() if number not in found.told
    }
    outcome, _ = train_one_by_one(tmp_path, ScriptedPool(quadratic(noise), disorder=6), resume=True)
    assert outcome.totals.generations == 60
    assert outcome.totals.rollouts == 60 + 60 // 6 * 2


def _dies_after(noise: NoiseTable, rollouts: int) -> ScriptedPool:
    judge, left = quadratic(noise), [rollouts]

    def mortal(generation: Generation, rollout: int) -> RolloutRecord:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return judge(generation, rollout)

    return ScriptedPool(mortal, disorder=7)


def test_one_failed_candidate_does_not_end_an_asynchronous_run_and_many_do(
    tmp_path: Path, noise: NoiseTable
) -> None:
    judge = quadratic(noise)

    def failing(every: int) -> Judge:
        def judged(generation: Generation, rollout: int) -> RolloutRecord:
            if generation.number % every == 0 and rollout < generation.num_training:
                return RolloutRecord(rollout, 1, "failed", error="fell over")
            return judge(generation, rollout)

        return judged

    outcome, _ = train_one_by_one(tmp_path / "a", ScriptedPool(failing(3)))
    assert outcome.totals.failed == 20
    with pytest.raises(RunAborted, match=r"rollouts of the last \d+ generations .* fell over"):
        train_one_by_one(tmp_path / "b", ScriptedPool(failing(1)))

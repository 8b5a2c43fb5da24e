"""What a run ends with, where the search goes on past its best."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from loop_run import SETTINGS, KilledError, Silence
from numpy.typing import NDArray
from scripted_pool import Judge, ScriptedPool, quadratic

from es.openai_es import OpenAIES
from policy.statistics import ObservationStatistics
from search.journal import Journal
from search.loop import Loop, RunOutcome
from search.messages import Generation, RolloutRecord
from search.noise import DEFAULT_LENGTH, NoiseTable, open_table
from search.run_state import RunState
from search.settings import LoopSettings

BEST = 3
ENDS_WITH_BEST = msgspec.structs.replace(
    SETTINGS, may_end_with_best=True, num_validation=1, num_final=1
)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoiseTable]:
    with open_table(1, DEFAULT_LENGTH, tmp_path_factory.mktemp("noise")) as table:
        yield table


def train(
    folder: Path, noise: NoiseTable, settings: LoopSettings, judge: Judge, *, resume: bool = False
) -> tuple[RunOutcome, Silence]:
    strategy = OpenAIES(
        np.zeros(4, dtype=np.float32), noise, run_seed=7, pop_size=10, sigma=0.1, lr=0.1
    )
    recorder = Silence()
    with Journal(folder) as journal:
        state = RunState(strategy, settings, ObservationStatistics.empty(2))
        if resume:
            state.resume(journal)
        return Loop(state, ScriptedPool(judge), journal, recorder).run(), recorder


@pytest.fixture(scope="module")
def theta_of_best(
    noise: NoiseTable, tmp_path_factory: pytest.TempPathFactory
) -> NDArray[np.float32]:
    found: dict[int, NDArray[np.float32]] = {}

    def judge(generation: Generation, rollout: int) -> RolloutRecord:
        found[generation.number] = generation.candidates.theta
        return quadratic(noise)(generation, rollout)

    train(tmp_path_factory.mktemp("first"), noise, ENDS_WITH_BEST, judge)
    return found[BEST]


@pytest.fixture
def judge(noise: NoiseTable, theta_of_best: NDArray[np.float32]) -> Judge:
    """Training goes on climbing, while scores fall off on both sides of generation `BEST`."""

    def judge(generation: Generation, rollout: int) -> RolloutRecord:
        record = quadratic(noise)(generation, rollout)
        if rollout < generation.num_training:
            return record
        distance = float(np.linalg.norm(generation.candidates.theta - theta_of_best))
        return msgspec.structs.replace(record, fitness=-distance)

    return judge


def test_a_run_ends_with_what_validated_best_if_the_last_does_worse(
    tmp_path: Path, noise: NoiseTable, judge: Judge, theta_of_best: NDArray[np.float32]
) -> None:
    outcome, recorder = train(tmp_path, noise, ENDS_WITH_BEST, judge)
    np.testing.assert_array_equal(outcome.theta, theta_of_best)
    assert outcome.final_fitness_v.tolist() == [0.0]
    assert outcome.totals.best_generation == BEST
    assert outcome.statistics is not None
    assert recorder.notices[-1].startswith(f"generation {BEST} does better than the last (0.00, ")
    assert recorder.notices[-1].endswith(
        "`env/evaluate.py RUN --gen 12 --save last.json` has the last, for load_from=last.json"
    )
    assert recorder.checkpoints[-2:] == [(12, False, True), (13, False, True)]


def test_elsewhere_it_ends_with_the_last(
    tmp_path: Path, noise: NoiseTable, judge: Judge, theta_of_best: NDArray[np.float32]
) -> None:
    settings = msgspec.structs.replace(ENDS_WITH_BEST, may_end_with_best=False)
    outcome, recorder = train(tmp_path, noise, settings, judge)
    assert not np.array_equal(outcome.theta, theta_of_best)
    assert recorder.notices == []


def test_a_last_theta_that_does_as_well_is_kept(tmp_path: Path, noise: NoiseTable) -> None:
    def indifferent(generation: Generation, rollout: int) -> RolloutRecord:
        record = quadratic(noise)(generation, rollout)
        is_score = rollout >= generation.num_training
        return msgspec.structs.replace(record, fitness=1.0) if is_score else record

    outcome, recorder = train(tmp_path / "a", noise, ENDS_WITH_BEST, indifferent)
    last, _ = train(
        tmp_path / "b",
        noise,
        msgspec.structs.replace(ENDS_WITH_BEST, may_end_with_best=False),
        indifferent,
    )
    np.testing.assert_array_equal(outcome.theta, last.theta)
    assert recorder.notices == []


@pytest.mark.parametrize("deadly_rollout", [20, 60, 110])
@pytest.mark.parametrize("snapshot_every_s", [0.0, 1e9])
def test_a_resumed_run_knows_its_best(
    tmp_path: Path,
    noise: NoiseTable,
    judge: Judge,
    theta_of_best: NDArray[np.float32],
    deadly_rollout: int,
    snapshot_every_s: float,
) -> None:
    settings = msgspec.structs.replace(ENDS_WITH_BEST, snapshot_every_s=snapshot_every_s)
    evaluated = 0

    def deadly(generation: Generation, rollout: int) -> RolloutRecord:
        nonlocal evaluated
        evaluated += 1
        if evaluated == deadly_rollout:
            raise KilledError
        return judge(generation, rollout)

    with pytest.raises(KilledError):
        train(tmp_path, noise, settings, deadly)
    outcome, _ = train(tmp_path, noise, settings, judge, resume=True)
    np.testing.assert_array_equal(outcome.theta, theta_of_best)


@pytest.mark.parametrize("fails", ["best", "last"])
def test_a_finalist_whose_every_episode_fails_loses(
    tmp_path: Path, noise: NoiseTable, judge: Judge, theta_of_best: NDArray[np.float32], fails: str
) -> None:
    """Whichever does better where it does not fail."""

    def sour(generation: Generation, rollout: int) -> RolloutRecord:
        record = judge(generation, rollout)
        is_best = np.array_equal(generation.candidates.theta, theta_of_best)
        if not generation.final:
            return record
        if is_best == (fails == "best"):
            return RolloutRecord(rollout, 0, "failed", length=1, error="fell apart")
        return msgspec.structs.replace(record, fitness=-1e9)

    outcome, _ = train(tmp_path, noise, ENDS_WITH_BEST, sour)
    assert np.array_equal(outcome.theta, theta_of_best) == (fails == "last")
    assert outcome.final_fitness_v.tolist() == [-1e9]

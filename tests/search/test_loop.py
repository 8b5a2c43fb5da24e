"""The loop's promises: nothing depends on order or timing, and a run killed anywhere goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from loop_run import SETTINGS, KilledError, Silence
from scripted_pool import Judge, ScriptedPool, quadratic

from errors import RunAborted, RunError
from es.openai_es import OpenAIES
from policy.statistics import ObservationStatistics
from search.journal import Closed, Journal
from search.loop import Loop, RunOutcome
from search.messages import Generation, RolloutRecord
from search.noise import DEFAULT_LENGTH, NoiseTable, open_table
from search.protocol import PoolStatus
from search.run_state import RunState
from search.settings import LoopSettings


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoiseTable]:
    with open_table(1, DEFAULT_LENGTH, tmp_path_factory.mktemp("noise")) as table:
        yield table


def new_state(noise: NoiseTable, settings: LoopSettings = SETTINGS, pop_size: int = 10) -> RunState:
    strategy = OpenAIES(
        np.zeros(4, dtype=np.float32), noise, run_seed=7, pop_size=pop_size, sigma=0.1, lr=0.1
    )
    return RunState(strategy, settings, ObservationStatistics.empty(2))


def train(
    folder: Path,
    noise: NoiseTable,
    settings: LoopSettings = SETTINGS,
    *,
    pool: ScriptedPool | None = None,
    resume: bool = False,
    recorder: Silence | None = None,
    clock: Callable[[], float] = time.monotonic,
    pop_size: int = 10,
) -> RunOutcome:
    with Journal(folder) as journal:
        state = new_state(noise, settings, pop_size)
        if resume:
            state.resume(journal)
        pool = pool or ScriptedPool(quadratic(noise))
        return Loop(state, pool, journal, recorder or Silence(), clock=clock).run()


def test_a_run_climbs_and_counts_what_it_did(tmp_path: Path, noise: NoiseTable) -> None:
    recorder = Silence()
    outcome = train(tmp_path, noise, recorder=recorder)
    assert outcome.totals.generations == 12
    assert outcome.totals.rollouts == 12 * (10 + 2)
    assert outcome.totals.failed == 0
    assert len(outcome.final_fitness_v) == 3
    assert recorder.metrics[11]["fitness/current"] > recorder.metrics[0]["fitness/current"] + 1
    assert recorder.checkpoints[0][0] == 0
    assert recorder.checkpoints[-1] == (12, False, True)


@pytest.mark.parametrize("overlap", [0, 1, 3])
@pytest.mark.parametrize("disorder", [1, 2])
def test_order_and_duplicates_of_records_change_no_bit(
    tmp_path: Path, noise: NoiseTable, disorder: int, overlap: int
) -> None:
    settings = msgspec.structs.replace(SETTINGS, overlap=overlap)
    plain = train(tmp_path / "a", noise, settings)
    shuffled = ScriptedPool(quadratic(noise), disorder)
    other = train(tmp_path / "b", noise, settings, pool=shuffled)
    np.testing.assert_array_equal(plain.theta, other.theta)
    assert msgspec.structs.replace(plain.totals, wall_s=0) == msgspec.structs.replace(
        other.totals, wall_s=0
    )


def test_overlap_is_a_delay_by_rule(tmp_path: Path, noise: NoiseTable) -> None:
    thetas: dict[int, bytes] = {}

    def judge(generation: Generation, rollout: int) -> RolloutRecord:
        thetas[generation.number] = generation.candidates.theta_bytes
        return quadratic(noise)(generation, rollout)

    settings = msgspec.structs.replace(SETTINGS, overlap=2)
    train(tmp_path, noise, settings, pool=ScriptedPool(judge, 1))
    assert thetas[0] == thetas[1] == thetas[2]
    assert thetas[2] != thetas[3] != thetas[4]


@pytest.mark.parametrize("overlap", [0, 2])
@pytest.mark.parametrize("snapshot_every_s", [0.0, 1e9])
@pytest.mark.parametrize("deadly_rollout", [0, 5, 60, 61, 100, 143])
def test_a_run_killed_anywhere_and_resumed_equals_one_never_killed(
    tmp_path: Path, noise: NoiseTable, deadly_rollout: int, snapshot_every_s: float, overlap: int
) -> None:
    settings = msgspec.structs.replace(SETTINGS, overlap=overlap, snapshot_every_s=snapshot_every_s)
    whole = train(tmp_path / "whole", noise, settings)
    judge = quadratic(noise)
    pool = ScriptedPool(judge)

    def deadly(generation: Generation, rollout: int) -> RolloutRecord:
        if pool.evaluated == deadly_rollout:
            raise KilledError
        return judge(generation, rollout)

    pool._judge = deadly
    with pytest.raises(KilledError):
        train(tmp_path / "killed", noise, settings, pool=pool)
    at_once = Silence()  # and once more, before anything is answered
    dead = ScriptedPool(_dies)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", noise, settings, pool=dead, resume=True, recorder=at_once)
    assert not at_once.metrics
    rest = ScriptedPool(judge, 3)
    resumed = train(tmp_path / "killed", noise, settings, pool=rest, resume=True)
    np.testing.assert_array_equal(whole.theta, resumed.theta)
    np.testing.assert_array_equal(whole.final_fitness_v, resumed.final_fitness_v)
    assert resumed.totals.rollouts == whole.totals.rollouts
    assert resumed.totals.env_steps == whole.totals.env_steps
    # Records that were journalled are not evaluated again: at most the three in hand are.
    assert pool.evaluated + rest.evaluated <= whole.totals.rollouts + 3 + 3


def _dies(generation: Generation, rollout: int) -> RolloutRecord:
    raise KilledError


def test_every_truncation_of_the_log_resumes_to_the_same_theta(
    tmp_path: Path, noise: NoiseTable
) -> None:
    settings = msgspec.structs.replace(SETTINGS, num_generations=3)
    whole = train(tmp_path / "whole", noise, settings)
    log = (tmp_path / "whole" / "log").read_bytes()
    first = tmp_path / "first"
    with pytest.raises(RunAborted):
        train(first, noise, settings, pool=ScriptedPool(failing(lambda g, r: True)))
    start = (first / "snapshot-000000000").read_bytes()
    for size in range(20, len(log), len(log) // 40):
        folder = tmp_path / f"cut-{size}"
        folder.mkdir()
        (folder / "log").write_bytes(log[:size])
        (folder / "snapshot-000000000").write_bytes(start)
        np.testing.assert_array_equal(
            train(folder, noise, settings, resume=True).theta, whole.theta
        )


def test_a_run_stopped_between_generations_goes_on(tmp_path: Path, noise: NoiseTable) -> None:
    whole = train(tmp_path / "whole", noise)
    with pytest.raises(KilledError):
        train(tmp_path / "stopped", noise, recorder=Silence(dies_after=5))
    resumed = train(tmp_path / "stopped", noise, resume=True)
    np.testing.assert_array_equal(whole.theta, resumed.theta)


@pytest.mark.parametrize("deadly_rollout", [11, 59, 107])
def test_time_spent_in_a_generation_that_was_cut_short_counts(
    tmp_path: Path, noise: NoiseTable, deadly_rollout: int
) -> None:
    """But for what came after the last snapshot, of which there is one each 30 s."""
    judge, rollouts_s = quadratic(noise), [0.0]

    def slow(generation: Generation, rollout: int) -> RolloutRecord:
        if rollouts_s[0] == deadly_rollout * 7:
            raise KilledError
        rollouts_s[0] += 7
        return judge(generation, rollout)

    pool = ScriptedPool(slow)
    with pytest.raises(KilledError):
        train(tmp_path, noise, pool=pool, clock=lambda: rollouts_s[0])
    resumed = train(tmp_path, noise, resume=True, clock=lambda: 0.0)
    spent_s = deadly_rollout * 7
    assert spent_s - 30 - 3 * 7 < resumed.totals.wall_s <= spent_s


def test_a_finished_run_goes_on_with_more_generations(tmp_path: Path, noise: NoiseTable) -> None:
    whole = train(tmp_path / "whole", noise)
    short = msgspec.structs.replace(SETTINGS, num_generations=5)
    train(tmp_path / "short", noise, short)
    resumed = train(tmp_path / "short", noise, resume=True)
    np.testing.assert_array_equal(whole.theta, resumed.theta)
    with Journal(tmp_path / "short") as journal:
        closed = [e.number for e in journal.entries() if isinstance(e, Closed)]
    assert closed == list(range(12))


def test_a_finished_run_resumed_as_it_was_tells_nothing_more(
    tmp_path: Path, noise: NoiseTable
) -> None:
    first = train(tmp_path, noise)
    pool = ScriptedPool(quadratic(noise))
    again = train(tmp_path, noise, pool=pool, resume=True)
    np.testing.assert_array_equal(first.theta, again.theta)
    assert pool.evaluated == SETTINGS.num_final


def test_a_resume_that_would_draw_otherwise_is_refused(tmp_path: Path, noise: NoiseTable) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, noise, recorder=Silence(dies_after=2))
    other = msgspec.structs.replace(SETTINGS, num_validation=9)
    for snapshot in sorted(tmp_path.glob("snapshot-*"))[1:]:
        snapshot.unlink()
    with pytest.raises(RunError, match="comes out otherwise"):
        train(tmp_path, noise, other, resume=True)


def failing(fails: Any, judge: Judge | None = None) -> Judge:
    def judged(generation: Generation, rollout: int) -> RolloutRecord:
        if fails(generation, rollout):
            return RolloutRecord(rollout, 1, "failed", error="ValueError: knee is inside out")
        assert judge is not None
        return judge(generation, rollout)

    return judged


def test_failures_are_counted_and_survived(tmp_path: Path, noise: NoiseTable) -> None:
    judge = failing(lambda g, r: r % 5 == 3, quadratic(noise))
    outcome = train(tmp_path, noise, pool=ScriptedPool(judge))
    assert outcome.totals.failed == 12 * 2
    assert np.isfinite(outcome.theta).all()


def test_too_many_failures_stop_the_run_with_the_first_error(
    tmp_path: Path, noise: NoiseTable
) -> None:
    judge = failing(lambda g, r: g.number == 2 and r < 6, quadratic(noise))
    with pytest.raises(RunAborted, match=r"6 of 10 rollouts of generation 2.*knee is inside out"):
        train(tmp_path, noise, pool=ScriptedPool(judge))


def test_a_run_that_failed_too_much_fails_again_when_resumed(
    tmp_path: Path, noise: NoiseTable
) -> None:
    """Though its generation was complete, and the journal has all of it."""
    judge = failing(lambda g, r: g.number == 2 and 4 <= r < 12, quadratic(noise))
    for resume in (False, True):
        with pytest.raises(RunAborted, match="6 of 10 rollouts of generation 2"):
            train(tmp_path, noise, pool=ScriptedPool(judge), resume=resume)


def test_what_is_open_at_the_end_is_closed(tmp_path: Path, noise: NoiseTable) -> None:
    settings = msgspec.structs.replace(SETTINGS, overlap=2, max_env_steps=100)
    pool = ScriptedPool(quadratic(noise))
    outcome = train(tmp_path, noise, settings, pool=pool)
    assert outcome.totals.generations < len(pool.opened)
    assert sorted(pool.closed) == sorted(pool.opened)


@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="another call syncs there")
def test_a_generation_is_published_when_what_it_follows_from_is_on_the_disk(
    tmp_path: Path, noise: NoiseTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk, at_publishing = [0], list[tuple[int, int]]()

    def watched(file: int) -> None:
        on_disk[0] = os.fstat(file).st_size

    class Watched(ScriptedPool):
        def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
            super().open(generation, known)
            at_publishing.append((generation.number, on_disk[0]))

    monkeypatch.setattr(os, "fdatasync", watched)
    train(tmp_path, noise, pool=Watched(quadratic(noise)))
    ends_of = dict[int, int]()
    with Journal(tmp_path) as journal, Journal(tmp_path / "again") as copy:
        for entry in journal.entries():
            copy.append(entry)
            if isinstance(entry, Closed):
                ends_of[entry.number] = copy.offset
    assert len(at_publishing) == 13  # the closing test is the last
    assert all(durable >= ends_of[number - 1] for number, durable in at_publishing[1:])


def test_what_was_reissued_and_lost_is_counted_over_all_sessions(
    tmp_path: Path, noise: NoiseTable
) -> None:
    class Losing(ScriptedPool):
        def status(self) -> PoolStatus:
            return PoolStatus(num_workers=1, reissued=2, lost=1)

    with pytest.raises(KilledError):
        train(tmp_path, noise, pool=Losing(quadratic(noise)), recorder=Silence(dies_after=3))
    outcome = train(tmp_path, noise, pool=Losing(quadratic(noise)), resume=True)
    assert (outcome.totals.reissued, outcome.totals.lost) == (4, 2)


@pytest.mark.parametrize("fails_every", [3, 2])
def test_of_small_generations_several_are_looked_at_together(
    tmp_path: Path, noise: NoiseTable, fails_every: int
) -> None:
    """Else one of two failing would be half of all there is."""

    def judge(generation: Generation, rollout: int) -> RolloutRecord:
        if generation.number % fails_every == 0 and rollout == 0:
            return RolloutRecord(rollout, 1, "failed", error="ValueError: knee is inside out")
        return quadratic(noise)(generation, rollout)

    def outcome(max_failed_fraction: float) -> RunOutcome:
        settings = msgspec.structs.replace(SETTINGS, max_failed_fraction=max_failed_fraction)
        folder = tmp_path / str(max_failed_fraction)
        return train(folder, noise, settings, pool=ScriptedPool(judge), pop_size=2)

    assert outcome(0.3).totals.failed == 12 // fails_every
    with pytest.raises(RunAborted, match=r"of the last \d generations .* at most 1.5 may"):
        outcome(0.15)


def test_all_failing_stops_the_run_whatever_is_allowed(tmp_path: Path, noise: NoiseTable) -> None:
    settings = msgspec.structs.replace(SETTINGS, max_failed_fraction=1.0)
    pool = ScriptedPool(failing(lambda g, r: True))
    with pytest.raises(RunAborted, match="10 of 10"):
        train(tmp_path, noise, settings, pool=pool)


def test_failed_validation_is_shown_and_excluded(tmp_path: Path, noise: NoiseTable) -> None:
    judge = failing(lambda g, r: r == g.num_training, quadratic(noise))
    recorder = Silence()
    train(tmp_path, noise, pool=ScriptedPool(judge), recorder=recorder)
    assert recorder.metrics[3]["failures/failed"] == 1
    assert recorder.metrics[3]["failures/skipped"] == 0
    assert np.isfinite(recorder.metrics[3]["fitness/current"])


def test_a_success_replaces_a_failure_while_the_generation_is_open(
    tmp_path: Path, noise: NoiseTable
) -> None:
    plain = train(tmp_path / "plain", noise)
    good = quadratic(noise)

    class Wavering(ScriptedPool):
        def results(self, timeout_s: float) -> Any:
            batches = super().results(timeout_s)
            for batch in list(batches):
                (record,) = batch.records
                if record.rollout == 0:
                    bad = RolloutRecord(0, 1, "failed", error="late")
                    batches.insert(0, msgspec.structs.replace(batch, records=(bad,)))
            return batches

    wavering = train(tmp_path / "wavering", noise, pool=Wavering(good))
    np.testing.assert_array_equal(plain.theta, wavering.theta)
    assert wavering.totals.failed == 0


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"target_fitness": -2.0}, "target fitness -2 reached"),
        ({"max_env_steps": 100}, "100 simulator steps used"),
        ({"max_wall_s": 1e-9}, "1e-09 s used"),
        ({}, "all generations told"),
    ],
)
def test_every_end_is_an_end(
    tmp_path: Path, noise: NoiseTable, end: dict[str, Any], reason: str
) -> None:
    outcome = train(tmp_path, noise, msgspec.structs.replace(SETTINGS, **end))
    assert outcome.reason == reason
    assert outcome.ended_by == next(iter(end), "num_generations")
    assert (outcome.totals.generations < 12) == bool(end)


def test_validation_can_be_rarer(tmp_path: Path, noise: NoiseTable) -> None:
    recorder = Silence()
    settings = msgspec.structs.replace(SETTINGS, validation_every=4)
    train(tmp_path, noise, settings, recorder=recorder)
    measured = [n for n, metrics in recorder.metrics.items() if "fitness/current" in metrics]
    assert measured == [0, 4, 8]

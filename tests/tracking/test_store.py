from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_experiment import RunOnce

from env.spec import EnvSpec
from errors import ConfigError, RunError
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from search.timeline import GenerationTimes, WorkerShare
from tracking.recorder import RunRecorder
from tracking.sacred_import import Run
from tracking.store import StoredRun, open_run, run_ids

SHARE = WorkerShare("host-0", 3, 1.5, 0.25, 12.0)
MOMENTS = ObservationStatistics.of(9, np.array([0.5, 1.5]), np.array([2.0, 3.0]))


def recorded(run: Run, path: Path) -> dict[str, str]:
    with RunRecorder(
        run, path, total_generations=20, num_checkpoints=4, notice=lambda line: None
    ) as recorder:
        for number in range(3):
            current = {"fitness/current": 1.0} if number % 2 == 0 else {}
            recorder.generation(number, {"fitness/mean": number * 2.0, **current})
            recorder.times(GenerationTimes(number, 10.0, 12.0, 12.5, (SHARE,)))
        for number in (0, 5, 10):
            arrays = {
                "theta": np.arange(3, dtype=np.float32) + number,
                "count": np.asarray(MOMENTS.count),
                "mean": MOMENTS.mean_o,
                "m2": MOMENTS.m2_o,
                "strategy/step": np.asarray(number),
            }
            recorder.checkpoint(number, arrays, is_best=number == 5, is_last=number == 10)
    return {"theta_sha256": "abc"}


@pytest.fixture
def stored(run_once: RunOnce, tmp_path: Path) -> StoredRun:
    run_once(recorded, seed=11)
    return open_run(1, tmp_path / "runs")


def test_a_stored_run_gives_typed_specs_and_its_facts(stored: StoredRun) -> None:
    assert stored.env_spec == EnvSpec(name="sphere", options={"num_dims": 3}, frame_skip=2)
    assert stored.policy_spec == PolicySpec(
        network="linear",
        hidden_sizes=(4, 4),
        output_activation="none",
        normalize_observations=True,
    )
    assert (stored.run_id, stored.seed, stored.status) == (1, 11, "COMPLETED")
    assert stored.result == {"theta_sha256": "abc"}


def test_metrics_come_as_arrays_of_the_generations_that_have_them(stored: StoredRun) -> None:
    metrics = stored.metrics()
    np.testing.assert_array_equal(metrics["fitness/mean"][1], [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(metrics["fitness/current"][0], [0, 2])
    assert metrics["fitness/mean"][0].dtype == np.int64


def test_times_and_artifacts_are_those_that_were_kept(stored: StoredRun) -> None:
    assert [times.number for times in stored.times()] == [0, 1, 2]
    assert stored.times()[0].shares == (SHARE,)
    names = [f"checkpoints/generation_{number:06d}.npz" for number in (0, 5, 10)]
    assert list(stored.artifacts()) == names
    assert all(path.stat().st_size for path in stored.artifacts().values())
    (stored.path / names[1]).unlink()
    assert list(stored.artifacts()) == [names[0], names[2]]


def test_a_checkpoint_gives_theta_moments_and_state_and_the_newest_by_default(
    stored: StoredRun,
) -> None:
    assert stored.checkpoints() == [0, 5, 10]
    assert stored.best() == 5
    newest = stored.checkpoint()
    assert newest.number == 10
    assert newest.theta.dtype == np.float32
    np.testing.assert_array_equal(newest.theta, [10, 11, 12])
    assert newest.statistics == MOMENTS
    assert int(newest.arrays["strategy/step"]) == 10
    assert "theta" not in newest.arrays
    np.testing.assert_array_equal(stored.checkpoint(5).theta, [5, 6, 7])


@pytest.mark.parametrize("number", [4, -1])
def test_a_generation_that_was_not_kept_names_those_that_were(
    stored: StoredRun, number: int
) -> None:
    with pytest.raises(ConfigError, match=rf"generation {number} .* kept were 0, 5, 10"):
        stored.checkpoint(number)


def test_of_many_kept_generations_the_nearest_are_named(stored: StoredRun) -> None:
    kept = stored.path / "checkpoints" / "generation_000010.npz"
    for number in range(20, 300, 10):
        (kept.parent / f"generation_{number:06d}.npz").write_bytes(kept.read_bytes())
    says = "31 were kept, from 0 to 290, the nearest 30, 40, 50"
    with pytest.raises(ConfigError, match=says):
        stored.checkpoint(41)


def test_a_run_without_a_checkpoint_says_whether_to_wait(run_once: RunOnce, tmp_path: Path) -> None:
    run_once(lambda run, path: None)
    run = open_run("1", tmp_path / "runs")
    assert run.checkpoints() == []
    assert run.best() is None
    assert run.metrics() == {}
    assert run.result is None
    with pytest.raises(ConfigError, match=r"no checkpoint: it ended \(COMPLETED\)"):
        run.checkpoint()
    entry = run.path / "run.json"
    entry.write_text(entry.read_text().replace("COMPLETED", "RUNNING"))
    with pytest.raises(ConfigError, match="no checkpoint yet: wait"):
        run.checkpoint()


def test_a_number_that_python_would_not_read_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run 9{32}\.\.\. \(5000 characters\)"):
        open_run("9" * 5000, tmp_path)


def test_an_unknown_run_names_the_place_and_the_nearest_ids(
    run_once: RunOnce, tmp_path: Path
) -> None:
    for _ in range(5):
        run_once(lambda run, path: None)
    runs_dir = tmp_path / "runs"
    assert run_ids(runs_dir) == [1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match=rf"no run 7 in {runs_dir}; the nearest are 3, 4, 5"):
        open_run(7, runs_dir)
    for bad in ("x", "../1", "-1", "", "1.5", "²"):
        with pytest.raises(ConfigError, match="no run"):
            open_run(bad, runs_dir)
    with pytest.raises(ConfigError, match="there are no runs there"):
        open_run(1, tmp_path / "elsewhere")


def test_a_damaged_config_or_checkpoint_is_one_clear_error(
    stored: StoredRun, tmp_path: Path
) -> None:
    path = stored.path / "checkpoints" / "generation_000005.npz"
    np.savez(path, theta=np.zeros(3), count=np.asarray(2))
    with pytest.raises(RunError, match="does not hold what it should"):
        stored.checkpoint(5)
    (stored.path / "config.json").write_text('{"env_name": ')
    with pytest.raises(RunError, match="damaged"):
        open_run(1, tmp_path / "runs")
    (stored.path / "config.json").write_text(json.dumps({"env_name": 3}))
    with pytest.raises(RunError, match="does not fit EnvSpec"):
        _ = open_run(1, tmp_path / "runs").env_spec

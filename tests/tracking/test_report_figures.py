"""The figures that a report is made of: what is added up, spread, thinned and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_runs import START_S, account, change_entry, make_run, metrics_of, times_of, write_run
from tiny_experiment import CONFIG, RunOnce

from search.timeline import GenerationTimes, WorkerShare
from tracking import timeline_log
from tracking.reporting.axes import AXES
from tracking.reporting.busy_grid import MOST_ROWS, busy_grid, lanes_of, short_names
from tracking.reporting.groups import band, differences, grouped
from tracking.reporting.metric_columns import read_columns
from tracking.reporting.tables import digits_for, score_table, utilisation
from tracking.reporting.thinning import thinned
from tracking.reporting.time_split import time_split
from tracking.reporting.worker_times import WorkerTimes, read_worker_times

STEPS, TIME, GENERATION = AXES


def read_times(path: Path) -> WorkerTimes:
    times = read_worker_times(path / timeline_log.FILE_NAME)
    assert times is not None
    return times


def test_a_generations_time_is_computing_waiting_and_updating(tmp_path: Path) -> None:
    write_run(tmp_path, 10)
    split = time_split(read_columns(tmp_path / "metrics.jsonl"), 100)
    assert split is not None
    # Ten rollouts of 0.2 s by two workers: 1 s of 2 s each; 0.1 s of update; the rest is waiting.
    np.testing.assert_allclose(split.compute_b, 1.0)
    np.testing.assert_allclose(split.wait_b, 0.9)
    assert split.update_b is not None
    np.testing.assert_allclose(split.update_b, 0.1)
    assert split.shares() == pytest.approx({"compute": 0.5, "wait": 0.45, "update": 0.05})


def test_a_time_split_of_many_generations_is_their_mean(tmp_path: Path) -> None:
    write_run(tmp_path, 10)
    split = time_split(read_columns(tmp_path / "metrics.jsonl"), 4)
    assert split is not None
    assert split.every == 3
    np.testing.assert_array_equal(split.number_b, [0, 3, 6, 9])
    np.testing.assert_allclose(split.total_b, 2.0)


def test_without_the_seconds_of_updates_they_are_part_of_waiting(tmp_path: Path) -> None:
    def older(number: int) -> dict[str, float]:
        metrics = metrics_of(number)
        del metrics["time/update_s"]
        return metrics

    write_run(tmp_path, 3, older)
    split = time_split(read_columns(tmp_path / "metrics.jsonl"), 100)
    assert split is not None
    assert split.update_b is None
    np.testing.assert_allclose(split.wait_b, 1.0)


def test_a_worker_is_as_busy_in_each_moment_as_its_share_says(tmp_path: Path) -> None:
    write_run(tmp_path, 10)
    times = read_times(tmp_path)
    assert times.pauses == ()
    grid = busy_grid(times, lanes_of(times), 10)
    np.testing.assert_allclose(grid, 0.5, atol=0.03)
    assert times.length_s == pytest.approx(20.0)
    # All that is spread is all that there was.
    np.testing.assert_allclose(grid.sum(axis=1) * 2.0, 10.0)


def test_a_run_that_stood_still_keeps_its_own_clock(tmp_path: Path) -> None:
    write_run(tmp_path, 10, pause_s=36_000.0)
    times = read_times(tmp_path)
    assert [(p.at_s, p.length_s) for p in times.pauses] == [pytest.approx((10.0, 36_000.0))]
    assert times.length_s == pytest.approx(20.0)
    np.testing.assert_allclose(busy_grid(times, lanes_of(times), 10), 0.5, atol=0.03)


def test_of_a_generation_written_twice_the_later_line_counts(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    for number in (0, 1, 1):
        timeline_log.append(path, times_of(number))
    timeline_log.append(path, GenerationTimes(1, START_S + 2, START_S + 3, START_S + 4, (), {}))
    with path.open("ab") as file:
        file.write(b'{"number": 2, "publ')
    times = read_times(tmp_path)
    assert (len(times.told_t), times.left_out) == (2, 3)
    assert times.rollouts_p.sum() == 10
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for value in (1.0, 2.0):
            file.write(f'{{"generation": 0, "time": 5, "metrics": {{"x": {value}}}}}\n')
    columns = read_columns(tmp_path / "metrics.jsonl")
    assert (columns["x"].last, columns.left_out) == (2.0, 1)


def test_many_workers_are_shown_by_machine_and_of_many_machines_the_telling_ones(
    tmp_path: Path,
) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    for number in range(4):
        shares = tuple(
            # Machine 7 does nothing for most of its time.
            WorkerShare(f"host-{w // 20:03d}-{w % 20}", 1, 0.1 if w // 20 == 7 else 1.5, 0.3, 0.0)
            for w in range(1000)
        )
        start_s = START_S + 2.0 * number
        shares = tuple(
            WorkerShare(s.worker, s.rollouts, s.busy_s, s.waiting_s, start_s + 2) for s in shares
        )
        timeline_log.append(
            path, GenerationTimes(number, start_s, start_s + 2, start_s + 2, shares)
        )
    times = read_times(tmp_path)
    lanes = lanes_of(times)
    assert (lanes.kind, len(lanes.lanes), lanes.left_out) == ("machine", MOST_ROWS, 50 - MOST_ROWS)
    assert lanes.lanes[0].name == "007"
    assert (lanes.lanes[0].workers, lanes.lanes[0].rollouts) == (20, 80)
    grid = busy_grid(times, lanes, 8)
    np.testing.assert_allclose(grid[0], 0.05, atol=1e-6)
    np.testing.assert_allclose(grid[-1], 0.75, atol=1e-6)


def test_a_timeline_that_is_by_machine_already_guesses_its_workers(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    for number in range(4):
        start_s = START_S + 2.0 * number
        shares = tuple(WorkerShare(f"host{m}-77-ab", 9, 12.0, 4.0, start_s + 2) for m in range(30))
        timeline_log.append(
            path, GenerationTimes(number, start_s, start_s + 2, start_s + 2, shares)
        )
    lanes = lanes_of(read_times(tmp_path))
    assert {lane.workers for lane in lanes.lanes} == {8}


def test_many_workers_of_one_machine_are_workers_still(tmp_path: Path) -> None:
    workers = tuple(f"vm-29-6ffe-{number}" for number in range(64))
    timeline_log.append(tmp_path / timeline_log.FILE_NAME, times_of(0, workers=workers))
    lanes = lanes_of(read_times(tmp_path))
    assert (lanes.kind, lanes.left_out) == ("worker", 64 - MOST_ROWS)
    assert {lane.workers for lane in lanes.lanes} == {1}


def test_names_are_cut_to_what_tells_them_apart() -> None:
    assert short_names(["vm-29-a-0", "vm-29-a-1"]) == ["0", "1"]
    assert short_names(["vm-29-a-0", "vm-31-b-0"]) == ["29-a-0", "31-b-0"]
    assert short_names(["a", "a-1"]) == ["a", "a-1"]


def test_a_long_curve_keeps_its_mean_and_its_range() -> None:
    x = np.arange(100_000.0)
    y = np.where(x % 2 == 0, 1.0, 3.0)
    y[1000:2000] = np.nan
    y[5] = np.inf
    curve = thinned(x, y, 400)
    assert len(curve.x) == 400
    assert curve.every == 250
    np.testing.assert_allclose(curve.mean[10:], 2.0)
    assert (curve.low[0], curve.high[0]) == (1.0, 3.0)
    assert np.isnan(curve.mean[4:8]).all()
    short = thinned(x[:10], y[:10], 400)
    np.testing.assert_array_equal(short.x, x[:10])


def test_runs_that_differ_by_chance_and_place_alone_are_one_configuration(
    run_once: RunOnce, tmp_path: Path
) -> None:
    for seed in range(3):
        make_run(run_once, seed=seed, runs_dir=f"runs{seed}")
    make_run(run_once, seed=0, lr=0.5)
    accounts = [account(tmp_path / "runs", n) for n in (1, 4, 2, 3)]
    groups = grouped(accounts, CONFIG)
    assert [[run.run_id for run in group.runs] for group in groups] == [[1, 2, 3], [4]]
    assert [group.letter for group in groups] == ["A", "B"]
    assert [dict(group.settings) for group in groups] == [{"lr": 0.1}, {"lr": 0.5}]


def test_an_option_that_an_older_run_had_not_is_its_default(
    run_once: RunOnce, tmp_path: Path
) -> None:
    make_run(run_once)
    make_run(run_once)
    config = tmp_path / "runs" / "1" / "config.json"
    config.write_text(config.read_text().replace('"history_len": 1,', ""))
    accounts = [account(tmp_path / "runs", n) for n in (1, 2)]
    assert differences(accounts, CONFIG) == []
    assert differences(accounts, {}) == ["history_len"]


def test_a_band_is_the_quartiles_of_seeds_as_far_as_all_of_them_got(
    run_once: RunOnce, tmp_path: Path
) -> None:
    for seed, rise in enumerate([1.0, 2.0, 3.0, 4.0, 10.0]):
        make_run(run_once, 6 + seed, lambda number, rise=rise: metrics_of(number, rise), seed=seed)
    group = grouped([account(tmp_path / "runs", n) for n in range(1, 6)], CONFIG)[0]
    curve = band(group, GENERATION, "fitness/current")
    assert curve is not None
    assert (curve.x[0], curve.x[-1]) == (0.0, 5.0)
    np.testing.assert_allclose(curve.median, 3.0 * curve.x)
    np.testing.assert_allclose(curve.low, 2.0 * curve.x)
    np.testing.assert_allclose(curve.high, 4.0 * curve.x)
    assert [len(x) for x, _ in curve.seeds] == [6, 7, 8, 9, 10]
    by_steps = band(group, STEPS, "fitness/current")
    assert by_steps is not None
    assert by_steps.x[-1] == 6000.0


def test_final_scores_are_all_measured_alike(run_once: RunOnce, tmp_path: Path) -> None:
    for seed, rise in enumerate([1.0, 2.0, 3.0, 4.0]):
        make_run(run_once, 10, lambda number, rise=rise: metrics_of(number, rise), seed=seed)
    change_entry(tmp_path / "runs" / "4", result=None, status="RUNNING")
    groups = grouped([account(tmp_path / "runs", n) for n in range(1, 5)], CONFIG)
    table = score_table(groups)
    assert table.rows == [["A", "3", "18.50", "–", "–", "9.50", "27.50"]]
    assert "closing test. 1 of the runs" in table.note


def test_how_busy_workers_were_is_known_without_a_timeline_too(
    run_once: RunOnce, tmp_path: Path
) -> None:
    make_run(run_once)
    assert utilisation(account(tmp_path / "runs")) == pytest.approx(0.8)
    (tmp_path / "runs" / "1" / timeline_log.FILE_NAME).unlink()
    assert utilisation(account(tmp_path / "runs")) == pytest.approx(0.8)


def test_a_column_has_as_many_digits_as_count() -> None:
    assert digits_for([284.31, -12.0, None, np.nan]) == 1
    assert digits_for([0.0213]) == 5
    assert digits_for([0.0]) == 1

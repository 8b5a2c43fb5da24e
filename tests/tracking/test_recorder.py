from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_experiment import RunOnce

from tracking import checkpoints, metric_log
from tracking.recorder import MAX_SACRED_POINTS, RunRecorder, sacred_stride
from tracking.sacred_import import Run


def arrays(number: int) -> dict[str, Any]:
    return {"theta": np.full(3, number, dtype=np.float32)}


def no_notice(line: str) -> None:
    raise AssertionError(line)


def recorder(run: Run, path: Path, **options: Any) -> RunRecorder:
    options = {"total_generations": 20, "num_checkpoints": 4, "notice": no_notice, **options}
    return RunRecorder(run, path, **options)


def tensorboard_scalars(path: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(path / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def sacred_points(path: Path) -> dict[str, Any]:
    points: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return points


def test_every_generation_reaches_the_three_places(run_once: RunOnce, tmp_path: Path) -> None:
    def body(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            for number in range(3):
                writer.generation(number, {"fitness/mean": number * 2.0, "fitness/std": math.nan})

    run_once(body)
    path = tmp_path / "runs" / "1"
    assert [row.metrics["fitness/mean"] for row in metric_log.read(path / "metrics.jsonl")] == [
        0.0,
        2.0,
        4.0,
    ]
    assert tensorboard_scalars(path, "fitness/mean") == [(0, 0.0), (1, 2.0), (2, 4.0)]
    points = sacred_points(path)
    assert points["fitness/mean"]["steps"] == [0, 1, 2]
    assert points["fitness/mean"]["values"] == [0.0, 2.0, 4.0]
    assert "fitness/std" not in points


@pytest.mark.parametrize("total", [1, 9_999, 10_000, 10_001, 20_001, 123_457, 10**7])
def test_sacred_never_gets_more_than_its_share_of_points(total: int) -> None:
    stride = sacred_stride(total)
    assert len(range(0, total, stride)) <= MAX_SACRED_POINTS
    assert stride == 1 or len(range(0, total, stride - 1)) > MAX_SACRED_POINTS


def test_long_runs_are_thinned_evenly_for_sacred_only(run_once: RunOnce, tmp_path: Path) -> None:
    def body(run: Run, path: Path) -> None:
        with recorder(run, path, total_generations=30_000) as writer:
            for number in range(10):
                writer.generation(number, {"a": float(number)})

    run_once(body)
    path = tmp_path / "runs" / "1"
    assert sacred_points(path)["a"]["steps"] == [0, 3, 6, 9]
    assert len(metric_log.read(path / "metrics.jsonl")) == 10


def test_regular_best_and_last_checkpoints_are_kept_and_a_surpassed_best_is_not(
    run_once: RunOnce, tmp_path: Path
) -> None:
    now_s = 0.0

    def body(run: Run, path: Path) -> None:
        nonlocal now_s
        with recorder(run, path, clock=lambda: now_s) as writer:
            for number in range(20):
                now_s += 10.0
                regular = number % 5 == 0
                if regular or number in (2, 7):
                    writer.checkpoint(
                        number, arrays(number), is_best=number in (2, 7), is_last=False
                    )
            writer.checkpoint(20, arrays(20), is_best=False, is_last=True)

    run_once(body)
    path = tmp_path / "runs" / "1"
    assert checkpoints.numbers(path / "checkpoints") == [0, 5, 7, 10, 15, 20]
    best = checkpoints.read_best(path / "checkpoints")
    assert best == checkpoints.Best(7, disposable=True)
    config = json.loads((path / "checkpoints" / "config.json").read_text())
    assert config["env_name"] == "sphere"
    artifacts = json.loads((path / "run.json").read_text())["artifacts"]
    expected = [f"checkpoints/generation_{n:06d}.npz" for n in (0, 5, 7, 10, 15, 20)]
    assert sorted(artifacts) == expected


def test_a_best_that_is_also_regular_outlives_the_next_best(
    run_once: RunOnce, tmp_path: Path
) -> None:
    def body(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            writer.checkpoint(5, arrays(5), is_best=True, is_last=False)
            writer.checkpoint(7, arrays(7), is_best=True, is_last=False)

    run_once(body)
    assert checkpoints.numbers(tmp_path / "runs" / "1" / "checkpoints") == [5, 7]


def test_bests_in_quick_succession_are_written_once_and_the_newest_survives(
    run_once: RunOnce, tmp_path: Path
) -> None:
    seen: list[list[int]] = []

    def body(run: Run, path: Path) -> None:
        with recorder(run, path, clock=lambda: 1.0) as writer:
            for number in (1, 2, 3):
                writer.checkpoint(number, arrays(number), is_best=True, is_last=False)
                seen.append(checkpoints.numbers(path / "checkpoints"))

    run_once(body)
    assert seen == [[1], [1], [1]]
    assert checkpoints.numbers(tmp_path / "runs" / "1" / "checkpoints") == [3]


def test_a_rewind_makes_every_file_say_what_the_journal_says(
    run_once: RunOnce, tmp_path: Path
) -> None:
    def killed(run: Run, path: Path) -> None:
        writer = recorder(run, path)
        for number in range(5):
            writer.generation(number, {"a": -1.0 if number == 4 else float(number)})
        writer.close()

    def resumed(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            writer.rewind({number: {"a": float(number)} for number in range(4)})
            for number in range(4, 6):
                writer.generation(number, {"a": float(number)})

    run_once(killed)
    path = tmp_path / "runs" / "1"
    earlier = metric_log.read(path / "metrics.jsonl")
    run_once(resumed, resume=1)
    rows = metric_log.read(path / "metrics.jsonl")
    assert [row.metrics["a"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [row.time_s for row in rows[:4]] == [row.time_s for row in earlier[:4]]
    assert tensorboard_scalars(path, "a") == [(n, float(n)) for n in range(6)]
    assert sacred_points(path)["a"]["steps"] == [0, 1, 2, 3, 4, 5]
    assert sacred_points(path)["a"]["values"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_rewind_drops_checkpoints_of_generations_that_are_none(
    run_once: RunOnce, tmp_path: Path
) -> None:
    """As of what the run ended with before, beside its last."""

    def ended(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            for number in (0, 3, 4):
                writer.checkpoint(number, arrays(number), is_best=False, is_last=number > 0)

    def resumed(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            writer.rewind({number: {"a": 1.0} for number in range(3)})

    run_once(ended)
    run_once(resumed, resume=1)
    path = tmp_path / "runs" / "1"
    assert checkpoints.numbers(path / "checkpoints") == [0, 3]
    kept = [Path(name).name for name in json.loads((path / "run.json").read_text())["artifacts"]]
    assert "generation_000003.npz" in kept
    assert "generation_000004.npz" not in kept


def test_a_rewind_brings_back_rows_that_a_kill_lost(run_once: RunOnce, tmp_path: Path) -> None:
    journal = {number: {"a": float(number)} for number in range(5)}

    def killed(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            for number in range(3):
                writer.generation(number, journal[number])

    def resumed(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            writer.rewind(journal)

    run_once(killed)
    run_once(resumed, resume=1)
    path = tmp_path / "runs" / "1"
    assert [row.number for row in metric_log.read(path / "metrics.jsonl")] == [0, 1, 2, 3, 4]
    assert tensorboard_scalars(path, "a") == [(n, float(n)) for n in range(5)]


def test_a_rewind_to_nothing_leaves_nothing(run_once: RunOnce, tmp_path: Path) -> None:
    def first(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            writer.generation(0, {"a": 1.0})

    def resumed(run: Run, path: Path) -> None:
        with recorder(run, path) as writer:
            writer.rewind({})
            writer.generation(0, {"a": 2.0})

    run_once(first)
    run_once(resumed, resume=1)
    path = tmp_path / "runs" / "1"
    assert [row.metrics["a"] for row in metric_log.read(path / "metrics.jsonl")] == [2.0]
    assert tensorboard_scalars(path, "a") == [(0, 2.0)]


def test_trouble_with_files_is_one_notice_each_and_never_an_error(
    run_once: RunOnce, tmp_path: Path
) -> None:
    notices: list[str] = []

    def body(run: Run, path: Path) -> str:
        (path / "tensorboard").write_text("a file where the folder should be")
        (path / "checkpoints").write_text("another")
        (path / "metrics.jsonl").mkdir()
        with recorder(run, path, notice=notices.append) as writer:
            for number in range(3):
                writer.generation(number, {"a": 1.0})
                writer.checkpoint(number, arrays(number), is_best=False, is_last=False)
        return "went on"

    assert run_once(body).result == "went on"
    assert len(notices) == 3
    assert any(line.startswith("TensorBoard events of this run cannot be") for line in notices)
    assert all("\n" not in line for line in notices)


def test_notices_are_kept_with_their_time(run_once: RunOnce, tmp_path: Path) -> None:
    def body(run: Run, path: Path) -> None:
        with recorder(run, path, wall_clock=lambda: 12.0) as writer:
            writer.notice("one worker died")

    run_once(body)
    text = (tmp_path / "runs" / "1" / "notices.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == [
        {"time": 12.0, "line": "one worker died"}
    ]

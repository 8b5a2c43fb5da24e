"""Run directories for tests of reports, written by what writes real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tiny_experiment import RunOnce

from search.timeline import GenerationTimes, WorkerShare
from tracking import metric_log, timeline_log
from tracking.metric_log import MetricLog, Row
from tracking.reporting.account import RunAccount, read_account
from tracking.sacred_import import Run
from tracking.store import open_run

START_S = 1_700_000_000.0
GENERATION_S = 2.0
STEPS = 1000

Metrics = Callable[[int], Mapping[str, float]]


def metrics_of(number: int, rise: float = 10.0) -> dict[str, float]:
    """A generation of 2 s: two workers, busy for half of it; 0.1 s of update."""
    return {
        "work/generation": number,
        "fitness/mean": rise * number - 5.0,
        "fitness/best": rise * number + 30.0,
        "fitness/current": rise * number,
        "fitness/current_se": 1.5,
        "episode/length_mean": 100.0,
        "reward/alive": rise * number,
        "reward/effort": -3.0,
        "time/elapsed_s": GENERATION_S * (number + 1),
        "time/generation_s": 1.9,
        "time/update_s": 0.1,
        "time/evaluation_s": 0.2,
        "time/obtaining_s": 0.05,
        "work/env_steps_total": STEPS * (number + 1),
        "work/rollouts_total": 10 * (number + 1),
        "work/reissued_total": 0.0,
        "work/lost_total": 0.0,
        "workers/now": 2.0,
        "workers/unique": 2.0,
        "workers/machines": 1.0,
        "failures/failed": float(number == 3),
        "failures/failed_total": float(number >= 3),
    }


def few_metrics(number: int) -> dict[str, float]:
    """What is enough for a page with one curve: figures take time."""
    return {"fitness/mean": 2.0 * number, "fitness/current": 3.0 * number}


def times_of(
    number: int, *, pause_s: float = 0.0, workers: tuple[str, ...] = ("vm-0", "vm-1")
) -> GenerationTimes:
    """The timeline of the same generation; ``pause_s`` after the first half of ten."""
    start_s = START_S + GENERATION_S * number + (pause_s if number >= 5 else 0.0)
    shares = tuple(WorkerShare(name, 5, 1.0, 0.25, start_s + 1.9) for name in workers)
    failures = {"the knee, broken": 1} if number == 3 else {}
    return GenerationTimes(number, start_s, start_s + 1.9, start_s + 2.0, shares, failures)


def write_run(path: Path, generations: int, metrics: Metrics = metrics_of, **times: Any) -> None:
    """Metrics and timeline of so many generations into a run's directory."""
    log = MetricLog(path / metric_log.FILE_NAME)
    for number in range(generations):
        log.append(Row(number, START_S + GENERATION_S * (number + 1), metrics(number)))
        timeline_log.append(path / timeline_log.FILE_NAME, times_of(number, **times))
    log.close()


def make_run(
    run_once: RunOnce, generations: int = 10, metrics: Metrics = metrics_of, **options: Any
) -> None:
    """A whole run under the fixture's ``runs``, with the result that a training returns."""

    def body(_run: Run, path: Path) -> dict[str, Any]:
        write_run(path, generations, metrics)
        return {
            "fitness_current": metrics(generations - 1)["fitness/current"] + 0.5,
            "fitness_current_episodes": 100,
            "ended": "all generations done",
            "reproducible": True,
            "theta_sha256": "ab" * 32,
        }

    run_once(body, **options)


def change_entry(path: Path, **changes: Any) -> None:
    """Other words in a run's ``run.json``."""
    entry = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(entry | changes))


def account(runs_dir: Path, run_id: int = 1, now_s: float = START_S + 3600) -> RunAccount:
    """A run, read."""
    return read_account(open_run(run_id, runs_dir), now_s)

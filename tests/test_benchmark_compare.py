"""The comparison of searches: real runs on the sphere, and the arithmetic of its table."""

from __future__ import annotations

import json
import math
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from comparison.results import Learnt, band, table
from comparison.runs import Trial
from comparison.tasks import SEARCHES, TASKS

from search.run_config import parse_config
from training.strategies import check_search

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 60.0
BUDGET = 1200
ONE_TASK = ("--task", "sphere", "--budget", str(BUDGET))
SPHERE = (*ONE_TASK, "--search", "openai_es", "--search", "CMA", "--seeds", "2")


def compare(*words: str, module: bool = False) -> subprocess.CompletedProcess[str]:
    program = ["-m", "benchmarks.compare"] if module else ["benchmarks/compare.py"]
    return subprocess.run(
        [sys.executable, *program, *words], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def sphere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete comparison of two searches by two seeds."""
    out = tmp_path_factory.mktemp("compare") / "runs"
    done = compare(*SPHERE, "--out", str(out), module=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (out / "comparison.md").read_text() + "\n"
    return out


def run_of(out: Path, search: str, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The run's metrics by generation and its result, read by hand."""
    run = out / "sphere" / search / f"seed-{seed}" / "1"
    lines = (run / "metrics.jsonl").read_text().splitlines()
    result = json.loads((run / "run.json").read_text())["result"]
    return [json.loads(line)["metrics"] for line in lines], result


def steps_until(metrics: list[dict[str, Any]], threshold: float) -> float:
    """Steps of all generations before the first whose theta was good enough."""
    spent = 0.0
    for generation in metrics:
        if generation["fitness/current"] >= threshold:
            return spent
        spent += generation["work/env_steps"]
    return math.inf


@pytest.mark.parametrize("search", ["openai_es", "CMA"])
def test_the_table_says_what_the_runs_wrote_down(sphere: Path, search: str) -> None:
    metrics, results = zip(*(run_of(sphere, search, seed) for seed in (1, 2)), strict=True)
    finals = [result["fitness_current"] for result in results]
    low, middle, high = statistics.quantiles(finals, n=4, method="inclusive")
    later = max(steps_until(rows, TASKS["sphere"].threshold) for rows in metrics)
    row = next(
        line
        for line in (sphere / "comparison.md").read_text().splitlines()
        if f"| {search} |" in line
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == "2"
    assert cells[3] == f"{middle:.2g} ({low:.2g} to {high:.2g})"
    assert cells[4] == f"{later:,.0f}"
    assert cells[5] == f"{statistics.median(result['wall_s'] for result in results):.0f}"
    assert float(cells[6]) > 0
    for result in results:
        assert BUDGET <= result["env_steps"] < BUDGET + 25  # a generation is told as a whole


def test_there_is_a_picture_of_it(sphere: Path) -> None:
    assert (sphere / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_all_searches_of_a_seed_begin_alike(sphere: Path) -> None:
    for seed in (1, 2):
        first = {run_of(sphere, s, seed)[0][0]["fitness/current"] for s in ("openai_es", "CMA")}
        assert len(first) == 1


def test_runs_that_are_there_are_used_again(sphere: Path) -> None:
    files = sorted(sphere.glob("sphere/*/*/*/run.json"))
    assert len(files) == 4
    before = [path.stat().st_mtime_ns for path in files]
    table_before = (sphere / "comparison.md").read_text()
    again = compare(*SPHERE, "--out", str(sphere))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == table_before + "\n"
    assert [path.stat().st_mtime_ns for path in files] == before
    assert sorted(sphere.glob("sphere/*/*/*/run.json")) == files


def test_runs_of_other_settings_are_not_taken_for_these(sphere: Path) -> None:
    refused = compare(*SPHERE, "--out", str(sphere), "--budget", "700")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert f"max_env_steps={BUDGET}, not 700" in refused.stderr


def test_a_stopped_comparison_leaves_nothing_running_and_goes_on_to_the_bit(
    sphere: Path, tmp_path: Path
) -> None:
    words = [*ONE_TASK, "--search", "CMA", "--seeds", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "benchmarks/compare.py", *words], cwd=ROOT, stderr=subprocess.PIPE
    )
    metrics = tmp_path / "sphere" / "CMA" / "seed-1" / "1" / "metrics.jsonl"
    until_s = time.monotonic() + PATIENCE_S
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < until_s:
        time.sleep(0.02)
    started = psutil.Process(process.pid).children(recursive=True)
    assert started
    process.send_signal(signal.SIGINT)
    assert b"the same command goes on" in process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130
    assert not psutil.wait_procs(started, timeout=1)[1]

    assert compare(*words).returncode == 0
    run = json.loads(metrics.with_name("run.json").read_text())
    assert len(run["resumed"]) == 1
    assert run["result"]["theta_sha256"] == run_of(sphere, "CMA", 1)[1]["theta_sha256"]


def test_a_run_that_fails_is_named_with_what_it_said(sphere: Path, tmp_path: Path) -> None:
    shutil.copytree(sphere, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "sphere" / "CMA" / "seed-2" / "1"
    entry = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**entry, "status": "RUNNING"}))
    for snapshot in run.glob("journal/snapshot-*"):
        snapshot.write_bytes(b"no snapshot")
    done = compare(*SPHERE, "--out", str(tmp_path))
    assert done.returncode == 3
    assert "1 of 1 runs failed; the first: sphere, CMA, seed 2: " in done.stderr
    assert "no whole snapshot" in done.stderr
    rest = (tmp_path / "comparison.md").read_text()
    assert "| openai_es | 20 candidates, sigma 0.1, lr 0.1 | 2 |" in rest
    assert "| CMA | 10 candidates, sigma 0.3 | 1 |" in rest


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_can_have_every_task(task: str, search: str) -> None:
    trial = Trial(task, search, 1, 1000)
    config = parse_config(trial.settings)
    check_search(config)
    assert config.tool == SEARCHES[search].tool
    assert (config.pool, config.seed, config.max_env_steps) == ("serial", 1, 1000)
    assert config.max_wall_s is None
    measured = ("env_name", "max_ep_length", "validation_episodes", "final_episodes")
    other = Trial(task, "CMA", 1, 1000).settings
    assert [trial.settings[name] for name in measured] == [other[name] for name in measured]


def run_with(fitness_t: list[float], final: float) -> Learnt:
    """One whose generations took ten steps each."""
    steps_t = 10.0 * np.arange(len(fitness_t))
    config = {"pop_size": 8, "num_episodes": 2, "sigma": 0.5, "tool": "CMA"}
    return Learnt(steps_t, np.array(fitness_t), final, 100, 5.0, math.nan, config)


def test_between_two_measurements_theta_is_as_good_as_the_earlier_said() -> None:
    runs = [run_with([0, 4, 8], 0), run_with([1, 1, 1], 0), run_with([2, 6, 2], 0)]
    low, middle, high = band(runs, np.array([0.0, 9.9, 10.0, 25.0]))
    assert low.tolist() == [0.5, 0.5, 2.5, 1.5]
    assert middle.tolist() == [1, 1, 4, 2]
    assert high.tolist() == [1.5, 1.5, 5, 5]


def test_runs_that_never_got_there_count_as_later_than_all_others() -> None:
    threshold = TASKS["lander"].threshold
    got_there, never = run_with([0, threshold], 250), run_with([0, 0], -100)
    *_, most = table("lander", {"CMA": [got_there, never, got_there]})
    *_, least = table("lander", {"CMA": [never, never, got_there]})
    assert "| CMA | 8 candidates, 2 episodes each, sigma 0.5 | 3 | 250.0 (75.0 to 250.0) " in most
    assert "| 10 (2 of 3) | 5 | ? |" in most
    assert "| never (1 of 3) |" in least

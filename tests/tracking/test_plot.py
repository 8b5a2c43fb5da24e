from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_experiment import RunOnce

from tracking.learning_curve import _stages
from tracking.metric_log import MetricLog, Row
from tracking.plot import main
from tracking.sacred_import import Run
from tracking.store import open_run


def body(run: Run, path: Path) -> None:
    log = MetricLog(path / "metrics.jsonl")
    noise = np.random.default_rng(0).standard_normal(200)
    for number in range(100):
        rise = 280 * (1 - np.exp(-number / 25)) - 150
        metrics = {
            "fitness/mean": rise - 30 + 8 * noise[number],
            "fitness/best": rise + 60 + 15 * noise[-number - 1],
            "time/elapsed_s": number * 1.2,
            "work/generation": number,
            "work/env_steps_total": number * 3000.0,
        }
        if number % 2 == 0:
            metrics |= {"fitness/current": rise + 5 * noise[number], "fitness/current_se": 12.0}
        log.append(Row(number, 0.0, metrics))
    log.close()


@pytest.mark.parametrize("against", ["generation", "time", "steps"])
def test_a_run_becomes_a_picture(run_once: RunOnce, tmp_path: Path, against: str) -> None:
    run_once(body)
    out = tmp_path / "curve.png"
    words = ["1", "--out", str(out), "--runs_dir", str(tmp_path / "runs"), "--against", against]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.output) == (0, "")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_runs_that_follow_on_each_other_are_drawn_one_after_the_other(
    run_once: RunOnce, tmp_path: Path
) -> None:
    run_once(body)
    run_once(body)
    runs_dir, sizes = ["--runs_dir", str(tmp_path / "runs")], []
    for ids in (["1"], ["1", "2"]):
        out = tmp_path / f"curve{len(ids)}.png"
        done = CliRunner().invoke(main, [*ids, "--out", str(out), *runs_dir])
        assert (done.exit_code, done.output) == (0, "")
        sizes.append(out.read_bytes())
    assert sizes[0] != sizes[1]
    stages = [start for _, start in _stages([open_run(1, tmp_path / "runs")] * 2, "generation")]
    assert stages == [0.0, 100.0]


def test_what_cannot_be_drawn_is_one_line(run_once: RunOnce, tmp_path: Path) -> None:
    run_once(lambda run, path: None)
    run_once(body)
    runs_dir = ["--runs_dir", str(tmp_path / "runs")]
    for words, expected in (
        (["9", "--out", "x.png"], "no run 9"),
        (["1", "--out", "x.png"], "no metrics yet"),
        (["2", "--out", str(tmp_path / "no" / "x.png")], "cannot write"),
        (["2", "--out", str(tmp_path / "x.xyz")], "give a .png"),
    ):
        done = CliRunner().invoke(main, [*words, *runs_dir])
        assert done.exit_code == 2
        assert expected in done.output
        assert done.output.count("\n") == 1


def test_advice_names_the_option(tmp_path: Path) -> None:
    words = ["9", "--out", "x.png", "--runs_dir", str(tmp_path / "none")]
    done = CliRunner().invoke(main, words)
    assert "give the folder with --runs_dir FOLDER" in done.output

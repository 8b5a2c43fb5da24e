"""A command whose simulator never returns: stopped at any time, and stopped by its own clock."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psutil
import pytest
from training_process import PATIENCE_S, TrainingProcess, gone

# The walker's usual start, but for a pelvis at 0.3 m: OpenSim integrates for ever.
LOW = "[1.7, 0.5, 0.3, 0.2012, 0, -0.6952, -0.3231, 0.1709, 0, -0.0528, -0.8042, -0.1745]"
HANGING = (
    *("env_name=OpenSimWalk2D-v0", f'env_options={{"pose": {LOW}}}', "network=linear"),
    *("pop_size=2", "num_generations=1", "max_ep_length=2", "pool=serial"),
)


def evaluating(running: TrainingProcess) -> psutil.Process:
    """The child that evaluates, once it is at work."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        for process in running.family():
            # By then it has built its environment several times over.
            if "fleet.evaluation.child" in process.cmdline() and process.cpu_times().user > 2.0:
                return process
        time.sleep(0.1)
    raise AssertionError("no child was ever at work")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_run_stopped_in_a_rollout_that_never_ends_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    noise = tmp_path / "noise"
    noise.mkdir()
    with TrainingProcess(tmp_path / "r", *HANGING, f"noise_dir={noise}") as running:
        child = evaluating(running)
        running.process.send_signal(number)
        assert running.finish() == code, running.output
        assert gone([child])
        assert "Traceback" not in running.output
    if number != signal.SIGKILL:
        assert not list(noise.iterdir())


def test_rollouts_that_all_hang_end_the_run_in_one_line(tmp_path: Path) -> None:
    with TrainingProcess(tmp_path / "r", *HANGING, "rollout_timeout_s=0.5") as running:
        assert running.finish() == 3
        last = running.output.splitlines()[-1]
    assert "took longer than rollout_timeout_s=0.5" in last
    assert "Traceback" not in running.output
    assert json.loads((tmp_path / "r" / "1" / "run.json").read_text())["status"] == "FAILED"

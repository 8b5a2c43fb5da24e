"""A body for `run_once` that leaves all that a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tracking.recorder import RunRecorder
from tracking.sacred_import import Run

CHUNK = 255 * 1024
NUM_GENERATIONS = 6


def recorder_of(run: Run, path: Path) -> RunRecorder:
    return RunRecorder(
        run,
        path,
        total_generations=NUM_GENERATIONS,
        num_checkpoints=3,
        notice=lambda line: None,
    )


def record_generation(recorder: RunRecorder, number: int) -> None:
    extra = {"fitness/current": 0.5 * number} if number % 2 else {}
    nothing = {"update/ratio": float("nan")} if number == 0 else {"update/ratio": 0.1}
    recorder.generation(number, {"fitness/mean": number / 3, **nothing, **extra})
    arrays = {"theta": np.arange(4, dtype=np.float32) + number}
    is_last = number == NUM_GENERATIONS - 1
    recorder.checkpoint(number, arrays, is_best=number == 3, is_last=is_last)
    recorder.notice(f"generation {number} told")


def recorded(run: Run, path: Path) -> dict[str, Any]:
    """Metrics, checkpoints, notices, a journal of several chunks, a video."""
    write_journal(path, 2 * CHUNK + 100)
    (path / "final.mp4").write_bytes(b"\0\1film")
    run.add_artifact(str(path / "final.mp4"))
    run.info["note"] = {"with.dot": 1, "$money": 2**70}
    with recorder_of(run, path) as recorder:
        for number in range(NUM_GENERATIONS):
            record_generation(recorder, number)
    return {"theta_sha256": "abc", "fitness_current": 1.5}


def write_journal(path: Path, size: int) -> None:
    (path / "journal").mkdir(exist_ok=True)
    (path / "journal" / "lock").touch()
    (path / "journal" / "log").write_bytes(bytes(i % 251 for i in range(size)))
    (path / "journal" / "snapshot-000000006").write_bytes(b"state")

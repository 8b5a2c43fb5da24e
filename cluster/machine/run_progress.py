"""How the run in a directory stands, read from what it writes down."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from cluster.store import Progress

_METRICS = "metrics.jsonl"
_NOTICES = "notices.jsonl"
_FITNESS = ("fitness/current", "fitness/mean")
_WORKERS = "workers/now"
_TAIL_BYTES = 2**16
_MOST_NOTE = 300


def newest_run(runs_dir: Path) -> Path | None:
    """The directory with the highest number; None: there is none."""
    try:
        numbers = [int(path.name) for path in runs_dir.iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return None
    return runs_dir / str(max(numbers)) if numbers else None


def is_resumable(directory: Path) -> bool:
    """Whether `resume` can go on with the run there."""
    return any(directory.glob("journal/snapshot-*")) and (directory / "run.json").is_file()


def progress_of(directory: Path | None, usd: float | None) -> Progress:
    """What the cluster's owner is told of the run in ``directory``, as of now.

    Args:
        directory: None: there is no run yet.
        usd: what the cluster has cost.
    """
    now = Progress(time_s=time.time(), usd=usd)
    if directory is None:
        return now
    row = _last_object(directory / _METRICS)
    notice = _last_object(directory / _NOTICES)
    now = msgspec.structs.replace(now, run_id=int(directory.name), note=_note(notice, row))
    if row is None:
        return now
    metrics: dict[str, Any] = row.get("metrics") or {}
    fitness = next((metrics[name] for name in _FITNESS if metrics.get(name) is not None), None)
    return msgspec.structs.replace(
        now,
        generation=row.get("generation"),
        fitness=fitness,
        num_workers=int(metrics.get(_WORKERS) or 0),
    )


def _note(notice: dict[str, Any] | None, row: dict[str, Any] | None) -> str:
    """What people were told since the last generation."""
    if notice is None or (row is not None and notice.get("time", 0) <= row.get("time", 0)):
        return ""
    return str(notice.get("line", ""))[:_MOST_NOTE]


def _last_object(path: Path) -> dict[str, Any] | None:
    """The last whole line of a file of JSON objects, one a line."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines[:-1]):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None

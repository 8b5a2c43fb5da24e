"""Two commands that want the same run of MongoDB at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from recorded_run import recorded
from tiny_experiment import RunOnce

from errors import RunError
from tracking.mongo import fetch
from tracking.mongo.connection import connected
from tracking.mongo.mirror import Mirror, files_of
from tracking.mongo.place import MongoPlace
from tracking.store import StoredRun, open_run, open_run_to_resume


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def kept(run_once: RunOnce, place: MongoPlace, runs_dir: Path, tmp_path: Path) -> Path:
    """What was run 1, removed from ``runs`` since; MongoDB has it."""
    run_once(recorded, seed=11)
    with connected(place) as database:
        Mirror(database, runs_dir / "1").carry()
    return (runs_dir / "1").rename(tmp_path / "kept")


class _Busy:
    """How many fetch a file at the same time, at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()
        self._fetch_file = fetch._fetch_file
        monkeypatch.setattr(fetch, "_fetch_file", self._slowly)

    def _slowly(self, *args: Any) -> bool:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02)
        try:
            return self._fetch_file(*args)
        finally:
            with self._lock:
                self._now -= 1


@pytest.mark.parametrize("look", [open_run, open_run_to_resume])
def test_they_take_turns_and_both_have_it(
    kept: Path,
    place: MongoPlace,
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[..., StoredRun],
) -> None:
    busy = _Busy(monkeypatch)
    with ThreadPoolExecutor(2) as both:
        looks = [both.submit(look, 1, runs_dir, place) for _ in range(2)]
        first, second = (one.result() for one in looks)
    assert busy.most == 1
    assert first.path == second.path
    for name in files_of(first.path):
        assert (first.path / name).read_bytes() == (kept / name).read_bytes()
    assert [path.name for path in runs_dir.glob("[0-9]*")] == (
        ["1"] if look is open_run_to_resume else []
    )


def test_what_a_killed_one_left_goes_and_is_no_part_of_the_run(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    path = open_run(1, runs_dir, place).path
    (path / "checkpoints" / ".best.json.77.new").write_text("half")
    home = open_run_to_resume(1, runs_dir, place).path
    assert not list(home.rglob(".*.new"))


def test_two_processes_never_write_to_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = fetch._beside(Path("runs/.fetched/x/metrics.jsonl"))
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert fetch._beside(Path("runs/.fetched/x/metrics.jsonl")) != ours


def test_a_folder_that_cannot_be_written_is_one_line(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    (runs_dir / ".fetched").write_text("no folder")
    with pytest.raises(RunError, match=r"cannot be written .* give a runs_dir that can"):
        open_run(1, runs_dir, place)

from __future__ import annotations

import json
import shutil
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import RunOnce, make_experiment

from errors import ConfigError, RunError, RunLocked
from tracking.identity import is_uid, uid_of
from tracking.observer import RunDirectoryObserver, run_directory
from tracking.sacred_import import Run


def nothing(run: Run, path: Path) -> dict[str, int]:
    return {"answer": 42}


def entry(tmp_path: Path, run_id: int = 1) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((tmp_path / "runs" / str(run_id) / "run.json").read_text())
    return read


def test_runs_get_integer_ids_in_order(run_once: RunOnce, tmp_path: Path) -> None:
    assert [run_once(nothing)._id for _ in range(3)] == [1, 2, 3]
    assert entry(tmp_path, 3)["status"] == "COMPLETED"
    assert entry(tmp_path, 3)["result"] == {"answer": 42}


def test_the_number_of_a_run_whose_files_were_removed_is_not_given_again(
    run_once: RunOnce, tmp_path: Path
) -> None:
    assert [run_once(nothing)._id for _ in range(2)] == [1, 2]
    shutil.rmtree(tmp_path / "runs" / "2")
    assert run_once(nothing)._id == 3
    (tmp_path / "runs" / ".last_number").write_text("rubbish")
    assert run_once(nothing)._id == 4


def test_a_run_keeps_its_uid_when_it_is_resumed(run_once: RunOnce, tmp_path: Path) -> None:
    uids = []
    for resume in (None, None, 1, 2):
        run_once(nothing, resume=resume)
        uids.append(entry(tmp_path, resume or 1 + len(uids))["uid"])
    assert uids[:2] == uids[2:]
    assert len(set(uids)) == 2
    assert all(is_uid(uid) for uid in uids)


def test_a_resumed_run_is_still_of_the_config_that_it_began_with(
    run_once: RunOnce, tmp_path: Path
) -> None:
    run_once(nothing)
    before = entry(tmp_path)
    before["meta"]["named_configs"] = ["lander"]
    (tmp_path / "runs" / "1" / "run.json").write_text(json.dumps(before))
    run_once(nothing, resume=1)
    assert entry(tmp_path)["meta"]["named_configs"] == ["lander"]


def test_a_run_of_an_earlier_release_gets_the_uid_that_it_always_had(
    run_once: RunOnce, tmp_path: Path
) -> None:
    run_once(nothing)
    path = tmp_path / "runs" / "1" / "run.json"
    old = {name: value for name, value in entry(tmp_path).items() if name != "uid"}
    path.write_text(json.dumps(old))
    run_once(nothing, resume=1)
    assert entry(tmp_path)["uid"] == uid_of(old)
    assert uid_of({**old, "result": {"run_uid": "ab" * 16}}) == "ab" * 16
    assert uid_of({}) != uid_of(old)


def test_a_resumed_run_keeps_its_files_and_says_when_and_how_it_went_on(
    run_once: RunOnce, tmp_path: Path
) -> None:
    def first(run: Run, path: Path) -> None:
        (path / "theta.bin").write_text("kept")
        run.add_artifact(str(path / "theta.bin"))

    seen: list[str] = []

    def second(run: Run, path: Path) -> None:
        seen.append(json.loads((path / "run.json").read_text())["status"])

    run_once(first)
    before = entry(tmp_path)
    assert run_once(second, resume=1, num_generations=40, seed=1)._id == 1
    after = entry(tmp_path)
    assert seen == ["RUNNING"]
    assert (tmp_path / "runs" / "1" / "theta.bin").read_text() == "kept"
    assert after["artifacts"] == ["theta.bin"]
    assert after["start_time"] == before["start_time"]
    (resumed,) = after["resumed"]
    assert resumed["time"] > before["stop_time"]
    assert resumed["changed"]["num_generations"] == [20, 40]
    assert json.loads((tmp_path / "runs/1/config.json").read_text())["num_generations"] == 40
    assert [p.name for p in (tmp_path / "runs").glob("[!.]*")] == ["1"]


def test_runs_started_at_the_same_moment_get_directories_of_their_own(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    taken: list[int] = []

    def start() -> None:
        observer = RunDirectoryObserver(tmp_path / "runs")
        barrier.wait()
        run_id = observer.started_event({}, "main", {}, datetime(2026, 1, 1), {"a": 1}, {}, None)
        taken.append(run_id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 9))


def test_a_refused_hold_leaves_the_other_heads_run_as_it_is(
    run_once: RunOnce, tmp_path: Path
) -> None:
    run_once(nothing)
    before = (tmp_path / "runs" / "1" / "run.json").read_bytes()

    def refuse(path: Path) -> object:
        raise RunLocked(f"another head is at work on {path}")

    with pytest.raises(RunLocked):
        run_once(nothing, resume=1, hold=refuse)
    assert (tmp_path / "runs" / "1" / "run.json").read_bytes() == before


def test_a_run_directory_that_cannot_be_made_is_one_line_and_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for runs_dir in (tmp_path / "file", Path("/proc/runs")):
        experiment = make_experiment(nothing)
        experiment.observers.append(RunDirectoryObserver(runs_dir))
        with pytest.raises(ConfigError, match=r"is not writable .* runs_dir=FOLDER") as caught:
            experiment.run()
        assert "\n" not in str(caught.value)


def test_a_damaged_run_is_not_resumed(run_once: RunOnce, tmp_path: Path) -> None:
    run_once(nothing)
    (tmp_path / "runs" / "1" / "run.json").write_text('{"status": "RUN')
    with pytest.raises(RunError, match="damaged"):
        run_once(nothing, resume=1)


def test_an_artifact_from_elsewhere_is_copied(run_once: RunOnce, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"film")
    run_once(lambda run, path: run.add_artifact(str(tmp_path / "film.mp4"), name="walk.mp4"))
    assert (tmp_path / "runs" / "1" / "walk.mp4").read_bytes() == b"film"
    assert entry(tmp_path)["artifacts"] == ["walk.mp4"]


def test_a_directory_that_vanishes_during_the_run_is_a_warning_and_not_the_end(
    run_once: RunOnce, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def body(run: Run, path: Path) -> str:
        moved = path.rename(path.with_name("moved"))
        run._emit_heartbeat()
        run._emit_heartbeat()
        moved.rename(path)
        return "went on"

    assert run_once(body).result == "went on"
    assert entry(tmp_path)["status"] == "COMPLETED"


def test_metrics_grow_in_memory_and_are_all_there_at_the_end(
    run_once: RunOnce, tmp_path: Path
) -> None:
    def body(run: Run, path: Path) -> None:
        for step in range(100):
            run.log_scalar("a", float(step), step)
            if step % 30 == 0:
                run._emit_heartbeat()

    run_once(body)
    points = json.loads((tmp_path / "runs" / "1" / "metrics.json").read_text())["a"]
    assert points["values"] == [float(step) for step in range(100)]
    assert len(points["steps"]) == len(points["timestamps"]) == 100


def test_a_failed_run_says_so_and_why(run_once: RunOnce, tmp_path: Path) -> None:
    def body(run: Run, path: Path) -> None:
        raise RunError("no finite fitness")

    with pytest.raises(RunError):
        run_once(body)
    assert entry(tmp_path)["status"] == "FAILED"
    assert "no finite fitness" in "".join(entry(tmp_path)["fail_trace"])


def test_without_an_observer_there_is_no_directory() -> None:
    experiment = make_experiment(nothing)
    run = experiment._create_run()  # type: ignore[no-untyped-call]
    with pytest.raises(LookupError):
        run_directory(run)

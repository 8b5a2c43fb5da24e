"""A cluster's runs brought home, and what of the cluster they forget."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cluster.fetch import fetch_runs, include_from, included
from cluster.machine.run_files import RunUploader
from cluster.store import FolderStore
from errors import ResourceExhausted, RunLocked
from tracking.run_lock import held
from tracking.run_numbers import new_directory

KEY = "oak-12345678"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A run on the head, in the store too."""
    run = tmp_path / "there" / "1"
    (run / "journal").mkdir(parents=True)
    (run / "journal" / "log").write_bytes(b"records")
    (run / "journal" / "snapshot-000000001").write_bytes(b"state")
    config = {"lr": 0.1, "redis_url": "redis://10.0.0.5", "workers": 0, "include": "/opt/include"}
    (run / "config.json").write_text(json.dumps(config))
    RunUploader(FolderStore(tmp_path / "store"), run).upload()
    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def store(tmp_path: Path, there: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_a_run_comes_under_the_next_number_and_forgets_the_clusters_redis(
    store: FolderStore, runs: Path
) -> None:
    (runs / "7").mkdir(parents=True)
    assert fetch_runs(store, KEY, runs) == [runs / "8"]
    assert (runs / "8" / "journal" / "log").read_bytes() == b"records"
    config = json.loads((runs / "8" / "config.json").read_text())
    assert (config["lr"], config["redis_url"], config["workers"]) == (0.1, None, "auto")
    assert list(runs.glob(".*")) == [runs / ".last_number"]


def test_it_comes_to_the_same_place_again_with_what_is_new(
    store: FolderStore, runs: Path, there: Path
) -> None:
    assert fetch_runs(store, KEY, runs) == [runs / "1"]
    (there / "journal" / "log").write_bytes(b"records and more")
    RunUploader(store, there).upload()
    assert fetch_runs(store, KEY, runs) == [runs / "1"]
    assert (runs / "1" / "journal" / "log").read_bytes() == b"records and more"
    assert fetch_runs(store, "elm-12345678", runs) == [runs / "2"]


def test_what_people_added_to_it_stays_and_what_the_cluster_dropped_goes(
    store: FolderStore, runs: Path, there: Path
) -> None:
    (there / "tags.json").write_text('["of the cluster"]')
    carrier = RunUploader(store, there)
    carrier.upload()
    (run,) = fetch_runs(store, KEY, runs)
    (run / "tags.json").write_text('["baseline"]')
    (run / "videos").mkdir()
    (run / "videos" / "walk.mp4").write_bytes(b"film")
    (run / "link").symlink_to("videos")
    (there / "journal" / "snapshot-000000001").rename(there / "journal" / "snapshot-000000002")
    carrier.upload()
    for _ in range(2):
        assert fetch_runs(store, KEY, runs) == [run]
        assert (run / "tags.json").read_text() == '["baseline"]'
        assert (run / "link" / "walk.mp4").read_bytes() == b"film"
        journal = sorted(path.name for path in (run / "journal").iterdir())
        assert journal == ["log", "snapshot-000000002"]


def test_what_people_added_to_a_run_of_an_older_release_stays_too(
    store: FolderStore, runs: Path
) -> None:
    (run,) = fetch_runs(store, KEY, runs)
    origin = json.loads((run / "cluster.json").read_text())
    del origin["files"]
    (run / "cluster.json").write_text(json.dumps(origin))
    (run / "walk.mp4").write_bytes(b"film")
    (run / "journal" / "snapshot-000000000").write_bytes(b"gone there")
    assert fetch_runs(store, KEY, runs) == [run]
    assert (run / "walk.mp4").read_bytes() == b"film"
    assert not (run / "journal" / "snapshot-000000000").exists()


def test_a_number_is_not_given_again_when_its_run_was_removed(
    store: FolderStore, runs: Path
) -> None:
    number = new_directory(runs)
    number.rmdir()
    assert fetch_runs(store, KEY, runs) == [runs / "2"]
    shutil.rmtree(runs / "2")
    assert new_directory(runs) == runs / "3"


def test_a_run_that_was_gone_on_with_here_is_not_written_over(
    store: FolderStore, runs: Path
) -> None:
    fetch_runs(store, KEY, runs)
    (runs / "1" / "journal" / "log").write_bytes(b"records of ours")
    assert fetch_runs(store, KEY, runs) == [runs / "2"]
    assert (runs / "1" / "journal" / "log").read_bytes() == b"records of ours"
    assert fetch_runs(store, KEY, runs) == [runs / "2"]


def test_a_run_that_a_head_is_at_work_on_is_left_alone(store: FolderStore, runs: Path) -> None:
    (run,) = fetch_runs(store, KEY, runs)
    (run / "journal" / "lock").touch()
    inode = run.stat().st_ino
    with held(run), pytest.raises(RunLocked, match="stop it first"):
        fetch_runs(store, KEY, runs)
    assert run.stat().st_ino == inode
    assert fetch_runs(store, KEY, runs) == [run]


@pytest.mark.parametrize("renames", range(3))
def test_a_fetch_that_was_killed_half_way_loses_nothing_that_people_added(
    store: FolderStore, runs: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    (run,) = fetch_runs(store, KEY, runs)
    (run / "walk.mp4").write_bytes(b"film")
    kill_after(renames, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fetch_runs(store, KEY, runs)
    monkeypatch.undo()
    assert fetch_runs(store, KEY, runs) == [run]
    assert (run / "walk.mp4").read_bytes() == b"film"
    assert sorted(path.name for path in runs.iterdir()) == [".last_number", "1"]


def kill_after(renames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so much be renamed, and interrupt whoever renames more."""
    left, rename = iter(range(renames)), Path.rename

    def rename_or_be_killed(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_or_be_killed)


def test_the_users_modules_are_where_they_are_here(store: FolderStore, runs: Path) -> None:
    (run,) = fetch_runs(store, KEY, runs)
    assert included(run) == "/opt/include"
    include_from(run, runs)
    assert included(run) == str(runs)


def test_a_cluster_without_a_run_brings_nothing(tmp_path: Path, runs: Path) -> None:
    assert fetch_runs(FolderStore(tmp_path / "other"), KEY, runs) == []


def test_a_place_that_cannot_be_written_is_named(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceExhausted, match=r"file/runs cannot be written to .*--runs_dir"):
        fetch_runs(store, KEY, tmp_path / "file" / "runs")

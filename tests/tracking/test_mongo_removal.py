"""Runs removed from files, from MongoDB, or from both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mongo_compare import unused_port
from pymongo.database import Database
from recorded_run import recorded
from tiny_experiment import RunOnce

from tracking.mongo.connection import connected
from tracking.mongo.mirror import Mirror
from tracking.mongo.place import PASSWORD_VARIABLE, MongoPlace
from tracking.runs import main
from tracking.store import open_run

Mongo = Database[dict[str, Any]]


@pytest.fixture
def database(place: MongoPlace) -> Iterator[Mongo]:
    with connected(place) as found:
        yield found


@pytest.fixture
def runs_dir(run_once: RunOnce, database: Mongo, tmp_path: Path) -> Path:
    """Runs 1 and 2, of which MongoDB has the first."""
    for _ in range(2):
        run_once(recorded)
    Mirror(database, tmp_path / "runs" / "1").carry()
    return tmp_path / "runs"


def remove(runs_dir: Path, url: str, *words: str) -> Result:
    argv = ["remove", *words, "--yes", f"--runs_dir={runs_dir}", f"--mongo_url={url}"]
    return CliRunner().invoke(main, argv, catch_exceptions=False)


def counts(database: Mongo) -> list[int]:
    names = ("runs", "metrics", "fs.files", "fs.chunks")
    return [database[name].count_documents({}) for name in names]


def test_with_files_alone_removed_mongodb_has_all_of_them(
    runs_dir: Path, place: MongoPlace, database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, str(place.password))
    before = open_run(2, runs_dir)
    metrics, kept = before.metrics().keys(), before.checkpoints()
    removed = remove(runs_dir, place.url, "1-2", "--files")
    assert removed.exit_code == 0, removed.stderr
    assert f"MongoDB at {place} keeps" in removed.stdout
    assert not (runs_dir / "2").exists()
    fetched = open_run(2, runs_dir, place)
    assert fetched.metrics().keys() == metrics
    assert fetched.checkpoints() == kept


def test_a_run_goes_from_mongodb_too_and_no_other(
    runs_dir: Path, place: MongoPlace, database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, str(place.password))
    before = counts(database)
    Mirror(database, runs_dir / "2").carry()
    assert remove(runs_dir, place.url, "2").exit_code == 0
    assert counts(database) == before
    assert remove(runs_dir, place.url, "1").exit_code == 0
    assert counts(database) == [0, 0, 0, 0]
    assert not (runs_dir / "1").exists()


def test_without_mongodb_nothing_is_removed_unless_it_is_left_out(
    runs_dir: Path, database: Mongo
) -> None:
    before = counts(database)
    refused = remove(runs_dir, f"mongodb://127.0.0.1:{unused_port()}", "1")
    assert refused.exit_code == 4
    assert refused.stderr.count("\n") == 1
    assert (runs_dir / "1" / "config.json").exists()
    assert (
        "no MongoDB is named that could keep them" in remove(runs_dir, "off", "1", "--files").stderr
    )
    assert remove(runs_dir, "off", "1").exit_code == 0
    assert not (runs_dir / "1").exists()
    assert counts(database) == before

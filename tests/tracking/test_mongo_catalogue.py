"""What `tracking.runs` does with runs in MongoDB: lists them, and removes them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mongo_compare import unused_port
from pymongo.database import Database
from recorded_run import recorded
from tiny_experiment import RunOnce

from tracking.mongo.mirror import Mirror
from tracking.mongo.place import PASSWORD_VARIABLE, MongoPlace
from tracking.runs import main
from tracking.store import open_run

Mongo = Database[dict[str, Any]]


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
        "no MongoDB could keep them: none is named"
        in remove(runs_dir, "off", "1", "--files").stderr
    )
    assert remove(runs_dir, "off", "1").exit_code == 0
    assert not (runs_dir / "1").exists()
    assert counts(database) == before


def test_the_list_of_what_mongodb_has_says_what_the_files_say(
    runs_dir: Path, place: MongoPlace, database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, str(place.password))
    Mirror(database, runs_dir / "2").carry()
    stale = {"status": "RUNNING", "heartbeat": datetime(2026, 1, 1), "config": {"lr": 0.5}}
    database["runs"].insert_one({"_id": 7, **stale, "omniboard": {"tags": ["mine"]}})
    here = listed(f"--runs_dir={runs_dir}")
    there = listed(f"--mongo_url={place.url}")
    for row in (*here, *there):
        assert row.pop("size_bytes") > 0 or row["run_id"] == 7
    began_s = [row.pop("started_s") for row in here]
    assert [row.pop("started_s") for row in there[:2]] == pytest.approx(began_s, abs=0.01)
    assert there[:2] == here
    assert (there[2]["run_id"], there[2]["status"], there[2]["tags"]) == (7, "killed", ["mine"])
    chosen = listed("--mongo", f"--mongo_url={place.url}", "--where=lr=0.5", "--status=killed")
    assert [row["run_id"] for row in chosen] == [7]


def listed(*words: str) -> list[dict[str, Any]]:
    shown = CliRunner().invoke(main, ["list", "--json", *words], catch_exceptions=False)
    assert shown.exit_code == 0, shown.stderr
    rows: list[dict[str, Any]] = json.loads(shown.stdout)
    return rows

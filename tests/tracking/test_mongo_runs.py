from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from mongo_compare import assert_same_run, document_of, unused_port
from pymongo.database import Database
from recorded_run import recorded
from tiny_experiment import RunOnce

from errors import ConfigError, MessageError, RunError, RunLocked, ServiceUnavailable
from tracking.mongo.fetch import MANIFEST
from tracking.mongo.mirror import Mirror, files_of
from tracking.mongo.place import MongoPlace, parse_place
from tracking.store import StoredRun, open_run, open_run_to_resume
from tracking.sync import main

Mongo = Database[dict[str, Any]]


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def kept(run_once: RunOnce, database: Mongo, runs_dir: Path, tmp_path: Path) -> Path:
    """What was run 1, removed from ``runs`` since; MongoDB has it."""
    run_once(recorded, seed=11)
    Mirror(database, runs_dir / "1").carry()
    return (runs_dir / "1").rename(tmp_path / "kept")


def uid_in(directory: Path) -> str:
    return str(json.loads((directory / "run.json").read_text())["uid"])


def assert_reads_alike(run: StoredRun, original: StoredRun) -> None:
    assert run.config == original.config
    assert (run.status, run.result, run.seed) == (original.status, original.result, 11)
    assert run.checkpoints() == original.checkpoints() != []
    assert run.best() == original.best() is not None
    for number in run.checkpoints():
        np.testing.assert_array_equal(
            run.checkpoint(number).theta, original.checkpoint(number).theta
        )
    ours, theirs = run.metrics(), original.metrics()
    assert ours.keys() == theirs.keys()
    for name, (numbers, values) in theirs.items():
        np.testing.assert_array_equal(ours[name][0], numbers)
        np.testing.assert_array_equal(ours[name][1], values)


def test_a_run_whose_files_are_gone_reads_alike_from_mongodb(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    for run_id in (1, "1", uid_in(kept)):
        run = open_run(run_id, runs_dir, place)
        assert (run.run_id, run.path) == (1, runs_dir / ".fetched" / uid_in(kept))
        assert_reads_alike(run, StoredRun(1, kept))
    assert (run.path / "final.mp4").read_bytes() == (kept / "final.mp4").read_bytes()
    assert not (run.path / "journal").exists()  # only a resume wants that


def test_files_count_before_mongodb(
    run_once: RunOnce, kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path
) -> None:
    run_once(recorded)
    assert open_run(2, runs_dir, place).path == runs_dir / "2"
    # MongoDB's number of a run that is here by another one means that one.
    (runs_dir / "2").rename(runs_dir / "5")
    assert Mirror(database, runs_dir / "5").carry().number == 5
    (runs_dir / "5").rename(runs_dir / "8")
    run = open_run(5, runs_dir, place)
    assert (run.run_id, run.path) == (8, runs_dir / "8")
    assert open_run(uid_in(run.path), runs_dir).path == runs_dir / "8"


def test_the_number_that_a_run_had_here_means_it_before_mongodbs_numbers(
    run_once: RunOnce, kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path
) -> None:
    document = database["runs"].find_one_and_delete({"_id": 1})
    assert document is not None
    other = {**document, "walking_es": {"uid": "f" * 32, "number": 9, "host": "x"}}
    database["runs"].insert_many([{**document, "_id": 40}, other])
    assert open_run(1, runs_dir, place).path.name == uid_in(kept)
    assert open_run(40, runs_dir, place).path.name == uid_in(kept)


def test_what_was_fetched_is_brought_up_to_date_and_only_what_changed_travels(
    kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path
) -> None:
    fetched = open_run(1, runs_dir, place).path
    before = {name: (fetched / name).stat().st_mtime_ns for name in files_of(fetched)}
    (kept / "checkpoints" / "generation_000004.npz").unlink()
    (kept / "metrics.jsonl").write_text("")
    Mirror(database, kept.rename(runs_dir / "1")).carry()
    (runs_dir / "1").rename(kept)
    run = open_run(1, runs_dir, place)
    assert 4 not in run.checkpoints()
    assert run.metrics() == {}
    after = {name: (fetched / name).stat().st_mtime_ns for name in files_of(fetched)}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"metrics.jsonl"}


def test_a_fetched_file_that_was_lost_or_a_manifest_that_is_damaged_is_mended(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    fetched = open_run(1, runs_dir, place).path
    (fetched / "metrics.jsonl").unlink()
    open_run(1, runs_dir, place)
    (fetched / MANIFEST).write_text("[1")
    (fetched / "metrics.jsonl").write_text("damaged")
    assert_reads_alike(open_run(1, runs_dir, place), StoredRun(1, kept))


def test_a_run_to_resume_comes_home_with_its_journal_at_its_number(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    open_run(1, runs_dir, place)
    run = open_run_to_resume(1, runs_dir, place)
    assert (run.run_id, run.path) == (1, runs_dir / "1")
    names = sorted(files_of(kept))
    assert sorted(files_of(run.path)) == names
    for name in names:
        assert (run.path / name).read_bytes() == (kept / name).read_bytes()
    assert not (run.path / MANIFEST).exists()


def test_a_run_to_resume_whose_number_is_taken_gets_the_next(
    run_once: RunOnce, kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    run_once(recorded)
    (runs_dir / "2").rename(runs_dir / "1")
    run = open_run_to_resume(uid_in(kept), runs_dir, place)
    assert run.run_id == 3
    assert uid_in(run.path) == uid_in(kept)


def test_a_run_that_goes_on_elsewhere_is_read_and_not_resumed(
    kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path
) -> None:
    now = datetime.now(UTC)
    alive = {"status": "RUNNING", "heartbeat": now, "walking_es.host": "far-away"}
    database["runs"].update_one({"_id": 1}, {"$set": alive})
    with pytest.raises(RunLocked, match="goes on on far-away"):
        open_run_to_resume(1, runs_dir, place)
    assert open_run(1, runs_dir, place).checkpoints()
    killed = {"heartbeat": now - timedelta(minutes=2)}
    database["runs"].update_one({"_id": 1}, {"$set": killed})
    assert open_run_to_resume(1, runs_dir, place).run_id == 1


def test_an_unknown_run_names_the_nearest_and_where_it_was_looked_for(
    run_once: RunOnce, kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path
) -> None:
    database["runs"].insert_one({"_id": 12, "status": "COMPLETED"})
    with pytest.raises(ConfigError, match=rf"no run 7 in {runs_dir}; nor in MongoDB at {place}, w"):
        open_run(7, runs_dir, place)
    run_once(recorded)
    with pytest.raises(ConfigError) as refused:
        open_run("x7", runs_dir, place)
    assert f"no run x7 in {runs_dir}; the nearest are 2; nor in MongoDB at" in str(refused.value)
    assert str(refused.value).endswith("where the nearest are 1")
    with pytest.raises(ConfigError, match="another program recorded run 12"):
        open_run(12, runs_dir, place)


def test_a_uid_that_leads_elsewhere_is_no_run_of_ours(
    kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path
) -> None:
    database["runs"].update_one({"_id": 1}, {"$set": {"walking_es.uid": "../../evil"}})
    with pytest.raises(ConfigError, match="another program recorded run 1"):
        open_run(1, runs_dir, place)


def test_a_number_that_mongodb_cannot_hold_is_unknown(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"no run {2**63} in .* the nearest are 1"):
        open_run(2**63, runs_dir, place)


def test_an_empty_database_is_asked_about(place: MongoPlace, runs_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"no runs of ours: is it the right database\?"):
        open_run(1, runs_dir, place)


def test_where_mongodb_cannot_be_asked_both_places_are_named(
    run_once: RunOnce, runs_dir: Path
) -> None:
    away = parse_place(f"mongodb://127.0.0.1:{unused_port()}/sacred", "test")
    with pytest.raises(ServiceUnavailable, match=rf"no run 1 in {runs_dir}; no MongoDB at"):
        open_run(1, runs_dir, away)
    run_once(recorded)
    assert open_run(1, runs_dir, away).run_id == 1  # nobody is asked


def test_a_damaged_directory_says_how_to_read_what_mongodb_has(
    kept: Path, place: MongoPlace, runs_dir: Path
) -> None:
    shutil.copytree(kept, runs_dir / "1")
    (runs_dir / "1" / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"damaged: .* move its folder away to read"):
        open_run(1, runs_dir, place)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", MANIFEST])
def test_a_name_that_leads_out_of_the_runs_folder_is_refused(
    kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path, name: str
) -> None:
    database["fs.files"].update_one(
        {"metadata.name": "metrics.jsonl"}, {"$set": {"metadata.name": name}}
    )
    with pytest.raises(MessageError, match="is no file of a run"):
        open_run(1, runs_dir, place)


def test_a_file_that_is_damaged_in_mongodb_is_not_read(
    kept: Path, place: MongoPlace, database: Mongo, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.mongo.fetch._PAUSE_S", 0.0)
    stored = database["fs.files"].find_one({"metadata.name": "metrics.jsonl"})
    assert stored is not None
    database["fs.chunks"].delete_many({"files_id": stored["_id"]})
    with pytest.raises(ServiceUnavailable, match=r"metrics\.jsonl of run .* or is damaged"):
        open_run(1, runs_dir, place)


def sync(place: MongoPlace, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    monkeypatch.setenv("ES_MONGO_URL", place.url)
    monkeypatch.setenv("ES_MONGO_PASSWORD", place.password or "")
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.output


def test_sync_tells_what_was_recorded_while_mongodb_was_away(
    run_once: RunOnce,
    place: MongoPlace,
    database: Mongo,
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_once(recorded, seed=1)
    run_once(recorded, seed=2)
    database["runs"].insert_one({"_id": 2})
    where = ("--runs_dir", str(runs_dir))
    code, said = sync(place, monkeypatch, "2", *where)
    assert code == 0
    assert said.startswith(f"run 2: MongoDB at {place} has it as run 3, 3 metrics and ")
    code, said = sync(place, monkeypatch, "--all", *where)
    assert (code, said.count("\n")) == (0, 2)
    assert "0.0 MB of them new" in said.splitlines()[1]
    for number in (1, 2):
        assert_same_run(database, runs_dir / str(number))
    assert document_of(database, runs_dir / "2")["_id"] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no run is named"),
        (("7",), "no run 7 in"),
        (("1", "--mongo_url", "off"), "no MongoDB is named"),
        (("1", "--mongo_url", "mongodb://a:hunter2@h/x"), "came with a password"),
        (("2",), "is missing or damaged"),
    ],
)
def test_sync_refuses_in_one_line(
    run_once: RunOnce,
    place: MongoPlace,
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    run_once(recorded)
    shutil.copytree(runs_dir / "1", runs_dir / "2")
    (runs_dir / "2" / "run.json").write_text("{")
    code, output = sync(place, monkeypatch, *words, "--runs_dir", str(runs_dir))
    assert code > 1
    assert output.startswith("error: ")
    assert said in output
    assert output.count("\n") == 1
    assert "hunter2" not in output


def test_sync_goes_on_after_a_run_that_it_cannot_tell(
    run_once: RunOnce,
    place: MongoPlace,
    database: Mongo,
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed in range(4):
        run_once(recorded, seed=seed)
    (runs_dir / "1" / "config.json").write_text("{")
    (runs_dir / "3" / "run.json").unlink()
    code, said = sync(place, monkeypatch, "--all", "--runs_dir", str(runs_dir))
    assert code == RunError.exit_code
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "error", "run 2", "error", "run 4",
    ]  # fmt: skip
    for number in (2, 4):
        assert_same_run(database, runs_dir / str(number))


def test_sync_says_once_that_mongodb_is_away_and_names_its_options(
    run_once: RunOnce, place: MongoPlace, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(recorded)
    run_once(recorded)
    away = f"--mongo_url=mongodb://127.0.0.1:{unused_port()}/x"
    code, said = sync(place, monkeypatch, "--all", away, "--runs_dir", str(runs_dir))
    assert (code, said.count("\n")) == (ServiceUnavailable.exit_code, 1)
    _, said = sync(place, monkeypatch, "1", "--runs_dir", str(runs_dir / "none"))
    assert "give the folder with --runs_dir FOLDER" in said


def test_sync_names_a_file_that_it_may_not_read(
    run_once: RunOnce, place: MongoPlace, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(recorded)

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "runs/1/final.mp4")

    monkeypatch.setattr("tracking.mongo.grid.Grid.carry", refused)
    code, said = sync(place, monkeypatch, "1", "--runs_dir", str(runs_dir))
    assert (code, said.count("\n")) == (RunError.exit_code, 1)
    assert said.startswith("error: runs/1/final.mp4 cannot be read (Permission denied)")

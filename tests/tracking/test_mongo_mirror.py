from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import bson
import pytest
from mongo_compare import assert_same_run, document_of
from pymongo.database import Database
from pymongo.errors import AutoReconnect
from recorded_run import CHUNK, write_journal
from tiny_experiment import RunOnce

from errors import RunError
from tracking import metric_log
from tracking.metric_log import Row
from tracking.mongo import grid
from tracking.mongo.connection import connected
from tracking.mongo.metric_points import MetricPoints, metric_id
from tracking.mongo.mirror import Mirror
from tracking.mongo.place import MongoPlace

Mongo = Database[dict[str, Any]]


def test_mongodb_says_field_by_field_what_the_directory_says(
    database: Mongo, directory: Path
) -> None:
    mirrored = Mirror(database, directory).carry()
    assert (mirrored.number, mirrored.is_first) == (1, True)
    document = assert_same_run(database, directory)
    assert document["format"].startswith("MongoObserver")
    assert document["captured_out"].count("\n") == 6
    assert document["captured_out"].endswith("generation 5 told\n")
    assert document["info"]["note"] == {"with,dot": 1, "@money": str(2**70)}
    assert "final.mp4" in {artifact["name"] for artifact in document["artifacts"]}


def test_artifacts_are_named_without_folders_unless_two_would_be_called_alike(
    database: Mongo, directory: Path
) -> None:
    (directory / "videos").mkdir()
    for name in ("final.mp4", "generation_000002.mp4"):
        (directory / "videos" / name).write_bytes(b"frames")
    Mirror(database, directory).carry()
    document = assert_same_run(database, directory)
    names = [artifact["name"] for artifact in document["artifacts"]]
    assert {"final.mp4", "videos-final.mp4", "generation_000002.mp4"} < set(names)
    assert "generation_000002.npz" in names
    assert len(set(names)) == len(names)


def test_told_twice_nothing_travels_and_nothing_is_there_twice(
    database: Mongo, directory: Path
) -> None:
    first = Mirror(database, directory)
    assert first.carry().num_bytes > 2 * CHUNK
    before = {name: list(database[name].find()) for name in database.list_collection_names()}
    assert first.carry().num_bytes == 0
    assert Mirror(database, directory).carry()[1:2] == (False,)
    assert Mirror(database, directory).carry().num_bytes == 0
    assert before == {name: list(database[name].find()) for name in before}


def test_a_log_that_grows_costs_its_last_chunk_and_one_that_was_cut_is_cut(
    database: Mongo, directory: Path
) -> None:
    mirror = Mirror(database, directory)
    mirror.carry()
    write_journal(directory, 2 * CHUNK + 200)
    assert mirror.carry().num_bytes == 200
    write_journal(directory, 3 * CHUNK)
    assert mirror.carry().num_bytes == CHUNK
    assert_same_run(database, directory)
    write_journal(directory, CHUNK - 1)
    mirror.carry()
    assert_same_run(database, directory)


def test_a_journal_waits_when_it_is_told_to(database: Mongo, directory: Path) -> None:
    mirror = Mirror(database, directory)
    mirror.carry(with_journal=False)
    assert not database["fs.files"].count_documents({"metadata.name": {"$regex": "^journal"}})
    mirror.carry()
    mirror.carry(with_journal=False)
    assert_same_run(database, directory)


def test_a_checkpoint_that_has_gone_goes_from_mongodb_too(database: Mongo, directory: Path) -> None:
    mirror = Mirror(database, directory)
    mirror.carry()
    gone = directory / "checkpoints" / "generation_000002.npz"
    gone.unlink()
    mirror.carry()
    document = assert_same_run(database, directory)
    assert gone.name not in str(document["artifacts"])


class _FailsAfter:
    """A collection whose server goes away after some writes."""

    def __init__(self, real: Any, budget: list[int]) -> None:
        self._real, self._budget = real, budget

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if not name.endswith(("_one", "_many", "_write")) or name.startswith("find"):
            return method

        def write(*args: Any, **options: Any) -> Any:
            if self._budget[0] == 0:
                raise AutoReconnect("gone")
            self._budget[0] -= 1
            return method(*args, **options)

        return write


class _FlakyDatabase:
    def __init__(self, real: Mongo, budget: int) -> None:
        self._real, self._budget = real, [budget]

    def __getitem__(self, name: str) -> Any:
        return _FailsAfter(self._real[name], self._budget)


def test_whoever_is_stopped_after_any_write_the_next_one_completes_it(
    database: Mongo, directory: Path
) -> None:
    stopped = 0
    for budget in range(0, 200, 3):
        flaky: Any = _FlakyDatabase(database, budget)
        (directory / "final.mp4").write_bytes(b"film %d" % budget * 10)
        try:
            Mirror(flaky, directory).carry()
        except AutoReconnect:
            stopped += 1
        else:
            break
        if budget % 4 == 0:  # from wherever it was left
            Mirror(database, directory).carry()
            assert_same_run(database, directory)
            for name in ("runs", "metrics", "fs.files", "fs.chunks"):
                database[name].delete_many({})
    assert stopped > 5
    Mirror(database, directory).carry()
    assert_same_run(database, directory)


def test_a_mirror_that_failed_goes_on_by_itself(database: Mongo, directory: Path) -> None:
    flaky: Any = _FlakyDatabase(database, 12)
    mirror = Mirror(flaky, directory)
    with pytest.raises(AutoReconnect):
        mirror.carry()
    flaky._budget[0] = 1000
    mirror.carry()
    assert_same_run(database, directory)


def test_a_write_that_was_lost_or_an_older_one_is_mended_when_all_is_looked_at_again(
    database: Mongo, directory: Path
) -> None:
    mirror = Mirror(database, directory)
    mirror.carry()
    database["fs.chunks"].delete_one({"n": 1})
    other = database["fs.chunks"].find_one({"n": 0})
    assert other is not None
    changed = {"data": bson.Binary(b"older"), "digest": grid.digest_of_chunk(b"older")}
    database["fs.chunks"].update_one({"_id": other["_id"]}, {"$set": changed})
    database["metrics"].update_one({"name": "fitness/mean"}, {"$pop": {"steps": 1}})
    mirror.forget()
    mirror.carry()
    assert_same_run(database, directory)


def test_a_document_that_somebody_removed_meanwhile_is_made_again(
    database: Mongo, directory: Path
) -> None:
    mirror = Mirror(database, directory)
    mirror.carry()
    for name in ("runs", "metrics", "fs.files", "fs.chunks"):
        database[name].delete_many({})
    assert mirror.carry().is_first
    assert_same_run(database, directory)


def test_runs_of_several_heads_never_get_one_number(
    database: Mongo, directory: Path, tmp_path: Path, place: MongoPlace
) -> None:
    directories = []
    for head in range(4):
        copied = tmp_path / f"head-{head}" / "1"
        shutil.copytree(directory, copied)
        entry = json.loads((copied / "run.json").read_text())
        (copied / "run.json").write_text(json.dumps({**entry, "uid": f"{head:032x}"}))
        directories.append(copied)
    barrier, numbers = threading.Barrier(8), []

    def tell(path: Path) -> None:
        with connected(place) as own:
            barrier.wait()
            numbers.append(Mirror(own, path).carry().number)

    # Each is told of by two at once.
    threads = [threading.Thread(target=tell, args=(path,)) for path in directories * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == sorted([*range(1, 5)] * 2)
    for path in directories:
        document = assert_same_run_alone(database, path)
        assert document["walking_es"]["number"] == 1
        assert document["walking_es"]["directory"] == str(path)


def assert_same_run_alone(database: Mongo, path: Path) -> dict[str, Any]:
    Mirror(database, path).carry()
    return assert_same_run(database, path)


def test_runs_that_sacred_itself_recorded_keep_their_numbers(
    database: Mongo, directory: Path
) -> None:
    database["runs"].insert_many([{"_id": 1, "status": "COMPLETED"}, {"_id": 7}])
    assert Mirror(database, directory).carry().number == 8
    assert database["runs"].find_one({"_id": 1}) == {"_id": 1, "status": "COMPLETED"}


def test_a_resumed_run_goes_on_in_its_document(
    run_once: RunOnce, database: Mongo, directory: Path
) -> None:
    Mirror(database, directory).carry()
    assert document_of(database, directory)["status"] == "COMPLETED"

    def goes_on(run: Any, path: Path) -> None:
        Mirror(database, path).carry()
        document = document_of(database, path)
        assert document["status"] == "RUNNING"
        assert not {"stop_time", "result"} & document.keys()

    run_once(goes_on, resume=1, num_generations=40)
    Mirror(database, directory).carry()
    assert document_of(database, directory)["_id"] == 1
    assert document_of(database, directory)["walking_es"]["resumed"][0]["changed"]
    assert database["runs"].count_documents({}) == 1


def test_a_run_that_failed_says_so_with_its_trace(
    run_once: RunOnce, database: Mongo, tmp_path: Path
) -> None:
    def fails(run: Any, path: Path) -> None:
        raise ZeroDivisionError("of all things")

    with pytest.raises(ZeroDivisionError):
        run_once(fails)
    Mirror(database, tmp_path / "runs" / "1").carry()
    document = document_of(database, tmp_path / "runs" / "1")
    assert document["status"] == "FAILED"
    assert "of all things" in document["fail_trace"][-1]


@pytest.mark.parametrize("name", ["run.json", "config.json"])
@pytest.mark.parametrize("text", [None, "", '{"status": "RUN', "[]"])
def test_a_damaged_directory_is_one_line(
    database: Mongo, directory: Path, name: str, text: str | None
) -> None:
    (directory / name).unlink()
    if text is not None:
        (directory / name).write_text(text)
    with pytest.raises(RunError, match=rf"{name} is missing or damaged") as refused:
        Mirror(database, directory).carry()
    assert "\n" not in str(refused.value)
    assert not database["runs"].count_documents({})


def follow(path: Path, numbers: range, points: MetricPoints, database: Mongo) -> None:
    log = metric_log.MetricLog(path)
    for number in numbers:
        log.append(Row(number, 1e9 + number, {"fitness/mean": float(number), "b": float("inf")}))
    log.close()
    points.read()
    points.carry(database["metrics"], 1)


def kept(database: Mongo) -> list[int]:
    document = database["metrics"].find_one({"_id": metric_id("u", "fitness/mean")})
    assert document is not None
    assert document["values"] == [float(step) for step in document["steps"]]
    assert len(document["timestamps"]) == len(document["steps"])
    return list(document["steps"])


def test_a_metric_of_a_long_run_is_thinned_and_never_outgrows_its_document(
    database: Mongo, tmp_path: Path
) -> None:
    path, points = tmp_path / metric_log.FILE_NAME, MetricPoints(tmp_path / "metrics.jsonl", "u", 8)
    for start in range(0, 40, 5):
        follow(path, range(start, start + 5), points, database)
        stride = 1
        while start + 4 >= 8 * stride:
            stride *= 2
        assert kept(database) == list(range(0, start + 5, stride))
    afresh = MetricPoints(path, "u", 8)
    afresh.read()
    afresh.carry(database["metrics"], 1)
    assert kept(database) == list(range(0, 40, 8))
    assert afresh.ids().keys() == {"fitness/mean"}


def test_metrics_follow_a_file_that_was_cut_replaced_or_is_half_written(
    database: Mongo, tmp_path: Path
) -> None:
    path, points = tmp_path / metric_log.FILE_NAME, MetricPoints(tmp_path / "metrics.jsonl", "u")
    follow(path, range(4), points, database)
    with path.open("ab") as file:
        file.write(b'{"generation": 4, "time"')
    points.read()
    points.carry(database["metrics"], 1)
    assert kept(database) == [0, 1, 2, 3]
    metric_log.rewrite(path, metric_log.read(path)[:2])
    follow(path, range(2, 3), points, database)
    assert kept(database) == [0, 1, 2]
    with path.open("ab") as file:  # of two for one generation the later counts
        file.write(Row(1, 5.0, {"fitness/mean": 1.0, "new": 2.0}).line())
    follow(path, range(3, 5), points, database)
    assert kept(database) == [0, 1, 2, 3, 4]
    assert points.ids().keys() == {"fitness/mean", "new"}


def test_points_that_somebody_else_wrote_or_lost_are_all_told_again(
    database: Mongo, tmp_path: Path
) -> None:
    path, points = tmp_path / metric_log.FILE_NAME, MetricPoints(tmp_path / "metrics.jsonl", "u")
    follow(path, range(3), points, database)
    database["metrics"].update_many({}, {"$pop": {"steps": 1, "values": 1}})
    follow(path, range(3, 5), points, database)
    assert kept(database) == [0, 1, 2, 3, 4]

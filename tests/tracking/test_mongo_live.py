from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from mongo_compare import assert_same_run, document_of, eventually, unused_port
from pymongo.database import Database
from recorded_run import NUM_GENERATIONS, record_generation, recorded, recorder_of, write_journal
from tiny_experiment import RunOnce

from tracking.mirroring import mirrored
from tracking.mongo.live import LiveMirror
from tracking.mongo.place import MongoPlace, parse_place
from tracking.mongo.server import MongoServer

Mongo = Database[dict[str, Any]]


def beside(
    run_once: RunOnce, place: MongoPlace, body: Callable[[Any, Path], Any], **options: Any
) -> tuple[LiveMirror, list[str]]:
    """Run ``body`` as a Sacred run with a mirror beside it, as a command has it."""
    said: list[str] = []
    mirrors: list[LiveMirror] = []

    def hold(path: Path) -> None:
        mirrors.append(LiveMirror(place, path, said.append, every_s=0.05, **options))
        mirrors[0].__enter__()

    try:
        run_once(body, hold=hold)
    finally:
        mirrors[0].__exit__(None, None, None)
    return mirrors[0], said


def test_a_run_is_seen_while_it_goes_and_is_whole_when_it_has_ended(
    run_once: RunOnce, place: MongoPlace, database: Mongo, tmp_path: Path
) -> None:
    def body(run: Any, path: Path) -> dict[str, int]:
        write_journal(path, 1000)
        with recorder_of(run, path) as recorder:
            for number in range(NUM_GENERATIONS):
                record_generation(recorder, number)
                seen = {"name": "fitness/mean", "steps": {"$size": number + 1}}
                eventually(lambda seen=seen: database["metrics"].find_one(seen))
        assert document_of(database, path)["status"] == "RUNNING"
        return {"answer": 42}

    mirror, said = beside(run_once, place, body)
    assert mirror.finished
    document = assert_same_run(database, tmp_path / "runs" / "1")
    assert (document["status"], document["result"]) == ("COMPLETED", {"answer": 42})
    assert said == [f"MongoDB at {place} has this run"]


def test_at_the_end_it_mends_what_another_one_told_of_an_older_state(
    run_once: RunOnce, place: MongoPlace, database: Mongo, tmp_path: Path
) -> None:
    def body(run: Any, path: Path) -> dict[str, int]:
        recorded(run, path)
        film = {"metadata.name": "final.mp4"}
        eventually(lambda: database["fs.files"].find_one(film))
        stored = database["fs.files"].find_one(film)
        assert stored is not None
        older = {"$set": {"data": b"older", "digest": b"of the older"}}
        database["fs.chunks"].update_one({"files_id": stored["_id"]}, older)
        return {}

    mirror, _ = beside(run_once, place, body)
    assert mirror.finished
    assert_same_run(database, tmp_path / "runs" / "1")


def test_a_number_that_differs_there_is_told(
    run_once: RunOnce, place: MongoPlace, database: Mongo
) -> None:
    database["runs"].insert_one({"_id": 36})
    database["runs"].insert_one({"_id": 1})
    _, said = beside(run_once, place, recorded)
    assert said == [f"MongoDB at {place} has this run, as run 37 there"]


def test_a_server_killed_in_mid_run_and_restarted_has_the_same_run(
    run_once: RunOnce, tmp_path: Path
) -> None:
    servers = [MongoServer(tmp_path / "db")]
    place = replace(parse_place(servers[0].url, "test"), password=servers[0].password)
    said: list[str] = []

    def body(run: Any, path: Path) -> dict[str, Any]:
        with recorder_of(run, path) as recorder:
            for number in range(NUM_GENERATIONS):
                record_generation(recorder, number)
                if number == 1:
                    eventually(lambda: "has this run" in str(said))
                    servers[0].kill()
                if number == 3:
                    eventually(lambda: "no MongoDB at" in str(said))
                    write_journal(path, 600_000)
                    servers.append(MongoServer(tmp_path / "db", servers[0].port))
                if number == 4:
                    eventually(lambda: "again" in str(said))
        (path / "final.mp4").write_bytes(b"film")
        run.add_artifact(str(path / "final.mp4"))
        return {"answer": 42}

    def hold(path: Path) -> None:
        mirrors.append(LiveMirror(place, path, said.append, every_s=0.05))
        mirrors[0].__enter__()

    mirrors: list[LiveMirror] = []
    run_once(body, hold=hold)
    mirrors[0].__exit__(None, None, None)
    with servers[-1], servers[-1].client() as client:
        assert mirrors[0].finished
        assert_same_run(client["sacred"], tmp_path / "runs" / "1")
    assert len(said) == 3
    assert "meanwhile the run is recorded in" in said[1]
    assert "again has this run" in said[2]


def test_a_server_that_is_down_is_one_notice_and_the_end_does_not_wait_for_it(
    run_once: RunOnce, tmp_path: Path
) -> None:
    place = parse_place(f"mongodb://127.0.0.1:{unused_port()}/sacred", "test")
    told: list[str] = []

    def body(run: Any, path: Path) -> None:
        recorded(run, path)
        eventually(lambda: told)

    began_s = 0.0
    with mirrored(place, tmp_path / "runs" / "1", told.append, mongo_url="mongodb://x/y"):
        run_once(body)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 12
    assert len(told) == 2
    assert told[0].startswith(f"no MongoDB at {place} (connection refused)")
    assert "does not have all of run 1; to tell it the rest: python -m tracking.sync 1" in told[1]
    assert told[1].endswith(f"--runs_dir {tmp_path / 'runs'} --mongo_url mongodb://x/y")


def test_a_wrong_password_is_one_notice_and_the_run_goes_on(
    run_once: RunOnce, place: MongoPlace, database: Mongo
) -> None:
    wrong = replace(place, password="guessed")
    mirror, told = beside(run_once, wrong, recorded)
    assert not mirror.finished
    assert len(told) <= 1
    assert "guessed" not in str(told)
    assert database["runs"].count_documents({}) == 0


def test_a_server_that_hangs_holds_the_end_up_no_longer_than_was_said(
    run_once: RunOnce, tmp_path: Path
) -> None:
    with MongoServer(tmp_path / "db") as server:
        place = replace(parse_place(server.url, "test"), password=server.password)
        process = psutil.Process(server.pid)
        times: list[float] = []

        def body(run: Any, path: Path) -> None:
            recorded(run, path)
            with server.client() as client:
                eventually(lambda: client["sacred"]["runs"].find_one())
            process.send_signal(signal.SIGSTOP)
            times.append(time.monotonic())

        try:
            mirror, _ = beside(run_once, place, body, finish_s=1.0)
            assert time.monotonic() - times[0] < 10
            assert not mirror.finished
        finally:
            process.send_signal(signal.SIGCONT)


def test_what_it_says_goes_where_it_is_shown(place: MongoPlace, tmp_path: Path) -> None:
    first: list[str] = []
    second: list[str] = []
    mirror = LiveMirror(place, tmp_path, first.append)
    with mirror.telling(second.append):
        mirror._notice("in")
    mirror._notice("out")
    assert (first, second) == (["out"], ["in"])


def test_without_a_place_nothing_happens(tmp_path: Path) -> None:
    with mirrored(None, tmp_path, print) as telling, telling(print):
        assert not list(tmp_path.iterdir())

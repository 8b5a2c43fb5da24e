"""What MongoDB says of a run against what its directory says, field by field."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gridfs
from pymongo.database import Database

from tracking.identity import uid_of
from tracking.mongo.mirror import files_of


def document_of(database: Database[dict[str, Any]], directory: Path) -> dict[str, Any]:
    """The one document of the run in ``directory``."""
    uid = uid_of(json.loads((directory / "run.json").read_text()))
    (document,) = database["runs"].find({"walking_es.uid": uid})
    return document


def assert_same_run(database: Database[dict[str, Any]], directory: Path) -> dict[str, Any]:
    """Fails on the first field that differs; the document."""
    document = document_of(database, directory)
    entry = json.loads((directory / "run.json").read_text())
    for name in ("command", "host", "meta", "status", "result", "resources", "fail_trace"):
        assert document.get(name) == entry.get(name), name
    for name in ("start_time", "stop_time", "heartbeat"):
        assert _close(document.get(name), entry.get(name)), name
    assert document["experiment"] == {**entry["experiment"], "sources": []}
    assert document["config"] == json.loads((directory / "config.json").read_text())
    assert document["walking_es"]["uid"] == entry["uid"]
    assert_same_files(database, directory, document)
    assert_same_metrics(database, directory, document)
    return document


def assert_same_files(
    database: Database[dict[str, Any]], directory: Path, document: dict[str, Any]
) -> None:
    grid = gridfs.GridFS(database)
    stored = {f.metadata["name"]: f for f in grid.find({"metadata.run_uid": _uid(document)})}
    assert sorted(stored) == sorted(files_of(directory))
    for name, file in stored.items():
        assert file.read() == (directory / name).read_bytes(), name
        assert file.filename == f"artifact://runs/{document['_id']}/{name}"
    shown = {artifact["name"]: artifact["file_id"] for artifact in document["artifacts"]}
    assert len(shown) == len(document["artifacts"])
    for checkpoint in directory.glob("checkpoints/*.npz"):
        assert grid.get(shown[checkpoint.name]).read() == checkpoint.read_bytes()
    for name, identity in shown.items():
        file = grid.get(identity)
        assert file.metadata["name"].replace("/", "-").endswith(name)
        assert "/" not in name
    # Nothing of a file that has gone is left behind.
    known = {file["_id"] for file in database["fs.files"].find()}
    assert {chunk["files_id"] for chunk in database["fs.chunks"].find()} <= known


def assert_same_metrics(
    database: Database[dict[str, Any]], directory: Path, document: dict[str, Any]
) -> None:
    expected = json.loads((directory / "metrics.json").read_text())
    found = {m["name"]: m for m in database["metrics"].find({"run_id": document["_id"]})}
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert found[name]["steps"] == points["steps"], name
        assert found[name]["values"] == points["values"], name
        times = zip(found[name]["timestamps"], points["timestamps"], strict=True)
        assert all(_close(mine, theirs, seconds=2.0) for mine, theirs in times), name
    listed = {metric["name"]: metric["id"] for metric in document["info"]["metrics"]}
    assert listed == {name: str(metric["_id"]) for name, metric in found.items()}


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until ``condition`` is true; fail where it does not become so."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.02)


def unused_port() -> int:
    """Of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _uid(document: dict[str, Any]) -> str:
    return str(document["walking_es"]["uid"])


def _close(mine: datetime | None, theirs: str | None, seconds: float = 0.002) -> bool:
    """MongoDB's times have milliseconds."""
    if mine is None or theirs is None:
        return mine is None and theirs is None
    return abs(mine - datetime.fromisoformat(theirs)) <= timedelta(seconds=seconds)

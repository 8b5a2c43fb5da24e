"""A run's directory as MongoDB has it, brought here; and which runs MongoDB has."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pymongo import DESCENDING
from pymongo.database import Database

from errors import MessageError, RunError, ServiceUnavailable
from tracking.identity import is_uid
from tracking.mongo.documents import OURS, UID
from tracking.mongo.grid import digest_of_chunk, digest_of_file, stored_chunks, stored_files
from tracking.mongo.mirror import JOURNAL

MANIFEST = ".fetched.json"

Document = dict[str, Any]

_MAX_NUMBER = 2**63 - 1  # of BSON
_ATTEMPTS = 20
_PAUSE_S = 0.25


class Found(NamedTuple):
    """A run in MongoDB.

    Attributes:
        number: ``_id`` of its document.
        uid: see `tracking.identity`; ``None``: another program recorded it.
        local_number: it had where it ran.
        host: it was last told about from there.
        heartbeat: when it last gave a sign of life, UTC without a zone; ``None``: it has ended.
    """

    number: int
    uid: str | None
    local_number: int | None
    host: str
    heartbeat: datetime | None


def find_run(database: Database[Document], run_id: str, runs_dir: Path) -> Found | None:
    """The run that ``run_id`` means: a uid, the number that a run of ``runs_dir`` had there, or
    one in MongoDB, in this order.
    """
    runs = database["runs"]
    fields = {"_id": 1, "status": 1, "heartbeat": 1, OURS: 1}
    if is_uid(run_id):
        return _found(runs.find_one({UID: run_id}, fields))
    if not run_id.isdecimal() or int(run_id) > _MAX_NUMBER:
        return None
    here = {
        f"{OURS}.number": int(run_id),
        f"{OURS}.host": socket.gethostname(),
        f"{OURS}.directory": str(runs_dir.absolute() / run_id),
    }
    newest = [("start_time", DESCENDING)]
    document = runs.find_one(here, fields, sort=newest)
    return _found(document or runs.find_one({"_id": int(run_id)}, fields))


def numbers(database: Database[Document]) -> list[int]:
    """Of all runs that the database has of ours, in order."""
    found = database["runs"].find({UID: {"$exists": True}}, {"_id": 1}).sort("_id")
    return [int(document["_id"]) for document in found]


@contextmanager
def alone_with(directory: Path) -> Iterator[None]:
    """Wait until nobody else fetches to ``directory``, and keep others waiting within.

    Raises:
        RunError: the folder above it cannot be written.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory.parent / f".{directory.name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _not_written(directory, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def fetch(
    database: Database[Document], uid: str, directory: Path, *, with_journal: bool = False
) -> None:
    """Make ``directory`` what MongoDB has of run ``uid``, within `alone_with` it. The run may go on
    meanwhile.

    Files that are here already and have not changed there do not travel.

    Args:
        database: to read from.
        uid: the run's.
        directory: made where it is missing; ours alone.
        with_journal: also what a resume needs.

    Raises:
        MessageError: there is something that is no file of a run.
        RunError: the directory cannot be written.
        ServiceUnavailable: files change faster than they can be read, or are damaged.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.rglob(".*.new"):  # by one that was killed
            left.unlink(missing_ok=True)
        manifest = _read_manifest(directory)
        for _ in range(_ATTEMPTS):
            changed = _fetch_once(database, uid, directory, manifest, with_journal=with_journal)
            _write_manifest(directory, manifest)
            if not changed:
                return
            time.sleep(_PAUSE_S)
    except OSError as error:
        raise _not_written(directory, error) from None
    raise ServiceUnavailable(
        f"{changed[0]} of run {uid} changes faster than it can be read, or is damaged in MongoDB: "
        "try again; if it stays, `python -m tracking.sync RUN` where the run's files are"
    )


def _fetch_once(
    database: Database[Document],
    uid: str,
    directory: Path,
    manifest: dict[str, str],
    *,
    with_journal: bool,
) -> list[str]:
    """Names of files that were not whole, since they were being written."""
    stored = {_checked(name): document for name, document in stored_files(database, uid).items()}
    wanted = [name for name in stored if with_journal or not _is_journal(name)]
    # A snapshot wants no more of the log than is read after it.
    ordered = sorted(wanted, key=lambda name: (not name.startswith(f"{JOURNAL}/snap"), name))
    changed = []
    for name in ordered:
        digest = str(stored[name]["metadata"].get("digest"))
        if manifest.get(name) == digest and (directory / name).is_file():
            continue
        manifest.pop(name, None)
        if _fetch_file(database, stored[name], directory / name):
            manifest[name] = digest
        else:
            changed.append(name)
    for name in [name for name in manifest if name not in stored]:
        (directory / name).unlink(missing_ok=True)
        del manifest[name]
    return changed


def _fetch_file(database: Database[Document], document: Document, path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    digests = []
    try:
        with beside.open("wb") as file:
            for data in stored_chunks(database, document["_id"]):
                digests.append(digest_of_chunk(data))
                file.write(data)
        if digest_of_file(digests) != document["metadata"].get("digest"):
            return False
        beside.replace(path)
        return True
    finally:
        beside.unlink(missing_ok=True)


def _not_written(directory: Path, error: OSError) -> RunError:
    return RunError(
        f"{directory} cannot be written ({error.strerror or error}): give a runs_dir that can"
    )


def _checked(name: str) -> str:
    """A name that becomes a path here; whoever may write to MongoDB chose it."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in name or name == MANIFEST:
        raise MessageError(f"{name!r} in MongoDB is no file of a run")
    return name


def _is_journal(name: str) -> bool:
    return name.startswith(f"{JOURNAL}/")


def _found(document: Document | None) -> Found | None:
    if document is None:
        return None
    ours = document.get(OURS) or {}
    beat = document.get("heartbeat") if document.get("status") == "RUNNING" else None
    uid = str(ours.get("uid"))  # which becomes a path
    return Found(
        int(document["_id"]),
        uid if is_uid(uid) else None,
        ours.get("number"),
        str(ours.get("host")),
        beat,
    )


def _read_manifest(directory: Path) -> dict[str, str]:
    try:
        value = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _write_manifest(directory: Path, manifest: dict[str, str]) -> None:
    beside = _beside(directory / MANIFEST)
    beside.write_text(json.dumps(manifest))
    beside.replace(directory / MANIFEST)


def _beside(path: Path) -> Path:
    """Of this process alone, should somebody have removed the lock."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")

"""What changes in a run's directory while it is mirrored, or after it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gridfs
import pytest
from mongo_compare import assert_same_run, document_of
from pymongo.database import Database
from recorded_run import CHUNK, write_journal

from tracking.mongo import grid
from tracking.mongo.mirror import Mirror
from tracking.tags import write_tags

Mongo = Database[dict[str, Any]]


def test_tags_of_a_run_are_shown_and_what_people_wrote_in_omniboard_stays(
    database: Mongo, directory: Path
) -> None:
    Mirror(database, directory).carry()
    notes = {"omniboard": {"tags": ["good"], "notes": {"text": "look"}}}
    database["runs"].update_one({"_id": 1}, {"$set": notes})
    write_tags(directory, ["paper", "good"])
    Mirror(database, directory).carry()
    assert document_of(database, directory)["omniboard"] == {
        "tags": ["good", "paper"],
        "notes": {"text": "look"},
    }


def test_a_tag_that_was_taken_away_goes_from_mongodb_too(database: Mongo, directory: Path) -> None:
    write_tags(directory, ["paper", "good"])
    mirror = Mirror(database, directory)
    mirror.carry()
    database["runs"].update_one({"_id": 1}, {"$addToSet": {"omniboard.tags": "theirs"}})
    write_tags(directory, ["good"])
    Mirror(database, directory).carry()
    assert document_of(database, directory)["omniboard"]["tags"] == ["good", "theirs"]
    write_tags(directory, [])
    mirror.carry()
    assert document_of(database, directory)["omniboard"]["tags"] == ["theirs"]


def test_a_file_that_grows_while_it_is_read_has_no_short_chunk_in_the_middle(
    database: Mongo, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(directory, CHUNK + 100)
    log = directory / "journal" / "log"
    digest_of = grid.digest_of_chunk

    def digest_while_it_grows(data: bytes) -> bytes:
        if len(data) == 100:
            write_journal(directory, 2 * CHUNK)
        return digest_of(data)

    monkeypatch.setattr(grid, "digest_of_chunk", digest_while_it_grows)
    mirror = Mirror(database, directory)
    mirror.carry()
    stored = gridfs.GridFS(database).find_one({"metadata.name": "journal/log"})
    assert stored is not None
    assert stored.read() == log.read_bytes()[: CHUNK + 100]
    mirror.carry()
    assert_same_run(database, directory)

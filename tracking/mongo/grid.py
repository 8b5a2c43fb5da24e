"""Files of a run in GridFS: each as it is here, and only what differs travels.

A file is cut into GridFS's chunks, and each chunk bears the digest of its bytes, written with them
in one step. So what is there can always be told apart from what should be, whoever was killed
while writing it and whatever else writes at the same time, and a log that grows costs its last
chunk. Names follow from the run's uid, hence nothing is ever there twice.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from bson import Binary, ObjectId
from pymongo import ASCENDING, DeleteMany, ReplaceOne
from pymongo.database import Database

CHUNK_BYTES = 255 * 1024

_FILES, _CHUNKS = "fs.files", "fs.chunks"
_BATCH = 32  # chunks in one message, 8 MB
_DIGEST_BYTES = 16

Document = dict[str, Any]
_Mark = tuple[int, int, int]


@dataclass
class _Carried:
    """A file as it was when it was carried: its mark, and the digest of each chunk."""

    mark: _Mark
    digests: list[bytes]


def file_id(uid: str, name: str) -> ObjectId:
    """Of the file ``name`` of run ``uid``, always the same."""
    return ObjectId(hashlib.sha256(f"{uid}/{name}".encode()).digest()[:12])


def digest_of_chunk(data: bytes) -> bytes:
    """16 bytes that stand for ``data``."""
    return hashlib.sha256(data).digest()[:_DIGEST_BYTES]


def digest_of_file(chunk_digests: list[bytes]) -> str:
    """Stands for a file by the digests of its chunks, in order."""
    return hashlib.sha256(b"".join(chunk_digests)).hexdigest()[: 2 * _DIGEST_BYTES]


def ensure_indexes(database: Database[Document]) -> None:
    """GridFS's own, and two by which a run's files and their digests are found."""
    database[_FILES].create_index([("filename", ASCENDING), ("uploadDate", ASCENDING)])
    database[_FILES].create_index([("metadata.run_uid", ASCENDING)])
    chunks = database[_CHUNKS]
    chunks.create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
    chunks.create_index([("files_id", ASCENDING), ("n", ASCENDING), ("digest", ASCENDING)])


class Grid:
    """Carries the files of one run into GridFS, again and again.

    Args:
        database: to write to.
        uid: the run's.
        url_prefix: of the names that other programs see, such as ``runs/12``.
    """

    def __init__(self, database: Database[Document], uid: str, url_prefix: str) -> None:
        self._files, self._chunks = database[_FILES], database[_CHUNKS]
        self._uid, self._url_prefix = uid, url_prefix
        self._carried: dict[str, _Carried] = {}
        # What was there at first, looked up at once for all files.
        self._described = stored_files(database, uid)
        self._digests = self._all_digests()

    def carry(self, name: str, path: Path, *, only_grows: bool) -> int:
        """Make the file ``name`` what ``path`` holds; how many bytes had to travel.

        Args:
            name: within the run's directory.
            path: may grow meanwhile; what is there when it is read counts.
            only_grows: whether bytes once written stay: then its beginning is not read again.

        Raises:
            FileNotFoundError: it is gone.
            PyMongoError: what MongoDB has is less or older; the next call goes on.
        """
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            mark = (found.st_ino, found.st_size, found.st_mtime_ns)
            before = self._carried.get(name)
            if before is not None and before.mark == mark:
                return 0
            # Forgotten until all is there: what fails half-way is looked up.
            self._carried.pop(name, None)
            identity = file_id(self._uid, name)
            kept = _kept_chunks(before, mark) if only_grows else 0
            there = self._chunks_of(identity) if before is None else dict(enumerate(before.digests))
            digests = [] if before is None else before.digests[:kept]
            file.seek(kept * CHUNK_BYTES)
            size, travelled = self._write(identity, file, digests, there)
            if there.keys() - range(len(digests)):
                self._chunks.delete_many({"files_id": identity, "n": {"$gte": len(digests)}})
            self._describe(identity, name, size, digests, found.st_mtime)
            self._carried[name] = _Carried(mark, digests)
        return travelled

    def names(self) -> set[str]:
        """Of the run's files that are there."""
        found = self._files.find({"metadata.run_uid": self._uid}, {"metadata.name": 1})
        return {str(document["metadata"]["name"]) for document in found}

    def drop(self, name: str) -> None:
        """Remove the file ``name``, if it is there: its bytes first, since nothing else says
        whose they are.
        """
        self._carried.pop(name, None)
        identity = file_id(self._uid, name)
        self._chunks.delete_many({"files_id": identity})
        self._files.delete_one({"_id": identity})

    def _all_digests(self) -> dict[ObjectId, dict[int, bytes]]:
        known = [document["_id"] for document in self._described.values()]
        found = self._chunks.find(
            {"files_id": {"$in": known}}, {"_id": 0, "files_id": 1, "n": 1, "digest": 1}
        )
        digests: dict[ObjectId, dict[int, bytes]] = {identity: {} for identity in known}
        for chunk in found:
            digests[chunk["files_id"]][int(chunk["n"])] = bytes(chunk.get("digest", b""))
        return digests

    def _chunks_of(self, identity: ObjectId) -> dict[int, bytes]:
        """Those of a file that was begun and not described are looked up."""
        if identity in self._digests:
            return self._digests.pop(identity)
        found = self._chunks.find({"files_id": identity}, {"_id": 0, "n": 1, "digest": 1})
        return {int(chunk["n"]): bytes(chunk.get("digest", b"")) for chunk in found}

    def _write(
        self, identity: ObjectId, file: IO[bytes], digests: list[bytes], there: dict[int, bytes]
    ) -> tuple[int, int]:
        """Read to the end from where ``file`` stands; ``digests`` grows. Size and bytes sent."""
        size, travelled = len(digests) * CHUNK_BYTES, 0
        batch: list[ReplaceOne[Document] | DeleteMany] = []
        for data in _chunks_in(file):
            digest, number = digest_of_chunk(data), len(digests)
            digests.append(digest)
            size += len(data)
            if there.get(number) == digest:
                continue
            chunk = {"files_id": identity, "n": number, "data": Binary(data), "digest": digest}
            own = ObjectId(hashlib.sha256(identity.binary + b"%d" % number).digest()[:12])
            batch.append(ReplaceOne({"_id": own}, chunk, upsert=True))
            travelled += len(data)
            if len(batch) == _BATCH:
                self._chunks.bulk_write(batch, ordered=False)
                batch = []
        if batch:
            self._chunks.bulk_write(batch, ordered=False)
        return size, travelled

    def _describe(
        self, identity: ObjectId, name: str, size: int, digests: list[bytes], modified_s: float
    ) -> None:
        digest = digest_of_file(digests)
        filename = f"artifact://{self._url_prefix}/{name}"
        before = self._described.pop(name, {})
        if (before.get("filename"), before.get("length")) == (filename, size) and (
            before["metadata"].get("digest") == digest
        ):
            return
        document: Document = {
            "filename": filename,
            "length": size,
            "chunkSize": CHUNK_BYTES,
            "uploadDate": datetime.fromtimestamp(modified_s, UTC),
            "contentType": mimetypes.guess_type(name)[0] or "application/octet-stream",
            "metadata": {"run_uid": self._uid, "name": name, "digest": digest},
        }
        self._files.replace_one({"_id": identity}, document, upsert=True)


def stored_files(database: Database[Document], uid: str) -> dict[str, Document]:
    """What GridFS has of run ``uid``: a file's document by its name within the run's directory."""
    found = database[_FILES].find({"metadata.run_uid": uid})
    return {str(document["metadata"]["name"]): document for document in found}


def stored_chunks(database: Database[Document], identity: ObjectId) -> Iterator[bytes]:
    """The bytes of a file, chunk by chunk, in order, as they are now."""
    found = database[_CHUNKS].find({"files_id": identity}).sort("n", ASCENDING)
    for chunk in found:
        yield bytes(chunk["data"])


def _chunks_in(file: IO[bytes]) -> Iterator[bytes]:
    """All full but the last: what comes after a short one was written meanwhile."""
    while data := file.read(CHUNK_BYTES):
        yield data
        if len(data) < CHUNK_BYTES:
            return


def _kept_chunks(before: _Carried | None, mark: _Mark) -> int:
    """How many chunks of a file that only grows cannot have changed."""
    if before is None or before.mark[0] != mark[0] or mark[1] < before.mark[1]:
        return 0
    return before.mark[1] // CHUNK_BYTES

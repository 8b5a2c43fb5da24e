"""Makes MongoDB say what a run's directory says: told twice, late, or killed in the middle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from tracking import metric_log
from tracking.mongo.documents import OURS, UID, RunFacts, is_artifact, read_facts, run_document
from tracking.mongo.grid import Grid, ensure_indexes, file_id
from tracking.mongo.metric_points import MAX_POINTS, MetricPoints
from tracking.tags import read_tags

JOURNAL = "journal"

Document = dict[str, Any]

_LOG = f"{JOURNAL}/log"
_SNAPSHOT = f"{JOURNAL}/snapshot-"
_GROW = (".jsonl", ".log", _LOG)
_NOT_KEPT = ("lock",)


class Mirrored(NamedTuple):
    """What MongoDB has of a run now.

    Attributes:
        number: the run's there, ``_id`` of its document.
        is_first: the document was made by this very call.
        num_files: of the run's directory.
        num_bytes: that travelled this time.
        num_metrics: of the run.
    """

    number: int
    is_first: bool
    num_files: int
    num_bytes: int
    num_metrics: int


class Mirror:
    """Carries one run's directory into a database, each time what has changed.

    What it remembers of MongoDB only saves work: after any failure of `carry` it remembers nothing
    and looks.

    Args:
        database: checked; see `tracking.mongo.connection`.
        directory: the run's.
        max_points: of a metric.
    """

    def __init__(
        self, database: Database[Document], directory: Path, *, max_points: int = MAX_POINTS
    ) -> None:
        self._database = database
        self._directory = directory
        self._max_points = max_points
        self._uid: str | None = None
        self._number: int | None = None
        self._grid: Grid | None = None
        self._points: MetricPoints | None = None

    def carry(self, *, with_journal: bool = True) -> Mirrored:
        """Tell MongoDB all that is new.

        Args:
            with_journal: also what a resume needs, which grows fastest.

        Raises:
            RunError: the directory is damaged.
            PyMongoError: MongoDB has less or older; the next call goes on.
        """
        try:
            return self._carry(with_journal=with_journal)
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Look at everything again the next time."""
        self._number = self._grid = None
        if self._points is not None:
            self._points.forget()

    def _carry(self, *, with_journal: bool) -> Mirrored:
        facts = read_facts(self._directory)
        number, is_first = self._claim(facts)
        grid, points = self._parts(facts.uid, number)
        names, num_bytes, is_resumable = self._carry_files(grid, with_journal)
        points.read()
        points.carry(self._database["metrics"], number)
        artifacts = {n: file_id(facts.uid, n) for n in names if is_artifact(n, facts)}
        fields, absent = run_document(facts, artifacts, points.ids())
        change: Document = {"$set": fields}
        if absent:
            change["$unset"] = dict.fromkeys(absent, "")
        change |= self._tag(fields, number)
        # When it is on the server's disk, so is all before it: a server that is killed forgets
        # nothing that it is believed to have.
        durable = self._database["runs"].with_options(write_concern=WriteConcern(j=True))
        durable.update_one({"_id": number}, change)
        for name in grid.names() - names:
            # Last, when the document does not name it any more.
            if not name.startswith(JOURNAL) or (with_journal and is_resumable):
                grid.drop(name)
        return Mirrored(number, is_first, len(names), num_bytes, len(points.ids()))

    def _tag(self, fields: Document, number: int) -> Document:
        """What else the update must do that the run has its tags where Omniboard keeps what people
        write there: theirs stay. Those that we told of before and are gone go at once, while the
        document still says which they were.
        """
        tags = read_tags(self._directory)
        before = self._database["runs"].find_one({"_id": number}, {f"{OURS}.tags": 1}) or {}
        if gone := sorted(set(before.get(OURS, {}).get("tags", ())) - set(tags)):
            pull = {"$pull": {"omniboard.tags": {"$in": gone}}}
            self._database["runs"].update_one({"_id": number}, pull)
        fields[OURS]["tags"] = list(tags)
        return {"$addToSet": {"omniboard.tags": {"$each": list(tags)}}} if tags else {}

    def _claim(self, facts: RunFacts) -> tuple[int, bool]:
        """The run's number in MongoDB, and whether it was given just now."""
        runs = self._database["runs"]
        if self._number is not None and facts.uid == self._uid:
            if runs.find_one({"_id": self._number, UID: facts.uid}, {"_id": 1}) is not None:
                return self._number, False
            self.forget()  # somebody has removed it
        runs.create_index(
            [(UID, ASCENDING)], unique=True, partialFilterExpression={UID: {"$exists": True}}
        )
        ensure_indexes(self._database)
        wanted = int(facts.directory.name) if facts.directory.name.isdecimal() else 1
        while True:
            found = runs.find_one({UID: facts.uid}, {"_id": 1})
            if found is not None:
                return int(found["_id"]), False
            # The first one to insert a number has it; so does the first one to insert a uid.
            try:
                runs.insert_one({"_id": wanted, **run_document(facts, {}, {})[0]})
                return wanted, True
            except DuplicateKeyError:
                # A number that somebody else's tool gave may be text.
                last = runs.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=_LAST_FIRST)
                wanted = 1 + int(last["_id"]) if last is not None else wanted + 1

    def _parts(self, uid: str, number: int) -> tuple[Grid, MetricPoints]:
        if self._grid is None or (uid, number) != (self._uid, self._number):
            self._grid = Grid(self._database, uid, f"runs/{number}")
        if self._points is None or uid != self._uid:
            path = self._directory / metric_log.FILE_NAME
            self._points = MetricPoints(path, uid, self._max_points)
        self._uid, self._number = uid, number
        return self._grid, self._points

    def _carry_files(self, grid: Grid, with_journal: bool) -> tuple[set[str], int, bool]:
        """Names of the run's files, how many bytes travelled, and whether a snapshot is there.

        A snapshot says from which byte of the log on it wants to be replayed. So those that are
        there before the log is read go after it, and only as they were then.
        """
        snapshots = {
            name: mark for name in files_of(self._directory) if (mark := self._snapshot_mark(name))
        }
        rest = (n for n in files_of(self._directory) if n != _LOG and not n.startswith(_SNAPSHOT))
        num_bytes, names, is_resumable = 0, set(snapshots), False
        for name in [_LOG, *sorted(snapshots), *sorted(rest)]:
            if name.startswith(JOURNAL) and not with_journal:
                continue
            if name in snapshots and self._snapshot_mark(name) != snapshots[name]:
                continue
            only_grows = name.endswith(_GROW) or "tfevents" in name
            try:
                num_bytes += grid.carry(name, self._directory / name, only_grows=only_grows)
            except FileNotFoundError:
                continue  # a checkpoint that a better one has replaced meanwhile
            names.add(name)
            is_resumable |= name in snapshots
        return names, num_bytes, is_resumable

    def _snapshot_mark(self, name: str) -> tuple[int, int, int] | None:
        if not name.startswith(_SNAPSHOT):
            return None
        try:
            found = (self._directory / name).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


_LAST_FIRST = [("_id", DESCENDING)]


def files_of(directory: Path) -> Iterator[str]:
    """Names within ``directory`` of files that are whole or only grow."""
    for folder, inner, names in os.walk(directory):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or path.suffix == ".new" or name in _NOT_KEPT:
                continue
            if not path.is_symlink():
                yield path.relative_to(directory).as_posix()

"""Metrics as MongoObserver keeps them: a document each, with steps, values and times.

They are read from ``metrics.jsonl``, which has every generation at once. A document holds at most
`MAX_POINTS`: of a longer run every second generation, or fourth, or eighth, and so on.
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.collection import Collection

from tracking import metric_log

MAX_POINTS = 10_000

Document = dict[str, Any]


@dataclass
class _Points:
    """Of one metric; the first ``num_sent`` are believed to be in MongoDB."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    times_s: array[float] = field(default_factory=lambda: array("d"))
    num_sent: int = 0

    def thin(self, stride: int) -> None:
        kept = [i for i, step in enumerate(self.steps) if step % stride == 0]
        self.steps = array("q", (self.steps[i] for i in kept))
        self.values = array("d", (self.values[i] for i in kept))
        self.times_s = array("d", (self.times_s[i] for i in kept))
        self.num_sent = 0

    def lists(self, first: int) -> Document:
        times = (datetime.fromtimestamp(t, UTC).replace(tzinfo=None) for t in self.times_s[first:])
        return {
            "steps": self.steps[first:].tolist(),
            "values": self.values[first:].tolist(),
            "timestamps": list(times),
        }


def metric_id(uid: str, name: str) -> ObjectId:
    """Of the document of metric ``name`` of run ``uid``, always the same."""
    return ObjectId(hashlib.sha256(f"{uid}/metric/{name}".encode()).digest()[:12])


class MetricPoints:
    """Follows a ``metrics.jsonl`` and tells MongoDB what is new in it.

    Args:
        path: the file; need not be there yet.
        uid: the run's.
        max_points: of one document.
    """

    def __init__(self, path: Path, uid: str, max_points: int = MAX_POINTS) -> None:
        self._path, self._uid, self._max_points = path, uid, max_points
        self._points: dict[str, _Points] = {}
        self._stride, self._last = 1, -1
        self._offset, self._inode = 0, 0

    def ids(self) -> dict[str, ObjectId]:
        """Documents by their metric's name, in the order in which metrics came up."""
        return {name: metric_id(self._uid, name) for name in self._points}

    def read(self) -> None:
        """Take in what the file has by now."""
        try:
            with self._path.open("rb") as file:
                if not self._read_on(file):
                    self._restart()
                    self._read_in_order(file)
        except FileNotFoundError:
            return

    def carry(self, collection: Collection[Document], run_number: int) -> None:
        """Tell MongoDB the points that it does not have.

        Raises:
            PyMongoError: it has some of them; the next call goes on.
        """
        extended, replaced = [], []
        for name, points in self._points.items():
            if not points.num_sent:
                replaced.append((name, points))
            elif points.num_sent < len(points.steps):
                extended.append((name, points))
        if extended:
            done = collection.bulk_write([self._push(*one) for one in extended], ordered=False)
            if done.matched_count < len(extended):
                # Somebody else has written, or the answer to an earlier push was lost.
                replaced += extended
        if replaced:
            whole = [self._set(name, points, run_number) for name, points in replaced]
            collection.bulk_write(whole, ordered=False)
        for points in self._points.values():
            points.num_sent = len(points.steps)

    def forget(self) -> None:
        """Believe nothing of what MongoDB has; the next `carry` tells it all."""
        for points in self._points.values():
            points.num_sent = 0

    def _push(self, name: str, points: _Points) -> UpdateOne:
        new = {key: {"$each": values} for key, values in points.lists(points.num_sent).items()}
        wanted = {"_id": metric_id(self._uid, name), "steps": {"$size": points.num_sent}}
        return UpdateOne(wanted, {"$push": new})

    def _set(self, name: str, points: _Points, run_number: int) -> UpdateOne:
        fields = {"run_id": run_number, "name": name, **points.lists(0)}
        return UpdateOne({"_id": metric_id(self._uid, name)}, {"$set": fields}, upsert=True)

    def _restart(self) -> None:
        self._points.clear()
        self._stride, self._last = 1, -1
        self._offset, self._inode = 0, 0

    def _read_on(self, file: BinaryIO) -> bool:
        """From where we stand; False: it is another file by now, or one that corrects itself."""
        found = os.fstat(file.fileno())
        if self._offset and (found.st_ino != self._inode or found.st_size < self._offset):
            return False
        self._inode = found.st_ino
        file.seek(self._offset)
        for line in file:
            if not line.endswith(b"\n"):
                break  # it is being written
            row = metric_log.parse(line)
            if row is not None and row.number <= self._last:
                return False
            self._offset += len(line)
            if row is not None:
                self._add(row)
        return True

    def _read_in_order(self, file: BinaryIO) -> None:
        """From the beginning; of two lines for one generation the later one counts. A line at a
        time: all rows of a long run at once would be a heavy thing beside it.
        """
        self._inode = os.fstat(file.fileno()).st_ino
        file.seek(0)
        places: dict[int, int] = {}
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = metric_log.parse(line)
            if row is not None:
                places[row.number] = self._offset
            self._offset += len(line)
        for number in sorted(places):
            file.seek(places[number])
            row = metric_log.parse(file.readline())
            if row is not None:
                self._add(row)

    def _add(self, row: metric_log.Row) -> None:
        self._last = row.number
        while row.number >= self._max_points * self._stride:
            self._stride *= 2
            for points in self._points.values():
                points.thin(self._stride)
        if row.number % self._stride:
            return
        for name, value in row.metrics.items():
            if math.isfinite(value):
                points = self._points.setdefault(name, _Points())
                points.steps.append(row.number)
                points.values.append(value)
                points.times_s.append(row.time_s)

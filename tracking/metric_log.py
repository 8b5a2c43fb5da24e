"""``metrics.jsonl``: what each generation measured, one JSON object a line.

A line is ``{"generation": 12, "time": <Unix seconds>, "metrics": {"fitness/mean": 88.1, ...}}``;
a value that is not finite is ``null``. Lines are only ever appended, so that another process can
follow the file while it grows; a line that a killed run left half-written is cut when the file is
opened again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class Row:
    """Metrics of one generation and when they were written, in Unix seconds."""

    number: int
    time_s: float
    metrics: Mapping[str, float]

    def line(self) -> bytes:
        """The row as it stands in the file, newline included."""
        metrics = {
            name: value if math.isfinite(value) else None for name, value in self.metrics.items()
        }
        row = {"generation": self.number, "time": round(self.time_s, 3), "metrics": metrics}
        return json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"


class MetricLog:
    """Appends rows to a file. Raises `OSError` where it cannot be opened or written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        _cut_torn_tail(path)

    def append(self, row: Row) -> None:
        """Write ``row`` whole and hand it to the operating system."""
        self._file.write(row.line())
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> list[Row]:
    """Rows in order of their generation; of two for one generation the later line counts.

    Lines that do not parse (a torn tail) are skipped; a file that does not exist holds none.
    """
    rows: dict[int, Row] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    for line in lines:
        row = parse(line)
        if row is not None:
            rows[row.number] = row
    return [rows[number] for number in sorted(rows)]


def rewrite(path: Path, rows: Iterable[Row]) -> None:
    """Replace the file by one that holds ``rows``, all or nothing."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        for row in rows:
            file.write(row.line())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def parse(line: bytes) -> Row | None:
    """The row that a line holds; ``None`` if it holds none."""
    try:
        row = json.loads(line)
        metrics = {
            str(name): math.nan if value is None else float(value)
            for name, value in row["metrics"].items()
        }
        return Row(int(row["generation"]), float(row["time"]), metrics)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _cut_torn_tail(path: Path) -> None:
    with path.open("rb+") as file:
        data = file.read()
        if not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)

"""One run in a line: read from its directory in a millisecond, however long it is.

A directory that is damaged is summed up too, since whoever looks at a list wants to see it there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from tracking import metric_log
from tracking.identity import uid_of
from tracking.metric_log import Row
from tracking.run_lock import is_live
from tracking.tags import read_tags

STATUSES = ("running", "completed", "interrupted", "failed", "killed", "damaged")
_TAIL_BYTES = 2**16
_BLOCK_BYTES = 2**20


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a list shows it.

    Attributes:
        run_id: its number.
        status: one of `STATUSES`; running only while a head holds it, killed where one did and
            went without a word.
        uid: see `tracking.identity`; empty where it is damaged.
        started_s: when it began, Unix seconds.
        config_name: the named config that it was started with; empty: none.
        env: the environment's name.
        generations, num_generations: complete, and wanted.
        current: of the closing test, else of the last validation.
        best: the best candidate's fitness.
        tags: in order.
        size_bytes: of all its files.
    """

    run_id: int
    status: str
    uid: str = ""
    started_s: float | None = None
    config_name: str = ""
    env: str = ""
    generations: int = 0
    num_generations: int | None = None
    current: float | None = None
    best: float | None = None
    tags: tuple[str, ...] = ()
    size_bytes: int = 0


class ListedRun:
    """A run's directory, each part read once, when it is asked for; nothing in it raises.

    Args:
        directory: ``runs/<id>``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every setting by name; empty where it cannot be read."""
        return _read_object(self.directory / "config.json")

    @cached_property
    def entry(self) -> dict[str, Any]:
        """Sacred's ``run.json``; empty where it cannot be read."""
        return _read_object(self.directory / "run.json")

    @cached_property
    def latest(self) -> Row | None:
        """Metrics of the last generation that is complete; None: there is none."""
        return next(self._rows_backwards(), None)

    @cached_property
    def status(self) -> str:
        """One of `STATUSES`."""
        if not self.config or not self.entry:
            return "running" if is_live(self.directory) else "damaged"
        said = str(self.entry.get("status", "RUNNING")).lower()
        if said == "running":
            return "running" if is_live(self.directory) else "killed"
        return said

    @cached_property
    def summary(self) -> RunSummary:
        """The run in a line."""
        config, result = self.config, self.entry.get("result")
        result = result if isinstance(result, dict) else {}
        latest = self.latest
        current = _number(result.get("fitness_current"))
        return RunSummary(
            run_id=int(self.directory.name),
            status=self.status,
            uid=uid_of(self.entry) if self.entry else "",
            started_s=_unix_s(self.entry.get("start_time")),
            config_name=config_name(self.entry),
            env=str(config.get("env_name", "")),
            generations=0 if latest is None else latest.number + 1,
            num_generations=num_generations(config),
            current=self._latest("fitness/current") if current is None else current,
            best=self._latest("fitness/best_overall"),
            tags=read_tags(self.directory),
            size_bytes=size_of(self.directory),
        )

    @cached_property
    def _end(self) -> tuple[bytes, int]:
        return _lines_before(self._metrics, None, _TAIL_BYTES)

    @property
    def _metrics(self) -> Path:
        return self.directory / metric_log.FILE_NAME

    def _lines_backwards(self, wanted: bytes) -> Iterator[bytes]:
        lines, start = self._end
        while True:
            if wanted in lines:  # or there is no need to look at each
                yield from (line for line in reversed(lines.split(b"\n")) if wanted in line)
            if not start:
                return
            lines, start = _lines_before(self._metrics, start, _BLOCK_BYTES)

    def _rows_backwards(self, naming: str = "") -> Iterator[Row]:
        """The last generations that have this in their line, however far back; each is parsed when
        it is asked for, which is most of the work.
        """
        rows = (metric_log.parse(line) for line in self._lines_backwards(naming.encode()))
        return (row for row in rows if row is not None)

    def _latest(self, name: str) -> float | None:
        for row in self._rows_backwards(f'"{name}":'):
            value = row.metrics.get(name)
            if value is not None and value == value:
                return value
        return None


def listed_runs(runs_dir: Path) -> list[ListedRun]:
    """Every run in ``runs_dir``, in order; those without a readable config are damaged ones."""
    try:
        paths = [path for path in runs_dir.iterdir() if path.name.isdecimal() and path.is_dir()]
    except OSError:
        return []
    return [ListedRun(path) for path in sorted(paths, key=lambda path: int(path.name))]


def size_of(directory: Path) -> int:
    """Bytes in all files below ``directory``."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a third faster
            except OSError:  # gone meanwhile
                continue
    return total


def _lines_before(path: Path, end: int | None, num_bytes: int) -> tuple[bytes, int]:
    """Whole lines of a file, about ``num_bytes`` of them, and where they begin, 0 at last.

    Args:
        path: the file.
        end: where they end, the beginning of another line; None: as the file does.
        num_bytes: at least that many, less a line.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END) if end is None else end
            while True:
                start = max(0, end - num_bytes)
                file.seek(start)
                lines = file.read(end - start)
                cut = lines.find(b"\n", 0, -1) + 1 if start else 0
                if cut or not start:
                    return lines[cut:], start + cut
                num_bytes *= 2
    except OSError:
        return b"", 0


def config_name(entry: Mapping[str, Any]) -> str:
    """The named configs, and files, that a run with this ``run.json`` was started with."""
    meta = entry.get("meta")
    names = meta.get("named_configs") if isinstance(meta, dict) else None
    if not isinstance(names, list):
        return ""
    return " ".join(Path(str(name)).name for name in names)


def num_generations(config: Mapping[str, Any]) -> int | None:
    """How many a run wants, as the metrics count them: told one by one, each candidate is one."""
    wanted, each = config.get("num_generations"), 1
    if config.get("asynchronous"):
        each = config.get("pop_size", 1)
    return wanted * each if isinstance(wanted, int) and isinstance(each, int) else None


def _unix_s(text: object) -> float | None:
    """Unix seconds of Sacred's notation: UTC without a zone."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        # Python's: earlier releases let a run be configured with an infinity, which it reads back.
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

"""Runs carried away: metrics as a table, everything as JSON, or whole as an archive."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from errors import ConfigError
from tracking import metric_log, timeline_log
from tracking.catalogue.summary import ListedRun

Format = Literal["csv", "json", "tar.gz"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
}
_SNAPSHOT = "journal/snapshot-"
_LOG = "journal/log"
_NOT_KEPT = ("journal/lock",)


def format_of(path: Path) -> Format:
    """What a file of that name is to hold.

    Raises:
        ConfigError: the name does not say.
    """
    for suffix, found in FORMATS.items():
        if path.name.lower().endswith(suffix):
            return found
    raise ConfigError(
        f"{path} does not say what to write: expected a name that ends with {', '.join(FORMATS)}, "
        "or --format"
    )


def export(runs: Sequence[ListedRun], path: Path, kind: Format) -> None:
    """Write ``runs`` to ``path``, all or nothing.

    ``csv``: a row for each generation, a column for each metric. ``json``: a list with the runs'
    settings, ends and metrics. ``tar.gz``: their directories, to be unpacked in another ``runs/``
    and resumed there; of a run that goes on, as it is now.

    Raises:
        ConfigError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if kind == "tar.gz":
            _write_archive(runs, aside)
        else:
            aside.write_text(as_text(runs, kind))
        aside.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror or error}): name another with --out"
        ) from None
    finally:
        aside.unlink(missing_ok=True)


def as_text(runs: Sequence[ListedRun], kind: Format) -> str:
    """What `export` writes, where that is text."""
    if kind == "csv":
        return _csv(runs)
    return json.dumps([_as_plain(run) for run in runs], indent=1) + "\n"


def _csv(runs: Sequence[ListedRun]) -> str:
    rows = [(run.directory.name, row) for run in runs for row in _rows(run)]
    names = sorted({name for _, row in rows for name in row.metrics})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "generation", "time", *names])
    for run_id, row in rows:
        values = [row.metrics.get(name) for name in names]
        cells = ["" if value is None else repr(value) for value in values]
        writer.writerow([run_id, row.number, row.time_s, *cells])
    return text.getvalue()


def _as_plain(run: ListedRun) -> dict[str, Any]:
    """All that is known of a run but its parameters, as JSON has it: NaN is ``null``."""
    metrics = [json.loads(row.line()) for row in _rows(run)]
    times = timeline_log.read(run.directory / timeline_log.FILE_NAME)
    return {
        **msgspec.to_builtins(run.summary),
        "config": run.config,
        "result": run.entry.get("result"),
        "host": run.entry.get("host"),
        "metrics": metrics,
        "timeline": msgspec.to_builtins(times),
    }


def _rows(run: ListedRun) -> list[metric_log.Row]:
    return metric_log.read(run.directory / metric_log.FILE_NAME)


def _write_archive(runs: Sequence[ListedRun], path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for run in runs:
            for name in _files(run.directory):
                _add(archive, run.directory, name)


def _files(directory: Path) -> Iterator[str]:
    """Snapshots before the log: each wants a part of it that is written by then, and no more."""
    names = []
    for folder, _, found in os.walk(directory):
        names += [Path(folder, name).relative_to(directory).as_posix() for name in found]
    kept = [name for name in names if name not in _NOT_KEPT and not _is_half_written(name)]
    first: Callable[[str], tuple[bool, bool, str]] = lambda name: (  # noqa: E731
        not name.startswith(_SNAPSHOT),
        name != _LOG,
        name,
    )
    yield from sorted(kept, key=first)


def _is_half_written(name: str) -> bool:
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.endswith(".new")


def _add(archive: tarfile.TarFile, directory: Path, name: str) -> None:
    try:
        with (directory / name).open("rb") as file:
            info = archive.gettarinfo(arcname=f"{directory.name}/{name}", fileobj=file)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            archive.addfile(info, file)
    except FileNotFoundError:  # a checkpoint that a better one has replaced meanwhile
        return
